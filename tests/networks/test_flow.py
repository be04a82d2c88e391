"""Flows against closed forms: one step is the mean, a point is exact, two modes stay two; sigma and SVD."""

import math

import pytest
import torch
from torch import Tensor

from cog.errors import UsageError
from cog.networks.config import NetworkConfig
from cog.networks.flow import (
    ActionNetwork,
    FlowActor,
    OneStepActor,
    VectorField,
    as_actions,
    euler,
    spectral_penalty,
    squared_spectral_norm,
)

NETWORK = NetworkConfig(actor_widths=(64, 64))


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(actions: Tensor, chance: Tensor) -> object:
    """The velocity that flow matching converges to, for data that are `actions` (M,) with chances (M,).

    At x the action a has posterior weight chance * Normal(x; t a, (1 - t)^2); the velocity is the posterior
    mean of a - z = (a - x) / (1 - t).
    """

    def velocity(x: Tensor, time: Tensor) -> Tensor:
        z = (x - time * actions) / (1 - time)
        posterior = (chance.log() - 0.5 * z.square()).softmax(-1)
        mean: Tensor = (posterior * actions).sum(-1, keepdim=True)
        return (mean - x) / (1 - time)

    return velocity


TWO = torch.tensor([-1.0, 1.0], dtype=torch.float64)


def test_one_euler_step_gives_the_mean_action_whatever_the_noise() -> None:
    velocity = exact(TWO, torch.tensor([0.7, 0.3], dtype=torch.float64))
    ends = euler(velocity, normal(50, 1), 1)  # type: ignore[arg-type]
    torch.testing.assert_close(ends, torch.full_like(ends, -0.4))


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 17])
def test_data_at_one_point_are_reached_exactly_in_any_number_of_steps(steps: int) -> None:
    point = torch.tensor([0.3], dtype=torch.float64)
    ends = euler(exact(point, torch.ones(1, dtype=torch.float64)), normal(50, 1), steps)  # type: ignore[arg-type]
    torch.testing.assert_close(ends, torch.full_like(ends, 0.3))


@pytest.mark.parametrize(("steps", "fires"), [(10, 0.087), (20, 0.094)])
def test_a_rare_switch_fires_about_as_often_as_in_the_data(steps: int, fires: float) -> None:
    velocity = exact(TWO, torch.tensor([0.9, 0.1], dtype=torch.float64))
    grid = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)[:, None]
    actions = as_actions(euler(velocity, grid, steps), switches=1)  # type: ignore[arg-type]
    assert set(actions.unique().tolist()) == {-1.0, 1.0}
    assert float((actions > 0).double().mean()) == pytest.approx(fires, abs=2e-3)
    assert abs(fires - 0.1) < 0.03


def test_ends_become_actions_once_and_for_all() -> None:
    actions = as_actions(torch.tensor([[3.0, -0.2, 0.2, 0.0], [-3.0, 0.5, -7.0, 7.0]]), switches=2)
    assert actions.tolist() == [[1.0, pytest.approx(-0.2), 1.0, 1.0], [-1.0, 0.5, -1.0, 1.0]]
    assert torch.equal(as_actions(actions, switches=2), actions)


def test_a_field_is_matched_to_straight_lines_from_noise_to_action() -> None:
    torch.manual_seed(0)
    field = VectorField(3, 2, NETWORK).double()
    features, actions, noise = normal(4, 3), normal(4, 2, seed=1), normal(4, 2, seed=2)
    time = torch.tensor([[0.0], [0.25], [0.5], [0.9]], dtype=torch.float64)
    found = field.matching_error(features, actions, noise, time)
    for row in range(4):
        x = (1 - time[row]) * noise[row] + time[row] * actions[row]
        hidden = torch.cat([x, torch.cos(math.pi * torch.arange(1, 9).double() * time[row])])
        network = field.network
        hidden = (network.of_input.weight @ hidden + network.of_state(features[row])).relu()
        velocity = network.last(network.hidden[0](hidden).relu())
        expected = ((velocity - (actions[row] - noise[row])) ** 2).mean()
        assert float(found[row].detach()) == pytest.approx(float(expected.detach()), rel=1e-9)


