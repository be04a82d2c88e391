"""The variants of CQL's penalty against integrals over the actions, and against closed forms in a table."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from cog.algorithms.cql import CQL, States
from cog.algorithms.shared.losses import td_loss
from cog.errors import UsageError
from cog.experiments.bench.naive_cql import NaivePlan
from cog.networks.distribution import TanhGaussian
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise

VARIANTS = ("cql_h", "cql_rho", "eq1", "eq2")
Q_DATA = torch.tensor([[1.0, 0.0, -1.0, 2.0], [0.5, 0.5, 0.5, 0.5]])


def made(dimensions: int = 3, **changes: Any) -> tuple[CQL, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(**changes)
    data = noise(images=False, actions=dimensions)
    buffer = Buffer(data, torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, CQL)
    return agent, buffer.sample(agent.generator)


def q_of(actions: Tensor, tilt: Tensor) -> Tensor:
    """A concave Q with a slope to be learned, for actions (..., A)."""
    return 2.0 - 3.0 * (actions - 0.3).square().sum(-1) + tilt * actions[..., 0]


def exactly(variant: str, policy: TanhGaussian, tilt: float) -> tuple[float, float]:
    """What the variant lowers, without constants, and its slope in the tilt, by sums over a fine grid."""
    dimensions = policy.mean.shape[1]
    cells = 4000 if dimensions == 1 else 600
    axis = (torch.arange(cells, dtype=torch.float64) + 0.5) * 2 / cells - 1
    grid = torch.cartesian_prod(*[axis] * dimensions).view(-1, dimensions)
    one = TanhGaussian(policy.mean[:1].double(), policy.log_std[:1].double())
    log_rho = TanhGaussian(*(part.expand(len(grid), -1) for part in one[:2])).log_prob(grid, 1 - 1e-9)
    log_cell = dimensions * math.log(2 / cells)
    assert float(torch.logsumexp(log_rho, 0)) + log_cell == pytest.approx(0, abs=1e-3)
    q = q_of(grid, torch.tensor(tilt, dtype=torch.float64))
    if variant in ("eq1", "eq2"):
        mu = (log_rho + log_cell).exp()
        return float((mu * q).sum()), float((mu * grid[:, 0]).sum())
    log_mu = q + log_cell + (log_rho if variant == "cql_rho" else 0)
    return float(torch.logsumexp(log_mu, 0)), float((log_mu.softmax(0) * grid[:, 0]).sum())


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_penalty_and_gradient_converge_to_their_integrals_over_the_actions(
    variant: str, dimensions: int
) -> None:
    number = 20_000
    agent, _ = made(dimensions, variant=variant, sampled_actions=number, conservative_weight=0.5)
    policy = TanhGaussian(torch.full((4, dimensions), 0.4), torch.full((4, dimensions), -0.5))
    following = TanhGaussian(torch.full((4, dimensions), -0.8), torch.full((4, dimensions), 0.0))
    empty = torch.zeros(1, 4, 1)
    actions, density = agent.sampled_actions(States(empty, policy, following, empty), agent.draws(4))
    tilt = torch.tensor(0.7, requires_grad=True)
    q_data = Q_DATA + tilt * 0.25  # data whose first component is 0.25
    loss, metrics = agent.conservative_loss(q_data, q_of(actions, tilt).expand(2, -1, -1), density)
    (slope,) = torch.autograd.grad(loss, tilt)
    value, mean = exactly(variant, policy, 0.7)
    constant = math.log(3 * number) if variant == "cql_h" else 0.0
    data, data_mean = (0.0, 0.0) if variant == "eq1" else (float(q_data.detach().mean()), 0.25)
    gap = value + constant - data
    assert float(metrics["conservative_gap"]) == pytest.approx(gap, abs=0.02)
    assert float(loss.detach()) == pytest.approx(0.5 * 2 * gap, abs=0.02)  # a sum over two critics
    assert float(slope) == pytest.approx(0.5 * 2 * (mean - data_mean), abs=0.01)


def test_the_integrals_of_the_variants_are_far_enough_apart_to_be_told_from_each_other() -> None:
    policy = TanhGaussian(torch.full((4, 1), 0.4), torch.full((4, 1), -0.5))
    slopes = [exactly(variant, policy, 0.7)[1] for variant in VARIANTS[:3]]
    assert min(abs(a - b) for i, a in enumerate(slopes) for b in slopes[:i]) > 0.03


@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_other_variants_than_cql_h_score_actions_of_the_policy_alone(variant: str) -> None:
    agent, batch = made(variant=variant)
    draws = agent.draws(8)
    states = agent.states(batch, draws.shifts)
    actions, _ = agent.sampled_actions(states, draws)
    assert torch.equal(actions, states.policy.sample(draws.sampled)[0]) and actions.shape == (
        8,
        2,
        3,
    )
    assert bool(agent.update(batch)["conservative_gap"].isfinite())


@pytest.mark.parametrize("variant", ["cql_rho", "eq2"])
def test_a_constant_added_to_q_moves_no_gap_but_that_of_the_first_equation(variant: str) -> None:
    agent, _ = made(variant=variant)
    q_data, q_sampled = torch.randn(2, 4), torch.randn(2, 4, 5)
    _, before = agent.conservative_loss(q_data, q_sampled, torch.zeros(4, 5))
    _, after = agent.conservative_loss(q_data + 7, q_sampled + 7, torch.zeros(4, 5))
    torch.testing.assert_close(before["conservative_gap"], after["conservative_gap"])
    first, _ = made(variant="eq1")
    _, lower = first.conservative_loss(q_data, q_sampled, torch.zeros(4, 5))
    _, higher = first.conservative_loss(q_data + 7, q_sampled + 7, torch.zeros(4, 5))
    assert float(higher["conservative_gap"] - lower["conservative_gap"]) == pytest.approx(7, abs=1e-5)


# In a table: one state, action 0 with target 0 and action 1 with target 1, 8 rows of data. The TD loss has no
# factor 1/2, so that the paper's alpha is half the weight.


def fixed_point(variant: str, alpha: float, data: list[int], mu: list[int]) -> tuple[float, float]:
    """Q of actions 0 and 1 after gradient descent; `data` are its rows, `mu` the policy's actions."""
    agent, _ = made(variant=variant, conservative_weight=2 * alpha)
    q = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    rows, drawn = torch.tensor(data), torch.tensor(mu)
    for _ in range(150):
        q_data = q[rows][None]
        q_sampled = q[drawn].expand(1, len(rows), -1)
        density = torch.zeros_like(q_sampled[0])
        loss = td_loss(q_data, rows.double())
        loss = loss + agent.conservative_loss(q_data, q_sampled, density)[0]
        (gradient,) = torch.autograd.grad(loss, q)
        with torch.no_grad():
            q -= gradient / (1 + alpha)
    return float(q[0].detach()), float(q[1].detach())


