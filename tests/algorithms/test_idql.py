"""IDQL against its definitions: expectiles, a clone without rewards, the critics' choice, RISE's options."""

from typing import Any

import pytest
import torch

from cog.algorithms import idql
from cog.algorithms.idql import CRITIC, IDQL, VALUE
from cog.algorithms.shared.losses import expectile_loss
from cog.errors import UsageError
from cog.networks.flow import squared_spectral_norm
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise


def made(**changes: Any) -> tuple[IDQL, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(algorithm="idql", **changes)
    buffer = Buffer(noise(images=False), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, IDQL)
    return agent, buffer.sample(agent.generator)


def gradients(agent: IDQL, batch: Batch, draws: Any) -> dict[str, torch.Tensor]:
    """The gradient of each loss, as one vector."""
    found = {
        name: gradient
        for phase in agent.phases()
        for name, gradient in agent.gradients(batch, draws, phase)[0].items()
    }
    return {name: torch.cat([one.reshape(-1) for one in parts]) for name, parts in found.items()}


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.9, 0.99])
def test_the_expectile_of_two_values_is_its_closed_form(expectile: float) -> None:
    values = torch.tensor([1.0] * 3 + [0.0] * 7, dtype=torch.float64)  # 1 with probability 0.3
    low, high = 0.0, 1.0
    for _ in range(60):  # the loss is convex: bisect its slope
        v = torch.tensor((low + high) / 2, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(expectile_loss(values - v, expectile), v)
        low, high = (float(v), high) if slope < 0 else (low, float(v))
    assert low == pytest.approx(expectile * 0.3 / (expectile * 0.3 + (1 - expectile) * 0.7), abs=1e-9)


def test_v_is_fitted_to_the_lower_target_critic_at_the_data_s_actions() -> None:
    agent, batch = made(expectile=0.8)
    with torch.no_grad():
        states = agent.target.project(agent.target.encode(None, batch.proprio))
        q = agent.target.q(states, batch.actions[:, None])[..., 0]
        u = torch.minimum(q[0], q[1]) - agent.value(agent.target.encode(None, batch.proprio)[0])
    expected = sum(abs(0.8 - (one < 0)) * one**2 for one in u.tolist()) / 8
    loss, metrics = agent.value_loss(None, batch, batch.actions)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["value_loss"]) == pytest.approx(expected, rel=1e-5)


def test_targets_hold_the_v_that_the_same_update_has_moved() -> None:
    agent, batch = made(critic_lr=0.1, discount=0.9, steps=1)
    with torch.no_grad():
        before = agent.value(agent.target.encode(None, batch.next_proprio)[0])
    metrics = agent.update(batch)
    with torch.no_grad():
        after = agent.value(agent.target.encode(None, batch.next_proprio)[0])
    expected = (batch.rewards + batch.bootstrap * after).mean()
    assert float(metrics["q_target"]) == pytest.approx(float(expected), rel=1e-5)
    assert float((after - before).abs().max()) > 1e-2


def test_the_critics_loss_is_the_squared_error_to_r_plus_gamma_v() -> None:
    agent, batch = made(discount=0.9)
    features = agent.critic.encode(None, batch.proprio)
    loss, metrics = agent.critic_loss(features, None, batch, batch.actions)
    with torch.no_grad():
        q = agent.critic.q(agent.critic.project(features), batch.actions[:, None])[..., 0]
        v = agent.value(agent.target.encode(None, batch.next_proprio)[0])
        target = batch.rewards + batch.bootstrap * v
    expected = ((q[0] - target) ** 2).mean() + ((q[1] - target) ** 2).mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert float(metrics["td_loss"]) == pytest.approx(float(expected) / 2, rel=1e-5)


