"""TD3 against its equations: lower target, smoothing and delay; and without them it is DDPG."""

from typing import Any

import pytest
import torch

from cog.algorithms.shared.base import Algorithm
from cog.algorithms.td3 import BOTH, CRITIC, TD3
from cog.errors import UsageError
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise


def agent_and_batch(algorithm: str, **changes: Any) -> tuple[Algorithm[Any], Batch]:
    settings = config(algorithm=algorithm, **changes)
    buffer = Buffer(noise(images=False), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    return agent, buffer.sample(agent.generator)


def made(**changes: Any) -> tuple[TD3, Batch]:
    """A small agent that sees poses, and a batch."""
    agent, batch = agent_and_batch("td3", **changes)
    assert isinstance(agent, TD3)
    return agent, batch


def test_with_one_critic_and_neither_noise_nor_delay_it_is_ddpg() -> None:
    td3, batch = made(critics=1, smoothing=0.0, actor_every=1)
    ddpg, same = agent_and_batch("ddpg", critics=1)
    assert torch.equal(batch.actions, same.actions)
    for _ in range(5):
        td3.update(batch)
        ddpg.update(batch)
    others = dict(ddpg.named_parameters())
    assert {name for name, _ in td3.named_parameters()} == set(others)
    assert all(torch.equal(weight, others[name]) for name, weight in td3.named_parameters())


def test_the_critics_loss_is_the_squared_error_to_the_lower_target_critic() -> None:
    agent, batch = made(discount=0.9)
    following = agent.encode_next(None, batch)
    states = agent.critic.project(agent.critic.encode(None, batch.proprio))
    next_actions = torch.full((8, 3), 0.2)
    loss, metrics = agent.critic_loss(states, batch, following, next_actions)
    with torch.no_grad():
        q = agent.critic.q(states, batch.actions[:, None])[..., 0]
        next_q = agent.target.q(agent.target.project(following.critic), next_actions[:, None])[..., 0]
        target = batch.rewards + batch.bootstrap * torch.minimum(next_q[0], next_q[1])
    expected = float(((q[0] - target) ** 2).mean() + ((q[1] - target) ** 2).mean())
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["td_loss"]) == pytest.approx(expected / 2, rel=1e-5)


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


def test_actor_and_targets_move_at_every_third_update_only() -> None:
    agent, batch = made(actor_every=3)
    moved, phases = [], []
    for _ in range(6):
        watched = [agent.critic.last.weight, agent.actor.mean.weight]
        watched += [agent.target_actor.mean.weight, agent.target.last.weight]
        before = [weight.detach().clone() for weight in watched]
        phases += agent.phases()
        agent.update(batch)
        moved.append([not torch.equal(weight, old) for weight, old in zip(watched, before, strict=True)])
    assert moved == [[True, False, False, False]] * 2 + [[True] * 4] + moved[:2] + [[True] * 4]
    assert phases == [CRITIC, CRITIC, BOTH] * 2


def test_the_actor_climbs_the_first_critic_and_not_the_lowest() -> None:
    agent, batch = made()
    with torch.no_grad():
        agent.critic.last.bias[1] -= 100
    _, metrics = agent.losses(batch, agent.draws(8), BOTH)
    states = agent.critic.project(agent.critic.encode(None, batch.proprio))
    q = agent.critic.q(states, agent.policy()(None, batch.proprio).mode()[:, None])[0].mean()
    assert float(metrics["q_policy"]) == pytest.approx(float(q), rel=1e-5, abs=1e-6)
    assert float(metrics["actor_loss"]) == -float(metrics["q_policy"])


def test_switches_are_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"network\.switches is 1; .* of td3 .*Leave network\.switches out"):
        made(switches=1)