@pytest.mark.parametrize("variant", ["cql_h", "cql_rho"])
@pytest.mark.parametrize(("alpha", "difference"), [(0.1, 0.9144), (1.0, 0.5052), (5.0, 0.1670)])
def test_two_equally_frequent_actions_differ_by_the_root_of_their_equation(
    variant: str, alpha: float, difference: float
) -> None:
    low, high = fixed_point(variant, alpha, [0, 1], [0, 1])  # rho is uniform
    assert high + low == pytest.approx(1, abs=1e-6)
    assert high - low == pytest.approx(difference, abs=1e-4)
    assert high - low + 2 * alpha * math.tanh((high - low) / 2) == pytest.approx(1, abs=1e-6)


def test_cql_h_reverses_the_order_of_a_rare_good_action_and_a_frequent_bad_one() -> None:
    low, high = fixed_point("cql_h", 1.0, [0] * 10 + [1], [0, 1])
    assert (low, high) == pytest.approx((0.186, -0.860), abs=2e-3)


def test_the_first_equation_lowers_each_action_by_how_much_the_policy_prefers_it() -> None:
    low, high = fixed_point("eq1", 0.5, [0, 0, 0, 1], [0, 1])  # mu / data: 2/3 and 2
    assert (low, high) == pytest.approx((-0.5 * 2 / 3, 1 - 0.5 * 2), abs=1e-6)


def test_the_second_equation_raises_what_the_policy_avoids_and_leaves_q_if_it_acts_as_the_data() -> None:
    low, high = fixed_point("eq2", 0.5, [0, 0, 0, 1], [0, 1])
    assert (low, high) == pytest.approx((0 - 0.5 * (2 / 3 - 1), 1 - 0.5 * (2 - 1)), abs=1e-6)
    avoided, _ = fixed_point("eq2", 0.5, [0, 0, 0, 1], [1])
    assert avoided == pytest.approx(0.5, abs=1e-6)
    assert fixed_point("eq2", 0.5, [0, 0, 0, 1], [0, 0, 0, 1]) == pytest.approx((0, 1), abs=1e-6)
    assert fixed_point("eq1", 0.5, [0, 0, 0, 1], [0, 0, 0, 1]) == pytest.approx((-0.5, 0.5), abs=1e-6)


@pytest.mark.parametrize("variant", ["cql_rho", "eq2"])
def test_the_lagrange_form_raises_the_weight_of_any_gap_above_its_target(variant: str) -> None:
    for wanted, grows in ((-50.0, True), (50.0, False)):
        agent, batch = made(variant=variant, lagrange_gap=wanted, temperature_lr=0.01)
        before = agent.log_weight.item()
        agent.update(batch)
        assert (agent.log_weight.item() > before) == grows


def test_the_first_equation_refuses_the_lagrange_form_and_the_naive_plan_all_variants() -> None:
    with pytest.raises(UsageError, match=r"eq1 has no term of the data\. Leave cql\.lagrange_gap out"):
        made(variant="eq1", lagrange_gap=1.0)
    agent, _ = made(variant="eq2")
    with pytest.raises(UsageError, match="naive plan knows cql_h alone"):
        NaivePlan(agent, "reference")
