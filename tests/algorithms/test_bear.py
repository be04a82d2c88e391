"""BEAR against its equations: the MMD before the tanh, the dual that holds it, the warm-up, the targets."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cog.algorithms.bear import BEAR, FULL, WARM_UP
from cog.algorithms.shared.mmd import mmd
from cog.errors import UsageError
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.bandit import HIGH, LOW, bandit, drawn
from tests.helpers.learner_data import config, noise


def made(**changes: Any) -> tuple[BEAR, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(algorithm="bear", **changes)
    buffer = Buffer(noise(images=False), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, BEAR)
    return agent, buffer.sample(agent.generator)


def seen(agent: BEAR, proprio: Tensor) -> Tensor:
    """The features that the policy sees: standardised poses."""
    features: Tensor = agent.policy_encoder()(None, proprio)
    return features


def actor_gradients(agent: BEAR, batch: Batch, phase: str) -> Tensor:
    """The gradient of the actor's loss, as one vector, by the same draws each time."""
    agent.generator.manual_seed(3)
    gradients, _ = agent.gradients(batch, agent.draws(8), phase)
    return torch.cat([gradient.reshape(-1) for gradient in gradients["actor"]])


def test_the_mmd_compares_actions_of_policy_and_vae_before_the_tanh() -> None:
    agent, batch = made(mmd_samples=5, kernel="gaussian", kernel_width=2.0)
    draws = agent.draws(8)
    actions, distance = agent.distance(seen(agent, batch.proprio), draws)
    policy = agent.actor(seen(agent, batch.proprio))
    pre_tanh = torch.stack([policy.mean + policy.log_std.exp() * draws.policy[:, i] for i in range(5)], 1)
    latents = draws.behaviour.clamp(-0.5, 0.5)
    behaviour = agent.vae.decoder.pre_tanh(seen(agent, batch.proprio), latents)
    assert float(draws.behaviour.abs().max()) > 0.5
    torch.testing.assert_close(behaviour.tanh(), agent.vae.decoder(seen(agent, batch.proprio), latents))
    torch.testing.assert_close(actions, pre_tanh.tanh())
    torch.testing.assert_close(distance, mmd(pre_tanh, behaviour, 2.0, "gaussian").mean())


@pytest.mark.parametrize(("threshold", "rises"), [(1e3, False), (0.0, True)])
def test_the_multiplier_rises_above_the_threshold_and_falls_below_it_from_the_first_update(
    threshold: float, rises: bool
) -> None:
    agent, batch = made(mmd_threshold=threshold, warm_up_updates=3)
    assert float(agent.log_multiplier.detach()) == 0.0
    path = []
    for _ in range(6):
        agent.update(batch)
        path.append(float(agent.log_multiplier.detach()))
    assert path == sorted(path, reverse=not rises) and path[0] != 0.0 and (path[0] > 0) == rises


@pytest.mark.parametrize(("threshold", "bound"), [(1e3, -5.0), (0.0, 10.0)])
def test_the_multiplier_stays_within_its_bounds_and_can_leave_them_again(
    threshold: float, bound: float
) -> None:
    agent, batch = made(mmd_threshold=threshold, multiplier_lr=7.0, actor_lr=0.0)
    for _ in range(3):
        agent.update(batch)
    assert float(agent.log_multiplier.detach()) == bound
    gradients, metrics = agent.gradients(batch, agent.draws(8), FULL)
    assert float(gradients["multiplier"][0]) != 0.0
    assert float(metrics["multiplier"]) == pytest.approx(float(torch.tensor(bound).exp()))


def test_the_warm_up_leaves_q_out_of_the_actor_s_loss_and_ends_after_its_updates() -> None:
    agent, batch = made(warm_up_updates=2)
    phases = []
    for _ in range(3):
        phases.append(agent.phases())
        agent.update(batch)
    assert phases == [(WARM_UP,), (WARM_UP,), (FULL,)]
    before = {phase: actor_gradients(agent, batch, phase) for phase in (WARM_UP, FULL)}
    with torch.no_grad():
        agent.critic.last.weight.mul_(5)
    assert torch.equal(actor_gradients(agent, batch, WARM_UP), before[WARM_UP])
    assert not torch.allclose(actor_gradients(agent, batch, FULL), before[FULL])


