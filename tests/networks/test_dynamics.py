"""The dynamics models against hand computation: bounds of the variance, and members that stay apart."""

import math

import torch
import torch.nn.functional as F

from cog.networks.dynamics import HIGHEST_LOG_VARIANCE, LOWEST_LOG_VARIANCE, Dynamics, soft_clamp

LOW, HIGH = torch.tensor([-40.0]), torch.tensor([0.5])


def test_the_soft_clamp_at_the_highest_value_is_log_two_below_it_and_the_same_at_the_lowest() -> None:
    torch.testing.assert_close(soft_clamp(HIGH, LOW, HIGH), HIGH - math.log(2))
    torch.testing.assert_close(soft_clamp(LOW, LOW, HIGH), LOW + math.log(2))


def test_the_soft_clamp_changes_nothing_far_inside_and_keeps_bounds_and_gradient() -> None:
    inside = torch.tensor([-20.0])
    torch.testing.assert_close(soft_clamp(inside, LOW, HIGH), inside)
    outside = torch.tensor([[-1e3], [-45.0], [5.0], [1e3]], requires_grad=True)
    held = soft_clamp(outside, LOW, HIGH)
    assert bool((held >= LOW).all()) and bool((held <= HIGH).all())
    (gradient,) = torch.autograd.grad(held.sum(), outside)
    assert float(gradient[1]) > 0 and float(gradient[2]) > 0


def made(gaussian: bool = True) -> Dynamics:
    torch.manual_seed(0)
    return Dynamics(3, 2, members=4, widths=(8, 8), activation="swish", gaussian=gaussian)


def test_members_evaluated_together_predict_what_each_predicts_alone() -> None:
    model, states, actions = made(), torch.randn(5, 3), torch.randn(5, 2)
    together = model(states, actions)
    for member in range(4):
        hidden = torch.cat([states, actions], 1)
        for layer in model.hidden:
            hidden = F.silu(F.linear(hidden, layer.weight[member].T, layer.bias[member, 0]))
        mean = F.linear(hidden, model.mean.weight[member].T, model.mean.bias[member, 0])
        torch.testing.assert_close(together.mean[member], mean)
        odds = F.linear(hidden, model.terminal.weight[member].T, model.terminal.bias[member, 0])
        torch.testing.assert_close(together.terminal[member], odds[:, 0])
    assert float(together.mean.detach().std(0).min()) > 0


def test_one_member_s_loss_has_no_gradient_for_another_s_weights() -> None:
    model = made()
    loss = model(torch.randn(5, 3), torch.randn(5, 2)).mean[1].square().sum()
    gradient = torch.autograd.grad(loss, model.hidden[0].weight)[0]
    assert [bool(one.any()) for one in gradient] == [False, True, False, False]


def test_deterministic_members_have_no_variance_and_draw_no_noise() -> None:
    assert made(gaussian=False)(torch.zeros(1, 3), torch.zeros(1, 2)).log_variance is None
    assert (made(gaussian=False).noise_dimensions, made().noise_dimensions) == (0, 4)


def test_what_the_loss_holds_small_is_the_bounds_distance_and_the_weights_without_biases() -> None:
    model = made()
    expected = 4 * (HIGHEST_LOG_VARIANCE - LOWEST_LOG_VARIANCE)  # 3 components and the reward
    torch.testing.assert_close(model.spread_of_bounds(), torch.tensor(expected))
    named = {name: value for name, value in model.named_parameters() if name.endswith("weight")}
    expected = sum(float(value.detach().square().sum()) for value in named.values())
    assert len(named) == 5
    torch.testing.assert_close(model.squared_weights(), torch.tensor(expected))
