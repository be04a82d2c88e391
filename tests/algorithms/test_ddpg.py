"""DDPG against its equations: targets and actor by the first critic, targets that follow by tau."""

from typing import Any

import pytest
import torch

from cog.algorithms.ddpg import DDPG
from cog.errors import UsageError
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise


def made(images: bool = False, **changes: Any) -> tuple[DDPG, Batch]:
    """A small agent and a batch."""
    settings = config(algorithm="ddpg", **changes)
    buffer = Buffer(noise(images=images), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, DDPG)
    return agent, buffer.sample(agent.generator)


def scored(agent: DDPG, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Q (K, B) of the data's actions, and Q' (K, B) of the target actor's at s'."""
    pose = agent.target.encode(None, batch.next_proprio)[0]
    now = agent.critic.project(agent.critic.encode(None, batch.proprio))
    following = agent.target.project(agent.target.encode(None, batch.next_proprio))
    q = agent.critic.q(now, batch.actions[:, None])[..., 0]
    return q, agent.target.q(following, agent.target_actor(pose).mode()[:, None])[..., 0]


def test_all_critics_learn_the_target_of_the_first_target_critic() -> None:
    agent, batch = made(critics=3, discount=0.9)
    with torch.no_grad():
        agent.target.last.bias[1:] -= 50  # a lowest critic would show
        agent.target_actor.mean.bias.fill_(0.4)
    losses, metrics = agent.losses(batch, agent.draws(8), "all")
    q, following = scored(agent, batch)
    target = batch.rewards + batch.bootstrap * following[0]
    expected = float(sum(((one - target) ** 2).mean() for one in q.detach()))
    assert float(losses["critic"]) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["td_loss"]) == pytest.approx(expected / 3, rel=1e-5)
    assert float(metrics["q_target"]) == pytest.approx(float(target.mean()), rel=1e-5)


def test_after_a_terminal_step_nothing_is_bootstrapped() -> None:
    agent, batch = made()
    batch = batch._replace(bootstrap=torch.zeros(8))
    with torch.no_grad():
        agent.target.last.bias.fill_(1e6)
    _, metrics = agent.losses(batch, agent.draws(8), "all")
    assert float(metrics["q_target"]) == pytest.approx(float(batch.rewards.mean()))


def test_the_actor_climbs_the_first_critic_alone() -> None:
    agent, batch = made()
    weights = agent.optimizers["actor"].param_groups[0]["params"]

    def gradient() -> torch.Tensor:
        found, _ = agent.gradients(batch, agent.draws(8), "all")
        return torch.cat([one.reshape(-1) for one in found["actor"]])

    before = gradient()
    actions = agent.policy()(None, batch.proprio).mode()
    states = agent.critic.project(agent.critic.encode(None, batch.proprio))
    by_hand = torch.autograd.grad(-agent.critic.q(states, actions[:, None])[0].mean(), weights)
    torch.testing.assert_close(before, torch.cat([one.reshape(-1) for one in by_hand]), rtol=1e-5, atol=1e-9)
    with torch.no_grad():
        agent.critic.last.weight[1].mul_(-3)
    torch.testing.assert_close(gradient(), before, rtol=0, atol=0)
    with torch.no_grad():
        agent.critic.last.weight[0].mul_(-3)
    torch.testing.assert_close(gradient(), -3 * before)


@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_every_target_weight_follows_by_the_same_rate_at_every_update(sharing: str) -> None:
    agent, batch = made(images=True, sharing=sharing, target_rate=0.25)
    pairs = [(agent.target, agent.critic), (agent.target_actor, agent.actor)]
    if agent.target_encoder is not None and agent.actor_encoder is not None:
        pairs.append((agent.target_encoder, agent.actor_encoder))
    assert len(pairs) == (2 if sharing == "shared" else 3)
    before = [[weight.clone() for weight in target.parameters()] for target, _ in pairs]
    agent.update(batch)
    for (target, source), old in zip(pairs, before, strict=True):
        for moved, weight, start in zip(target.parameters(), source.parameters(), old, strict=True):
            torch.testing.assert_close(moved, start + 0.25 * (weight - start))


def test_switches_are_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"network\.switches is 1; .* of ddpg .*Leave network\.switches out"):
        made(switches=1)