def test_the_actor_s_loss_is_the_weighted_mmd_less_the_lowest_critic_at_the_first_action() -> None:
    agent, batch = made()
    with torch.no_grad():
        agent.log_multiplier.fill_(1.0)
    draws = agent.draws(8)
    losses, metrics = agent.losses(batch, draws, FULL)
    actions, distance = agent.distance(seen(agent, batch.proprio), draws)
    q = agent.critic.q(agent.critic.project(seen(agent, batch.proprio)[None]), actions[:, :1])[..., 0]
    expected = torch.e * distance - torch.minimum(q[0], q[1]).mean()
    assert float(losses["actor"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(metrics["mmd"]) == pytest.approx(float(distance.detach()), rel=1e-5)


def test_the_target_is_the_best_mixed_value_of_actions_of_the_current_policy() -> None:
    agent, batch = made(min_weight=0.75, discount=0.9)
    noise_ = agent.draws(8).target
    assert noise_.normal.shape == (8, 10, 3)
    _, metrics = agent.critic_loss(agent.encode(None, None, batch), batch, noise_)
    with torch.no_grad():
        policy = agent.actor(seen(agent, batch.next_proprio))
        actions = (policy.mean[:, None] + policy.log_std.exp()[:, None] * noise_.normal).tanh()
        q = agent.target.q(agent.target.project(seen(agent, batch.next_proprio)[None]), actions)
        mixed = 0.75 * torch.minimum(q[0], q[1]) + 0.25 * torch.maximum(q[0], q[1])
        expected = (batch.rewards + batch.bootstrap * mixed.amax(1)).mean()
    assert float(metrics["q_target"]) == pytest.approx(float(expected), rel=1e-5)


def test_the_multiplier_and_the_vae_s_actions_carry_no_gradient_of_the_actor_s_loss() -> None:
    agent, batch = made()
    losses, _ = agent.losses(batch, agent.draws(8), FULL)
    weights = [agent.log_multiplier, *agent.vae.parameters()]
    assert torch.autograd.grad(losses["actor"], weights, retain_graph=True, allow_unused=True) == (
        None,
    ) * len(weights)
    actor = list(agent.actor.parameters())
    assert torch.autograd.grad(losses["multiplier"], actor, allow_unused=True) == (None,) * len(actor)


def test_it_acts_by_the_critics_choice_among_as_many_draws_as_asked_for() -> None:
    agent, batch = made(acting_draws=7)
    policy = agent.policy()
    assert policy.noise.shape == (7, 3)
    actions = agent.actor(seen(agent, batch.proprio)).drawn(policy.noise.expand(8, -1, -1))
    with torch.no_grad():
        q = agent.critic.q(agent.critic.project(seen(agent, batch.proprio)[None]), actions).amin(0)
    torch.testing.assert_close(policy(None, batch.proprio).mode(), actions[torch.arange(8), q.argmax(1)])


def test_on_a_bandit_it_stays_close_to_the_data_where_an_unconstrained_learner_does_not() -> None:
    free, _ = bandit("bear", 100, steps=1, mmd_threshold=1e3, multiplier_lr=1.0)
    assert float(drawn(free).max()) > HIGH + 0.1
    agent, _ = bandit("bear", 100, steps=1, multiplier_lr=0.1)
    actions = drawn(agent)
    assert float(actions.min()) >= LOW - 0.05 and float(actions.max()) <= HIGH + 0.05


def test_one_sample_and_one_action_component_are_enough() -> None:
    agent, buffer = bandit("bear", 1, mmd_samples=1, target_actions=1, acting_draws=1, latents=1)
    assert all(bool(value.isfinite()) for value in agent.update(buffer.sample(agent.generator)).values())


def test_switches_are_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"network\.switches is 1; .*choose --algorithm bcq"):
        made(switches=1)
