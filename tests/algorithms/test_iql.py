"""IQL against its equations: expectiles, advantage weights, the order of steps, and no unseen action."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cog.algorithms.iql import CRITIC_AND_ACTOR, IQL, VALUE, States
from cog.algorithms.shared.losses import expectile_loss
from cog.errors import UsageError
from cog.evaluation.policy import Policy
from cog.networks.critic import Critic
from cog.networks.distribution import ClippedGaussian, TanhGaussian
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from cog.training.train import train
from tests.helpers.learner_data import config, noise


def made(images: bool = False, **changes: Any) -> tuple[IQL, Batch]:
    """A small agent and a batch."""
    settings = config(algorithm="iql", **changes)
    buffer = Buffer(noise(images=images), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, IQL)
    return agent, buffer.sample(agent.generator)


def minimum(targets: Tensor, expectile: float) -> float:
    """The constant value that minimises the expectile loss, by Newton's steps on its own gradient."""
    value = targets.mean().clone().requires_grad_()
    for _ in range(30):
        (slope,) = torch.autograd.grad(expectile_loss(targets - value, expectile), value, create_graph=True)
        (curve,) = torch.autograd.grad(slope, value)
        value = (value - slope / curve).detach().requires_grad_()
    return float(value.detach())


@pytest.mark.parametrize("share", [0.25, 0.5])
@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9])
def test_the_expectile_of_two_values_is_their_closed_form(tau: float, share: float) -> None:
    targets = torch.tensor([1.0] * int(8 * share) + [0.0] * int(8 * (1 - share)), dtype=torch.float64)
    expected = tau * share / (tau * share + (1 - tau) * (1 - share))
    assert minimum(targets, tau) == pytest.approx(expected, abs=1e-9)


def test_expectiles_run_from_the_mean_to_the_largest_value() -> None:
    targets = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert minimum(targets, 0.5) == pytest.approx(float(targets.mean()), abs=1e-9)
    assert minimum(targets, 1 - 1e-7) == pytest.approx(float(targets.max()), abs=1e-4)
    assert minimum(targets, 0.3) == pytest.approx(-minimum(-targets, 0.7), abs=1e-9)


def test_the_value_loss_weighs_what_lies_above_v_and_what_lies_below_it() -> None:
    agent, _ = made(expectile=0.8)
    loss, metrics = agent.value_loss(torch.tensor([1.0, 1.0]), torch.tensor([3.0, -1.0]))
    assert float(loss) == pytest.approx((0.8 * 4 + 0.2 * 4) / 2)
    assert float(metrics["v_data"]) == 1.0


def test_an_action_is_imitated_by_the_exponential_of_its_advantage_up_to_the_limit() -> None:
    agent, batch = made(beta=2.0, weight_limit=10.0)
    policy = TanhGaussian(torch.zeros(8, 3, requires_grad=True), torch.full((8, 3), -0.5))
    value, target_q = torch.zeros(8), torch.tensor([0.0, 0.5, -1.0, 1.0, 1.2, 1000.0, -1000.0, 0.1])
    states = States(torch.zeros(2, 8, 16), policy, value, value)
    loss, metrics = agent.actor_loss(states, target_q, batch)
    weights = [min(math.exp(min(2 * a, 50.0)), 10.0) for a in target_q.tolist()]
    log_pi = policy.log_prob(batch.actions, agent.settings.network.action_limit).detach()
    expected = -sum(w * one for w, one in zip(weights, log_pi.tolist(), strict=True)) / 8
    assert weights[5] == 10.0 and weights[3] == pytest.approx(math.e**2)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["imitation_weight"]) == pytest.approx(sum(weights) / 8, rel=1e-5)