def test_the_clone_is_the_same_to_the_bit_whatever_the_rewards() -> None:
    (agent, batch), (other, _) = made(), made()
    for _ in range(3):
        agent.update(batch)
        other.update(batch._replace(rewards=-7 * batch.rewards + 1, bootstrap=0 * batch.bootstrap))
    for one, two in zip(agent.clone.parameters(), other.clone.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(agent.critic.last.weight, other.critic.last.weight)


def test_with_one_candidate_it_acts_as_a_draw_of_the_clone() -> None:
    agent, batch = made(candidates=1)
    policy = agent.policy()
    features = agent.critic.encode(None, batch.proprio)[0]
    drawn = agent.clone(features).drawn(policy.noise.expand(8, 1, 3))[:, 0]
    assert torch.equal(policy(None, batch.proprio).mode(), drawn)


def test_it_acts_by_the_candidate_of_the_highest_lower_q_however_q_is_scaled_or_moved() -> None:
    agent, batch = made(candidates=16)
    policy = agent.policy()
    with torch.no_grad():
        encoded = agent.critic.encode(None, batch.proprio)
        drawn = agent.clone(encoded[0]).drawn(policy.noise.expand(8, 16, 3))
        q = agent.critic.q(agent.critic.project(encoded), drawn)
        chosen = policy(None, batch.proprio).mode()
        for row in range(8):
            lower = [min(q[0, row, i], q[1, row, i]) for i in range(16)]
            assert torch.equal(chosen[row], drawn[row, lower.index(max(lower))])
        for factor, offset in ((2.0, 0.0), (1.0, 3.0)):
            agent.critic.last.weight.mul_(factor)
            agent.critic.last.bias.mul_(factor).add_(offset)
            assert torch.equal(policy(None, batch.proprio).mode(), chosen)
    assert len({tuple(row) for row in drawn[0].tolist()}) == 16


def test_without_rise_s_options_the_clone_s_loss_is_the_matching_error_alone() -> None:
    agent, batch = made()
    draws = agent.draws(8)
    assert draws.neighbours is None
    features = agent.critic.encode(None, batch.proprio)[0]
    loss, _ = agent.clone_loss(features, batch.actions, draws)
    expected = agent.clone.field.matching_error(features, batch.actions, draws.noise, draws.time).mean()
    assert torch.equal(loss, expected)


@pytest.mark.parametrize("changes", [{"neighbour_distance": 1e-9}, {"neighbour_share": 0.0}])
def test_without_neighbours_in_reach_all_gradients_are_those_of_idql_to_the_bit(changes: Any) -> None:
    (agent, batch), (rise, same) = made(), made(**({"neighbour_distance": 100.0} | changes))
    assert all(torch.equal(one, two) for one, two in zip(batch[2:6], same[2:6], strict=True))
    draws, more = agent.draws(8), rise.draws(8)
    assert torch.equal(draws.noise, more.noise) and torch.equal(draws.time, more.time)
    expected = gradients(agent, batch, draws)
    for name, gradient in gradients(rise, batch, more).items():
        assert torch.equal(gradient, expected[name]), name


def test_neighbours_actions_change_the_clone_s_gradient_and_no_other() -> None:
    (agent, batch), (rise, _) = made(), made(neighbour_distance=100.0, neighbour_share=1.0)
    draws, more = agent.draws(8), rise.draws(8)
    expected = gradients(agent, batch, draws)
    for name, gradient in gradients(rise, batch, more).items():
        assert torch.equal(gradient, expected[name]) == (name != "clone"), name


def test_pairs_of_neighbours_are_those_within_the_distance_and_nested() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0]])  # 1, 1.41 and 1 apart, root mean square
    actions = torch.zeros(3, 3)
    found = []
    for distance in (0.5, 1.1, 2.0):
        agent, _ = made(neighbour_distance=distance)
        found.append(agent.neighbours(features, actions).nonzero().tolist())
    assert found == [
        [],
        [[0, 1], [1, 0], [1, 2], [2, 1]],
        [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]],
    ]


def test_only_a_neighbour_with_the_same_switches_lends_its_action() -> None:
    agent, _ = made(neighbour_distance=1.0, neighbour_share=1.0, switches=1)
    actions = torch.tensor([[0.1, 0.0, -1.0], [0.2, 0.0, 1.0], [0.3, 0.0, -1.0], [0.4, 0.0, -1.0]])
    features = torch.tensor([[0.0], [0.0], [0.1], [5.0]])
    for picked in (0.0, 0.5, 0.999):
        uniform = torch.tensor([[picked, 0.3]]).expand(4, 2)
        found, taken = agent.augmented_actions(features, actions, uniform)
        assert found[:, 0].tolist() == pytest.approx([0.3, 0.2, 0.1, 0.4])
        assert float(taken) == 0.5


def test_each_neighbour_is_picked_as_often_as_any_other() -> None:
    agent, _ = made(neighbour_distance=1.0, neighbour_share=0.5)
    actions = torch.arange(5.0)[:, None].expand(5, 3)
    picks = []
    for number in range(8):
        uniform = torch.tensor([[(number + 0.5) / 8, 0.49]]).expand(5, 2)
        picks.append(agent.augmented_actions(torch.zeros(5, 1), actions, uniform)[0][2, 0].item())
    assert picks == [0, 0, 1, 1, 3, 3, 4, 4]
    kept, taken = agent.augmented_actions(torch.zeros(5, 1), actions, torch.full((5, 2), 0.51))
    assert torch.equal(kept, actions) and float(taken) == 0


def test_the_spectral_weight_adds_the_penalty_and_shrinks_the_clone() -> None:
    (agent, batch), (smooth, _) = made(), made(spectral_weight=0.5)
    draws = agent.draws(8)
    features = agent.critic.encode(None, batch.proprio)[0]
    plain, _ = agent.clone_loss(features, batch.actions, draws)
    loss, metrics = smooth.clone_loss(features, batch.actions, draws)
    values = [torch.linalg.svdvals(one.detach())[0] ** 2 for one in smooth.clone.field.network.matrices()]
    assert float(metrics["spectral_penalty"]) == pytest.approx(float(sum(values)), rel=1e-4)
    assert float((loss - plain).detach()) == pytest.approx(0.5 * float(sum(values)), rel=1e-3)
    before = float(squared_spectral_norm(smooth.clone.field.network.last.weight).detach())
    for _ in range(10):
        smooth.update(batch)
    assert float(squared_spectral_norm(smooth.clone.field.network.last.weight).detach()) < before


def test_its_gradient_with_rise_s_options_is_the_finite_difference_of_its_loss() -> None:
    agent, batch = made(spectral_weight=0.5, neighbour_distance=1.5)
    agent.double()
    batch = Batch(None, None, *(one.double() for one in batch[2:7] if isinstance(one, torch.Tensor)))
    draws = agent.draws(8)
    weights = list(agent.clone.parameters())
    gradient = agent.gradients(batch, draws, CRITIC)[0]["clone"]
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in weights]
    slope = float(sum((a * b).sum() for a, b in zip(gradient, direction, strict=True)))
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            torch._foreach_add_(weights, direction, alpha=step)
            ends.append(float(agent.losses(batch, draws, CRITIC)[0]["clone"]))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_v_moves_first() -> None:
    agent, _ = made()
    assert agent.phases() == (VALUE, CRITIC)


def test_neighbours_are_refused_where_a_process_sees_a_part_of_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idql, "size", lambda: 2)
    with pytest.raises(UsageError, match=r"idql\.neighbour_distance.*Start one process"):
        made(neighbour_distance=1.0)
