"""TD3+BC against its equations: the scale of Q, the pull towards the data, delayed and smoothed targets."""

from typing import Any

import pytest
import torch

from cog.algorithms.td3_bc import ACTOR, CRITIC, TD3BC
from cog.errors import UsageError
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise


def made(**changes: Any) -> tuple[TD3BC, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(algorithm="td3_bc", **changes)
    buffer = Buffer(noise(images=False), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, TD3BC)
    return agent, buffer.sample(agent.generator)


def actor_gradients(agent: TD3BC, batch: Batch) -> torch.Tensor:
    """The gradient of the actor's loss, as one vector."""
    gradients, _ = agent.gradients(batch, agent.draws(len(batch.actions)), ACTOR)
    return torch.cat([gradient.reshape(-1) for gradient in gradients["actor"]])


def test_scaling_q_by_a_factor_leaves_the_actor_s_gradient_as_it_is_and_shifting_it_does_not() -> None:
    agent, batch = made()
    before = actor_gradients(agent, batch)
    with torch.no_grad():
        agent.critic.last.weight.mul_(7)
        agent.critic.last.bias.mul_(7)
    torch.testing.assert_close(actor_gradients(agent, batch), before, rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        agent.critic.last.bias.add_(5)
    assert float((actor_gradients(agent, batch) - before).abs().max()) > 1e-4


def test_the_actor_s_gradient_is_that_of_the_error_less_q_1_at_a_scale_of_weight_over_its_mean_size() -> None:
    agent, batch = made(weight=2.5)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        agent.critic.last.weight.copy_(torch.randn(agent.critic.last.weight.shape, generator=generator))
    features = agent.critic.encode(None, batch.proprio)
    actions = agent.actor(features[0].detach()).mode()
    q_1 = agent.critic.q(agent.critic.project(features).detach(), actions[:, None])[0, :, 0]
    assert bool((q_1 > 0).any()) and bool((q_1 < 0).any())  # so that mean |Q_1| is not |mean Q_1|
    scale = 2.5 / q_1.detach().abs().sum() * 8
    loss = (actions - batch.actions).square().sum() / (8 * 3) - scale * q_1.sum() / 8
    expected = torch.autograd.grad(loss, agent.optimizers["actor"].param_groups[0]["params"])
    flat = torch.cat([gradient.reshape(-1) for gradient in expected])
    torch.testing.assert_close(actor_gradients(agent, batch), flat, rtol=1e-4, atol=1e-6)
    _, metrics = agent.gradients(batch, agent.draws(8), ACTOR)
    assert float(metrics["q_scale"]) == pytest.approx(float(scale), rel=1e-5)
    assert float(metrics["actor_loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)


@pytest.mark.parametrize("constant", [False, True])
def test_without_weight_or_with_a_constant_q_the_actor_clones_the_data(constant: bool) -> None:
    agent, batch = made() if constant else made(weight=0.0)
    if constant:
        with torch.no_grad():
            agent.critic.last.weight.zero_()
            agent.critic.last.bias.fill_(3.0)
    actions = agent.policy()(None, batch.proprio).mode()
    error = (actions - batch.actions).square().mean()  # over states and components
    expected = torch.autograd.grad(error, agent.optimizers["actor"].param_groups[0]["params"])
    flat = torch.cat([gradient.reshape(-1) for gradient in expected])
    torch.testing.assert_close(actor_gradients(agent, batch), flat, rtol=1e-5, atol=1e-8)


def test_actor_and_targets_move_at_every_second_update_only() -> None:
    agent, batch = made()
    moved = []
    for _ in range(4):
        watched = [agent.actor.mean.weight, agent.target_actor.mean.weight, agent.target.last.weight]
        before = [weight.detach().clone() for weight in watched]
        agent.update(batch)
        moved.append([not torch.equal(weight, old) for weight, old in zip(watched, before, strict=True)])
    assert moved == [[False] * 3, [True] * 3, [False] * 3, [True] * 3]
    assert agent.phases() == (CRITIC,)


def test_target_actions_are_smoothed_within_the_limit_and_stay_inside_the_bounds() -> None:
    agent, batch = made(smoothing=0.2, smoothing_limit=0.3)
    following = agent.encode_next(None, batch)
    plain = agent.target_actor(following.actor).mode()
    normal = torch.tensor([0.5, -0.5, 100.0]).expand(8, 3)
    found = agent.target_actions(following, normal)
    torch.testing.assert_close(found, plain + torch.tensor([0.1, -0.1, 0.3]))
    with torch.no_grad():
        agent.target_actor.mean.bias.fill_(20.0)
    assert float(agent.target_actions(following, normal).max()) == 1.0


def test_the_critics_loss_is_the_squared_error_to_the_lower_target_critic() -> None:
    agent, batch = made(discount=0.9)
    states = agent.critic.project(agent.critic.encode(None, batch.proprio))
    future = agent.encode_next(None, batch)
    next_actions = torch.zeros(8, 3)
    loss, metrics = agent.critic_loss(states, batch, future, next_actions)
    with torch.no_grad():
        q = agent.critic.q(states, batch.actions[:, None])[..., 0]
        following = agent.target.q(agent.target.project(future.critic), next_actions[:, None])[..., 0]
        target = batch.rewards + batch.bootstrap * torch.minimum(following[0], following[1])
    expected = ((q[0] - target) ** 2).mean() + ((q[1] - target) ** 2).mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert float(metrics["td_loss"]) == pytest.approx(float(expected) / 2, rel=1e-5)


def test_switches_are_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"network\.switches is 1; .*Leave network\.switches out"):
        made(switches=1)