def test_without_beta_the_actor_s_gradient_is_that_of_cloning() -> None:
    agent, batch = made(beta=0.0)
    weights = agent.optimizers["actor"].param_groups[0]["params"]
    gradients, _ = agent.gradients(batch, agent.draws(8), CRITIC_AND_ACTOR)
    policy = agent.actor(agent.policy_encoder()(None, batch.proprio))
    likelihood = policy.log_prob(batch.actions, agent.settings.network.action_limit).mean()
    for found, expected in zip(gradients["actor"], torch.autograd.grad(-likelihood, weights), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


def test_the_critics_target_holds_the_value_after_its_step_and_ends_at_terminals() -> None:
    agent, batch = made()
    batch = batch._replace(bootstrap=torch.tensor([0.5] * 7 + [0.0]))
    losses, _ = agent.gradients(batch, agent.draws(8), VALUE)
    before = agent.values(None, batch.next_proprio).detach()
    agent.step("value", losses["value"])
    after = agent.values(None, batch.next_proprio).detach()
    assert not torch.equal(before, after)
    losses, metrics = agent.gradients(batch, agent.draws(8), CRITIC_AND_ACTOR)
    expected = batch.rewards + torch.tensor([0.5] * 7 + [0.0]) * after
    assert float(metrics["q_target"]) == pytest.approx(float(expected.mean()), rel=1e-5)
    ended = batch._replace(bootstrap=torch.zeros(8), rewards=torch.arange(8.0))
    _, metrics = agent.gradients(ended, agent.draws(8), CRITIC_AND_ACTOR)
    assert float(metrics["q_target"]) == 3.5  # the mean of 0 to 7, and nothing of V


@pytest.mark.parametrize("sharing", ["shared", "separate"])
@pytest.mark.parametrize("images", [True, False])
def test_critics_are_asked_for_the_data_s_actions_and_for_no_others(
    monkeypatch: pytest.MonkeyPatch, images: bool, sharing: str
) -> None:
    agent, batch = made(images, switches=1, sharing=sharing)
    seen = torch.cat([batch.actions[:, :2], batch.actions[:, 2:].sign()], 1)
    healthy, calls = Critic.q, []

    def q(self: Critic, states: Tensor, actions: Tensor) -> Tensor:
        assert torch.equal(actions[:, 0], seen) and actions.shape[1] == 1, (
            "an action that the data do not hold"
        )
        calls.append(len(actions))
        return healthy(self, states, actions)

    monkeypatch.setattr(Critic, "q", q)
    agent.update(batch)
    assert len(calls) == 3  # target critics in both phases, critics in the second


def test_without_a_shared_encoder_value_and_actor_train_their_own() -> None:
    agent, batch = made(images=True, sharing="separate")
    assert agent.value_encoder is not None and agent.actor_encoder is not None
    own = {id(one) for one in agent.optimizers["value"].param_groups[0]["params"]}
    assert {id(one) for one in agent.value_encoder.parameters()} < own
    gradients, _ = agent.gradients(batch, agent.draws(8), VALUE)
    assert all(float(gradient.abs().sum()) > 0 for gradient in gradients["value"])


def test_the_gaussian_policy_has_torch_s_density_and_draws_that_stay_within_the_bounds() -> None:
    mean = torch.tensor([[0.2, -0.7], [1.0, 0.0]], dtype=torch.float64)
    policy = ClippedGaussian(mean, torch.tensor([-1.0, 0.5], dtype=torch.float64))
    actions = torch.tensor([[0.5, 1.0], [-1.0, 0.3]], dtype=torch.float64)
    normal = torch.distributions.Normal(mean, policy.log_std.exp())
    torch.testing.assert_close(policy.log_prob(actions, 1.0), normal.log_prob(actions).sum(-1))
    clamped = normal.log_prob(actions.clamp(-0.9, 0.9)).sum(-1)
    torch.testing.assert_close(policy.log_prob(actions, 0.9), clamped)
    standard = torch.randn(2, 500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = policy.drawn(standard)
    torch.testing.assert_close(drawn, (mean[:, None] + policy.log_std.exp() * standard).clamp(-1, 1))
    assert float(drawn.abs().max()) == 1.0 and torch.equal(policy.mode(), mean)


def test_with_the_gaussian_policy_the_actor_s_gradient_is_the_finite_difference_of_its_loss() -> None:
    agent, batch = made(policy="gaussian")
    agent.double()
    batch = batch._replace(**{name: getattr(batch, name).double() for name in ("actions", "proprio")})
    weights = agent.optimizers["actor"].param_groups[0]["params"]
    assert any(one.shape == (3,) and one is agent.actor.log_std for one in weights)
    target_q, values = torch.linspace(-1, 1, 8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)

    def loss() -> Tensor:
        policy = agent.actor(agent.policy_encoder()(None, batch.proprio).detach())
        states = States(torch.zeros(2, 8, 16), policy, values, values)
        return agent.actor_loss(states, target_q, batch)[0]

    gradients = torch.autograd.grad(loss(), weights)
    generator = torch.Generator().manual_seed(1)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        found = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * 1e-5 * direction
                found.append(float(loss()))
                weight -= sign * 1e-5 * direction
        assert (found[0] - found[1]) / 2e-5 == pytest.approx(float((gradient * direction).sum()), abs=1e-6)


def test_a_gaussian_policy_is_written_and_read_and_acts_by_its_mean(tmp_path: Path) -> None:
    settings = config(algorithm="iql", policy="gaussian", updates=3, out=tmp_path / "run")
    data = noise(images=False)
    policy = Policy.load(train(settings, data))
    actions = policy.act(None, data.proprio[:5])
    assert actions.shape == (5, 3) and np.abs(actions).max() < 1
    with pytest.raises(UsageError, match=r"network.switches is 1, .*--iql.policy tanh_gaussian"):
        made(policy="gaussian", switches=1)
