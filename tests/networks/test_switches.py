"""Components of an action that only switch: coins beside the Gaussian, against torch's own distributions."""

import math

import pytest
import torch
from torch import Tensor

from cog.algorithms.bc import BC
from cog.algorithms.cql import CQL, States
from cog.errors import UsageError
from cog.networks.distribution import TanhGaussian, snap_switches
from cog.replay.buffer import Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise

MEAN = torch.tensor([[0.2], [-0.7]], dtype=torch.float64)
LOG_STD = torch.tensor([[-1.0], [0.5]], dtype=torch.float64)
ODDS = torch.tensor([[0.4, -1.0], [2.0, 0.0]], dtype=torch.float64)
POLICY = TanhGaussian(MEAN, LOG_STD, ODDS)


def exact_density(actions: Tensor) -> Tensor:
    """The log-density (B, n) that torch's distributions give actions (B, n, 3)."""
    normal = torch.distributions.Normal(MEAN[:, None], LOG_STD[:, None].exp())
    moves = torch.distributions.TransformedDistribution(normal, [torch.distributions.TanhTransform()])
    coins = torch.distributions.Bernoulli(logits=ODDS[:, None])
    return moves.log_prob(actions[..., :1]).sum(-1) + coins.log_prob((actions[..., 1:] + 1) / 2).sum(-1)


def test_densities_of_draws_settings_and_records_are_those_of_torchs_distributions() -> None:
    drawn, density = POLICY.sample(POLICY.noise(50, torch.Generator().manual_seed(0)))
    assert set(drawn[..., 1:].unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(density, exact_density(drawn))
    again = torch.stack([POLICY.log_prob(drawn[:, i], 1 - 1e-12) for i in range(50)], 1)
    torch.testing.assert_close(again, density, rtol=1e-6, atol=1e-6)
    every, density, chance = POLICY.enumerate_switches(
        POLICY.noise(1, torch.Generator().manual_seed(0)).normal
    )
    torch.testing.assert_close(density, exact_density(every))
    torch.testing.assert_close(chance.sum(1), torch.ones(2, dtype=torch.float64))
    assert len(set(map(tuple, every[0, :, 1:].tolist()))) == 4


def test_draws_switch_as_often_as_the_odds_say_by_either_kind_of_noise() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn, _ = POLICY.sample(POLICY.noise(40_000, generator))
    normal = torch.randn((2, 40_000, 3), generator=generator, dtype=torch.float64)
    for actions in (drawn, POLICY.drawn(normal)):
        share = (actions[..., 1:] > 0).double().mean(1)
        torch.testing.assert_close(share, ODDS.sigmoid(), rtol=0, atol=0.012)  # 4.8 standard errors


def test_the_mode_takes_the_likelier_side_of_each_switch() -> None:
    torch.testing.assert_close(
        POLICY.mode(), torch.tensor([[math.tanh(0.2), 1.0, -1.0], [math.tanh(-0.7), 1.0, 1.0]]).double()
    )


def test_a_record_counts_by_the_side_of_its_switches() -> None:
    faint, full = torch.tensor([[0.3, 0.2, -0.6]] * 2).double(), torch.tensor([[0.3, 1.0, -1.0]] * 2).double()
    torch.testing.assert_close(snap_switches(faint, 2), full)
    torch.testing.assert_close(POLICY.log_prob(faint, 0.999), POLICY.log_prob(full, 0.999))


def test_the_conservative_loss_sums_over_both_sides_of_a_switch() -> None:
    def q_of(actions: Tensor) -> Tensor:
        return 2.0 - 3.0 * (actions[..., 0] - 0.3).square() + 0.7 * actions[..., 1]

    axis = (torch.arange(2000, dtype=torch.float64) + 0.5) / 1000 - 1  # cell centres of [-1, 1]
    grid = torch.cartesian_prod(axis, torch.tensor([-1.0, 1.0], dtype=torch.float64))
    exact = float(torch.logsumexp(q_of(grid), 0)) + math.log(1 / 1000)
    agent = create(config(sampled_actions=30_000, conservative_weight=1.0, switches=1), buffer(actions=2))
    assert isinstance(agent, CQL)
    here = TanhGaussian(torch.full((4, 1), 0.4), torch.full((4, 1), -0.5), torch.full((4, 1), 1.0))
    there = TanhGaussian(torch.full((4, 1), -0.8), torch.full((4, 1), 0.0), torch.full((4, 1), -0.5))
    empty = torch.zeros(1, 4, 1)
    actions, density = agent.sampled_actions(States(empty, here, there, empty), agent.draws(4))
    loss, _ = agent.conservative_loss(torch.zeros(2, 4), q_of(actions).expand(2, -1, -1), density)
    assert float(loss) == pytest.approx(2 * (exact + math.log(90_000)), abs=0.04)


def test_cloning_two_ways_to_switch_takes_one_of_them_instead_of_the_middle() -> None:
    held = noise(actions=2)
    held.actions[:, 1] = torch.where(torch.arange(len(held.actions)) % 3 == 0, -0.7, 0.7).numpy()
    modes = {}
    for switches in (0, 1):
        settings = config(algorithm="bc", switches=switches)
        drawn_from = Buffer(held, torch.device("cpu"), 64, "uniform", 0.9)
        agent = create(settings, drawn_from)
        assert isinstance(agent, BC)
        for _ in range(60):
            agent.update(drawn_from.sample(agent.generator))
        batch = drawn_from.sample(agent.generator)
        modes[switches] = agent.actor(agent.encoder(batch.images, batch.proprio)).mode()[:, 1].detach()
    assert float(modes[0].abs().mean()) < 0.6
    assert bool((modes[1].abs() == 1).all()) and float((modes[1] > 0).float().mean()) > 0.9


def test_a_policy_of_switches_alone_or_of_more_than_there_are_is_refused() -> None:
    for switches in (2, 3):
        with pytest.raises(UsageError, match=r"network\.switches is ., but at least one of the 2 components"):
            create(config(switches=switches), buffer(actions=2))


def buffer(actions: int) -> Buffer:
    """Noise to build an agent for."""
    return Buffer(noise(actions=actions), torch.device("cpu"), 8, "uniform", 0.9)
