"""MOPO against its equations: the penalty, what it takes from a reward, and the Gaussian loss."""

import math

import pytest
import torch

from cog.algorithms.model_based.base import POLICY
from cog.algorithms.model_based.losses import gaussian_loss, largest_deviation
from cog.algorithms.model_based.mopo import MOPO
from cog.replay.buffer import Batch
from tests.algorithms.model_based.test_model_based import made


@pytest.mark.parametrize(("deviation", "outputs"), [(0.5, 1), (0.5, 4), (3.0, 9)])
def test_where_every_deviation_is_s_over_k_outputs_the_penalty_is_s_times_root_k(
    deviation: float, outputs: int
) -> None:
    log_variance = torch.full((7, 2, outputs), 2 * math.log(deviation))
    expected = torch.full((2,), deviation * math.sqrt(outputs))
    torch.testing.assert_close(largest_deviation(log_variance), expected)


def test_the_penalty_is_that_of_the_least_certain_member_and_none_has_a_larger_one() -> None:
    log_variance = torch.randn(5, 20, 3, generator=torch.Generator().manual_seed(0))
    penalty = largest_deviation(log_variance)
    each = torch.stack([one.exp().sum(1).sqrt() for one in log_variance])  # the variances' sum, by hand
    assert bool((penalty >= each - 1e-6).all())
    torch.testing.assert_close(penalty, each.amax(0))
    assert torch.equal(largest_deviation(log_variance[[3, 1, 4, 0, 2]]), penalty)


def test_without_penalty_an_imagined_reward_is_the_model_s_and_with_it_that_less_its_multiple() -> None:
    agent, buffer = made("mopo", penalty_weight=0.0)
    twice, _ = made("mopo", penalty_weight=2.0)
    assert isinstance(agent, MOPO) and isinstance(twice, MOPO)
    batch = buffer.sample(agent.generator)
    recorded = agent.recorded(batch)
    members, normal = torch.arange(8) % 4, torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = agent.imagine(recorded.states, recorded.actions, members, normal)
        penalised = twice.imagine(recorded.states, recorded.actions, members, normal)
        prediction = agent.model(recorded.states, recorded.actions)
    rows = torch.arange(8)
    mean, log_variance = prediction.mean[members, rows], prediction.log_variance[members, rows]
    sample = mean + (log_variance / 2).exp() * normal
    torch.testing.assert_close(plain.rewards, sample[:, 4])
    torch.testing.assert_close(plain.next_states, recorded.states + sample[:, :4])
    torch.testing.assert_close(plain.continues, 1 - prediction.terminal[members, rows].sigmoid())
    torch.testing.assert_close(penalised.rewards, sample[:, 4] - 2 * penalised.measures["penalty"])
    torch.testing.assert_close(penalised.next_states, plain.next_states)


def test_recorded_rewards_are_not_penalised() -> None:
    agent, buffer = made("mopo", penalty_weight=100.0)
    batch = buffer.sample(agent.generator)
    rows, metrics = agent.rows(batch, agent.draws(8).rollout)
    assert torch.equal(rows.rewards.view(8, -1)[:, 0], batch.rewards)
    imagined = rows.rewards.view(8, -1)[:, 1:]
    assert float(imagined.mean()) == pytest.approx(-100 * float(metrics["penalty"]), rel=0.05)


def test_the_model_s_loss_is_twice_the_negative_log_likelihood_but_for_its_constant() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = (torch.randn(3, 4, 2, generator=generator) for _ in range(2))
    target = torch.randn(4, 2, generator=generator)
    counts = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0], [3.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    density = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(target)
    twice = -2 * density - math.log(2 * math.pi)  # (3, 4, 2)
    expected = sum((counts[:, member] * twice[member].mean(1)).sum() / 4 for member in range(3))
    torch.testing.assert_close(gaussian_loss(mean, log_variance, target, counts), expected)


def test_the_model_s_whole_loss_adds_terminals_and_the_weighed_spread_of_bounds_and_squared_weights() -> None:
    agent, buffer = made("mopo", bounds_weight=0.3, model_decay=0.2)
    assert isinstance(agent, MOPO)
    agent.double()
    with torch.no_grad():
        agent.model.highest.copy_(torch.tensor([0.5, 1.0, 0.0, 2.0, 0.25]))
        agent.model.lowest.copy_(torch.tensor([-10.0, -4.0, -1.0, -8.0, -3.0]))
    batch = buffer.sample(agent.generator)
    batch = Batch(*(one if one is None else one.double() for one in batch))
    batch = batch._replace(bootstrap=torch.tensor([0.9, 0.0] * 4).double())
    recorded = agent.recorded(batch)
    counts = torch.randint(0, 4, (8, 4), generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        loss, metrics = agent.model_loss(recorded, counts)
        mean, log_variance, terminal = agent.model(recorded.states, recorded.actions)
    density = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(recorded.targets)
    end = terminal.sigmoid()
    expected, terminals = 0.0, 0.0
    for member in range(4):
        for row in range(8):
            twice = -2 * density[member, row] - math.log(2 * math.pi)
            expected += float(counts[row, member] * twice.mean()) / 8
            chance = end[member, row] if row % 2 else 1 - end[member, row]
            terminals -= float(counts[row, member] * chance.log()) / 8
    spread = (0.5 + 1.0 + 0.0 + 2.0 + 0.25) + (10.0 + 4.0 + 1.0 + 8.0 + 3.0)
    squares = sum(
        float(one.detach().square().sum())
        for key, one in agent.model.named_parameters()
        if key.endswith(".weight")
    )
    expected += terminals + 0.3 * spread + 0.5 * 0.2 * squares
    assert float(loss) == pytest.approx(expected, rel=1e-9)
    assert float(metrics["terminal_loss"]) == pytest.approx(terminals / 4, rel=1e-9)


def test_the_penalty_is_measured_while_the_policy_learns() -> None:
    agent, buffer = made("mopo")
    batch, draws = buffer.sample(agent.generator), agent.draws(8)
    assert float(agent.losses(batch, draws, POLICY)[1]["penalty"]) > 0