def test_a_learned_flow_draws_from_both_modes_and_not_between_them() -> None:
    torch.manual_seed(0)
    actor = FlowActor(1, 1, NETWORK, steps=10)
    optimizer = torch.optim.Adam(actor.parameters(), lr=3e-3)
    features = torch.zeros(256, 1)
    for _ in range(300):
        actions = 0.7 * torch.randn(256, 1).sign()
        loss = actor.field.matching_error(features, actions, torch.randn(256, 1), torch.rand(256, 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        drawn = actor(torch.zeros(1, 1)).drawn(torch.randn(1, 1000, 1)).flatten()
    assert float((drawn > 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert float(((drawn.abs() - 0.7).abs() < 0.25).float().mean()) > 0.85
    assert float((drawn.abs() < 0.3).float().mean()) < 0.1


@pytest.mark.parametrize("kind", ["flow", "one step"])
def test_a_draw_depends_on_its_own_noise_and_state_alone_and_the_mode_is_that_of_zero(kind: str) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(actor_widths=(8,), switches=1)
    actor = FlowActor(3, 2, config, steps=3) if kind == "flow" else OneStepActor(3, 2, config)
    features, noise = torch.randn(4, 3), torch.randn(4, 5, 2)
    drawn = actor(features).drawn(noise)
    assert drawn.shape == (4, 5, 2)
    torch.testing.assert_close(actor(features[1:2]).drawn(noise[1:2, 3:4]), drawn[1:2, 3:4])
    torch.testing.assert_close(actor(features).drawn(torch.zeros(4, 1, 2))[:, 0], actor(features).mode())
    assert set(drawn[..., -1].unique().tolist()) == {-1.0, 1.0}
    assert float(drawn.detach().abs().max()) <= 1


@pytest.mark.parametrize("shape", [(1, 1), (8, 3), (3, 8), (64, 64), (256, 232)])
def test_the_largest_singular_value_and_its_gradient_are_those_of_the_decomposition(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(1)
    matrix = torch.empty(shape).uniform_(-0.1, 0.1).requires_grad_()
    found = squared_spectral_norm(matrix).sqrt()
    (gradient,) = torch.autograd.grad(found, matrix)
    left, values, right = torch.linalg.svd(matrix.detach().double())
    assert float(found.detach()) == pytest.approx(float(values[0]), rel=1e-4)
    if shape != (256, 232):  # whose two largest values are too close to part the vectors to this accuracy
        expected = torch.outer(left[:, 0], right[0]).float()
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3)


def test_a_matrix_of_zeros_has_no_singular_value_and_no_gradient() -> None:
    matrix = torch.zeros(3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(squared_spectral_norm(matrix), matrix)
    assert not gradient.any()


def test_the_penalty_counts_each_layer_once_with_both_parts_of_the_first() -> None:
    torch.manual_seed(0)
    network = ActionNetwork(5, 3, 2, NetworkConfig(actor_widths=(16, 8)))
    first = torch.cat([network.of_state.weight, network.of_input.weight], 1)
    matrices = [first, network.hidden[0].weight, network.last.weight]
    expected = sum(torch.linalg.svdvals(one.detach())[0] ** 2 for one in matrices)  # type: ignore[arg-type]
    assert float(spectral_penalty(network).detach()) == pytest.approx(float(expected), rel=1e-4)


def test_no_output_changes_faster_than_the_product_of_the_largest_singular_values() -> None:
    torch.manual_seed(0)
    network = ActionNetwork(5, 3, 2, NetworkConfig(actor_widths=(16, 16)))
    bound = math.prod(math.sqrt(float(squared_spectral_norm(one).detach())) for one in network.matrices())
    states, inputs = torch.randn(200, 5), torch.randn(200, 1, 3)
    with torch.no_grad():
        output = network(network.project(states), inputs)[:, 0]
    seen = torch.cat([states, inputs[:, 0]], 1)
    apart = (seen[:100] - seen[100:]).norm(dim=1)
    assert bool(((output[:100] - output[100:]).norm(dim=1) <= bound * apart).all())


def test_an_actor_without_hidden_layers_is_refused() -> None:
    with pytest.raises(UsageError, match=r"network\.actor_widths"):
        ActionNetwork(5, 3, 2, NetworkConfig(actor_widths=()))
