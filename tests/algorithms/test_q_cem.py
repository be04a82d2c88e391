"""Q-learning by the cross-entropy method against its equations: what is searched by, and what values it."""

from typing import Any

import pytest
import torch

from cog.algorithms.q_cem import QCEM
from cog.errors import UsageError
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise


def made(**changes: Any) -> tuple[QCEM, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(algorithm="q_cem", **changes)
    buffer = Buffer(noise(images=False), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, QCEM)
    return agent, buffer.sample(agent.generator)


def test_the_first_target_critic_chooses_and_the_lowest_values() -> None:
    agent, batch = made(iterations=1, samples=10, elites=3, discount=0.9)
    with torch.no_grad():
        agent.target.last.bias[1] -= 5
    draws = agent.draws(8)
    samples = draws.following[:, 0].clamp(-1, 1)
    with torch.no_grad():
        states = agent.target.project(agent.target.encode(None, batch.next_proprio))
        q = agent.target.q(states, samples)  # (K, B, N)
    chosen = q[0].argmax(1)
    assert not torch.equal(chosen, q[1].argmax(1))
    expected = torch.stack([q[:, row, index].min() for row, index in enumerate(chosen)])
    torch.testing.assert_close(agent.next_q(None, batch, draws.following), expected)
    losses, metrics = agent.losses(batch, draws, "all")
    target = batch.rewards + batch.bootstrap * expected
    assert float(metrics["q_target"]) == pytest.approx(float(target.mean()), rel=1e-5)
    now = agent.critic.project(agent.critic.encode(None, batch.proprio))
    q_data = agent.critic.q(now, batch.actions[:, None])[..., 0]
    squared = float(sum(((one - target) ** 2).mean() for one in q_data))
    assert float(losses["critic"]) == pytest.approx(squared, rel=1e-5)


def test_the_gap_is_the_found_maximum_above_the_data_s_action_by_the_first_critic() -> None:
    agent, batch = made(iterations=1, samples=10, elites=3)
    with torch.no_grad():
        agent.critic.last.bias[1] += 30
    draws = agent.draws(8)
    _, metrics = agent.losses(batch, draws, "all")
    assert draws.now is not None
    with torch.no_grad():
        states = agent.critic.project(agent.critic.encode(None, batch.proprio))
        best = agent.critic.q(states, draws.now[:, 0].clamp(-1, 1))[0].amax(1)
        data = agent.critic.q(states, batch.actions[:, None])[0, :, 0]
    assert float(metrics["q_max_gap"]) == pytest.approx(float((best - data).mean()), rel=1e-4)


def test_without_the_gap_neither_metric_nor_second_search_is_there() -> None:
    agent, batch = made(measure_gap=False)
    draws = agent.draws(8)
    assert draws.now is None and "q_max_gap" not in agent.losses(batch, draws, "all")[1]


def test_switches_in_data_and_search_are_scored_as_minus_one_or_one() -> None:
    agent, batch = made(switches=1, measure_gap=False)
    draws = agent.draws(8)
    first = agent.losses(batch, draws, "all")[0]["critic"]
    halved = batch._replace(actions=batch.actions * torch.tensor([1.0, 1.0, 0.5]))
    assert float(agent.losses(halved, draws, "all")[0]["critic"]) == float(first)


def test_each_update_moves_the_targets_by_their_rate() -> None:
    agent, batch = made(target_rate=0.25)
    before = agent.target.last.weight.clone()
    agent.update(batch)
    expected = before + 0.25 * (agent.critic.last.weight.detach() - before)
    torch.testing.assert_close(agent.target.last.weight, expected)


def test_more_elites_than_samples_are_refused() -> None:
    with pytest.raises(UsageError, match=r"q_cem\.elites is 7, more than the 6 of q_cem\.samples"):
        made(samples=6, elites=7)
