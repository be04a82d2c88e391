"""FQL against its definitions: distillation without a gradient to the flow, Q without one to the critics."""

import dataclasses
from typing import Any

import pytest
import torch

from cog.algorithms import fql
from cog.algorithms.fql import FQL
from cog.errors import UsageError
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise


def made(**changes: Any) -> tuple[FQL, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(algorithm="fql", **changes)
    buffer = Buffer(noise(images=False), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, FQL)
    return agent, buffer.sample(agent.generator)


def actor_gradients(agent: FQL, batch: Batch, normal: torch.Tensor) -> torch.Tensor:
    """The gradient of the policy's loss, as one vector."""
    loss, _ = agent.actor_loss(agent.encode(None, None, batch), normal)
    return torch.cat([one.reshape(-1) for one in torch.autograd.grad(loss, [*agent.one_step.parameters()])])


def distillation_gradients(agent: FQL, batch: Batch, normal: torch.Tensor) -> torch.Tensor:
    """That of the mean squared distance of the policy to the flow alone."""
    features = agent.encode(None, None, batch).actor
    ends = agent.clone(features).ends(normal).clamp(-1, 1).detach()
    error = (agent.one_step(features).ends(normal) - ends).square().mean()
    return torch.cat([one.reshape(-1) for one in torch.autograd.grad(error, [*agent.one_step.parameters()])])


@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_the_policy_s_loss_has_no_gradient_to_the_flow_and_no_encoder(sharing: str) -> None:
    settings = config(algorithm="fql", sharing=sharing)
    buffer = Buffer(noise(), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, FQL)
    batch = buffer.sample(agent.generator)
    images, next_images = agent.augmented(batch, agent.draws(8).shifts)
    loss, _ = agent.actor_loss(agent.encode(images, next_images, batch), agent.draws(8).policy)
    others = [*agent.clone.parameters(), *agent.critic.encoders.parameters()]
    if agent.actor_encoder is not None:
        others += agent.actor_encoder.parameters()
    own = [*agent.one_step.parameters()]
    found = torch.autograd.grad(loss, [*own, *others], allow_unused=True)
    assert all(one is not None for one in found[: len(own)])
    assert all(one is None for one in found[len(own) :])


def test_with_a_constant_q_the_policy_is_distilled_and_nothing_else() -> None:
    agent, batch = made(distillation_weight=2.0)
    with torch.no_grad():
        agent.critic.last.weight.zero_()
        agent.critic.last.bias.fill_(3.0)
    normal = agent.draws(8).policy
    expected = 2 * distillation_gradients(agent, batch, normal)
    torch.testing.assert_close(actor_gradients(agent, batch, normal), expected, rtol=1e-5, atol=1e-8)


def test_with_a_large_weight_the_policy_becomes_the_flow_draw_by_draw() -> None:
    agent, batch = made(distillation_weight=1e4, actor_lr=1e-2, actor_widths=(64,))
    features = agent.encode(None, None, batch)
    tried = torch.randn(8, 100, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ends = agent.clone(features.actor).ends(tried).clamp(-1, 1)
        before = float((agent.one_step(features.actor).ends(tried) - ends).square().mean())
    optimizer = agent.optimizers["actor"]
    for _ in range(150):
        loss, _ = agent.actor_loss(features, torch.randn(8, 32, 3, generator=agent.generator))
        agent.step("actor", torch.autograd.grad(loss, optimizer.param_groups[0]["params"]))
    with torch.no_grad():
        after = float((agent.one_step(features.actor).ends(tried) - ends).square().mean())
    assert after < 0.05 < 0.3 < before


def test_scaling_q_by_a_factor_leaves_the_normalised_gradient_as_it_is_and_changes_the_other() -> None:
    for normalise, same in ((True, True), (False, False)):
        agent, batch = made(normalise_q=normalise)
        normal = agent.draws(8).policy
        before = actor_gradients(agent, batch, normal)
        with torch.no_grad():
            agent.critic.last.weight.mul_(7)
            agent.critic.last.bias.mul_(7)
        found = actor_gradients(agent, batch, normal)
        assert torch.allclose(found, before, rtol=1e-4, atol=1e-6) == same


def test_values_near_zero_are_not_blown_up() -> None:
    agent, batch = made()
    with torch.no_grad():
        agent.critic.last.weight.mul_(1e-9)
        agent.critic.last.bias.zero_()
    normal = agent.draws(8).policy
    expected = agent.config.distillation_weight * distillation_gradients(agent, batch, normal)
    torch.testing.assert_close(actor_gradients(agent, batch, normal), expected, rtol=1e-3, atol=1e-5)


def test_the_policy_s_gradient_is_the_finite_difference_of_its_loss() -> None:
    agent, batch = made(normalise_q=False)
    agent.double()
    batch = Batch(None, None, *(one.double() for one in batch[2:7] if isinstance(one, torch.Tensor)))
    draws = agent.draws(8)
    weights = list(agent.one_step.parameters())
    gradient = agent.gradients(batch, draws, "all")[0]["actor"]
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in weights]
    slope = float(sum((a * b).sum() for a, b in zip(gradient, direction, strict=True)))
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            torch._foreach_add_(weights, direction, alpha=step)
            ends.append(float(agent.losses(batch, draws, "all")[0]["actor"]))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("aggregate", ["mean", "min"])
def test_targets_take_one_draw_of_the_policy_and_the_mean_or_the_lowest_of_the_target_critics(
    aggregate: str,
) -> None:
    agent, batch = made(q_aggregate=aggregate, switches=1, discount=0.9)
    draws = agent.draws(8)
    features = agent.encode(None, None, batch)
    loss, metrics = agent.critic_loss(features, batch, batch.actions, draws.backup)
    with torch.no_grad():
        ends = agent.one_step.network(agent.one_step.network.project(features.next_actor), draws.backup)[:, 0]
        next_actions = torch.cat([ends[:, :2].clamp(-1, 1), torch.where(ends[:, 2:] < 0, -1.0, 1.0)], 1)
        states = agent.target.project(features.next_target)
        one, other = agent.target.q(states, next_actions[:, None])[..., 0]
        value = (one + other) / 2 if aggregate == "mean" else torch.minimum(one, other)
        target = batch.rewards + batch.bootstrap * value
        q = agent.critic.q(agent.critic.project(features.critic), batch.actions[:, None])[..., 0]
    expected = ((q - target) ** 2).mean(1).sum()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert float(metrics["q_target"]) == pytest.approx(float(target.mean()), rel=1e-5)


def test_q_scores_the_policy_s_actions_clipped_and_its_switches_before_they_snap() -> None:
    agent, batch = made(switches=1, normalise_q=False, distillation_weight=0.0)
    features = agent.encode(None, None, batch)
    normal = 5 * agent.draws(8).policy
    _, metrics = agent.actor_loss(features, normal)
    with torch.no_grad():
        mu = agent.one_step(features.actor).ends(normal).clamp(-1, 1)
        q = agent.critic.q(agent.critic.project(features.critic), mu)
    assert float(metrics["q_policy"]) == pytest.approx(float(q.mean()), rel=1e-5)
    assert float((mu[..., -1].abs() < 1).float().mean()) > 0


def test_what_may_not_be_imitated_moves_critics_and_not_the_flow() -> None:
    agent, batch = made()
    draws = agent.draws(8)
    features = agent.encode(None, None, batch)
    first = torch.tensor([1.0] + [0.0] * 7)
    loss, _ = agent.clone_loss(features, batch._replace(imitated=first), batch.actions, draws)
    error = agent.clone.field.matching_error(features.actor, batch.actions, draws.noise, draws.time)
    assert float(loss.detach()) == pytest.approx(float(error[0].detach()) / 8, rel=1e-6)


def test_a_mean_over_processes_is_refused_where_the_update_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fql, "size", lambda: 2)
    with pytest.raises(UsageError, match=r"fql\.normalise_q.*Leave out --compiled"):
        made(compiled=True)
    settings = config(algorithm="fql", normalise_q=False)
    agent, _ = made(normalise_q=False)
    FQL.check(dataclasses.replace(settings, compiled=True), agent.shape, 3)
