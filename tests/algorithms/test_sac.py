"""SAC against its equations: the soft value in the backup, the actor's and the temperature's loss."""

from typing import Any

import pytest
import torch

from cog.algorithms.sac import SAC
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise


def made(**changes: Any) -> tuple[SAC, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(algorithm="sac", **changes)
    buffer = Buffer(noise(images=False), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, SAC)
    return agent, buffer.sample(agent.generator)


def test_the_backup_is_the_lower_target_q_minus_the_temperature_times_log_pi() -> None:
    agent, batch = made(discount=0.9, initial_temperature=0.7)
    features = agent.encode(None, None, batch)
    normal = torch.randn((8, 1, 3), generator=torch.Generator().manual_seed(0))
    states = agent.critic.project(features.critic)
    loss, metrics = agent.critic_loss(states, batch, features, normal)
    with torch.no_grad():
        policy = agent.actor(features.next_actor)
        before = policy.mean + policy.log_std.exp() * normal[:, 0]
        spread = torch.distributions.Normal(policy.mean, policy.log_std.exp())
        log_pi = (spread.log_prob(before) - torch.log(1 - before.tanh() ** 2)).sum(1)
        following = agent.target.q(agent.target.project(features.next_target), before.tanh()[:, None])[..., 0]
        soft = torch.minimum(following[0], following[1]) - 0.7 * log_pi
        target = batch.rewards + batch.bootstrap * soft
        q = agent.critic.q(states, batch.actions[:, None])[..., 0]
    expected = float(((q[0] - target) ** 2).mean() + ((q[1] - target) ** 2).mean())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(metrics["q_target"]) == pytest.approx(float(target.mean()), rel=1e-4)


def test_over_the_settings_of_a_switch_the_backup_is_an_expectation() -> None:
    agent, batch = made(switches=1, initial_temperature=0.5)
    features = agent.encode(None, None, batch)
    normal = torch.zeros((8, 1, 2))
    _, metrics = agent.critic_loss(agent.critic.project(features.critic), batch, features, normal)
    with torch.no_grad():
        policy = agent.actor(features.next_actor)
        values = []
        for side in (-1.0, 1.0):
            actions = torch.cat([policy.mean.tanh(), torch.full((8, 1), side)], 1)
            chance = torch.sigmoid(side * policy.odds[:, 0])
            density = (
                -policy.log_std.sum(1)
                - torch.log(torch.tensor(2 * torch.pi))
                - torch.log(1 - policy.mean.tanh() ** 2).sum(1)
            )
            q = agent.target.q(agent.target.project(features.next_target), actions[:, None])[..., 0].amin(0)
            values.append(chance * (q - 0.5 * (density + chance.log())))
        target = batch.rewards + batch.bootstrap * (values[0] + values[1])
    assert float(metrics["q_target"]) == pytest.approx(float(target.mean()), rel=1e-4)


def test_the_actor_weighs_entropy_by_the_temperature_and_reaches_no_critic() -> None:
    agent, batch = made(initial_temperature=0.3)
    features = agent.encode(None, None, batch)
    states = agent.critic.project(features.critic).detach()
    normal = torch.randn((8, 1, 3), generator=torch.Generator().manual_seed(1))
    loss, log_pi, metrics = agent.actor_loss(states, features.actor, normal)
    expected = 0.3 * float(log_pi.mean().detach()) - float(metrics["q_policy"])
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    temperature = agent.temperature_loss(log_pi)[0]
    (slope,) = torch.autograd.grad(temperature, agent.log_temperature)
    assert float(slope) == pytest.approx(-float(log_pi.mean().detach()) + 3.0, rel=1e-5)  # target entropy -3
