"""MOReL against its equations: what is unknown, what it costs, and that it ends there."""

import pytest
import torch
from torch import Tensor

from cog.algorithms.model_based.losses import disagreement, squared_loss
from cog.algorithms.model_based.morel import MEASURE, MOREL, MORELConfig
from cog.errors import UsageError
from cog.replay.buffer import Buffer
from tests.algorithms.model_based.test_model_based import made


def agent_of(**changes: object) -> tuple[MOREL, Buffer]:
    agent, buffer = made("morel", **changes)
    assert isinstance(agent, MOREL)
    return agent, buffer


def unknown(agent: MOREL, states: Tensor, actions: Tensor) -> Tensor:
    """Which steps the agent takes for unknown, (B,) bool."""
    members = torch.zeros(len(states), dtype=torch.long)
    with torch.no_grad():
        found = agent.imagine(states, actions, members, torch.zeros(len(states), 0))
    return found.measures["unknown_share"].bool()


def test_disagreement_is_the_largest_distance_between_two_members_in_any_order() -> None:
    states = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[3.0, 0.0]]])  # three members, one state
    assert disagreement(states).tolist() == [5.0]
    assert torch.equal(disagreement(states[[2, 0, 1]]), disagreement(states))
    assert disagreement(states[[0, 2]]).tolist() == [3.0]


def test_to_identical_members_nothing_is_unknown() -> None:
    agent, _ = agent_of(threshold=0.0)
    with torch.no_grad():
        for weight in agent.model.parameters():
            weight.copy_(weight[:1].expand_as(weight).clone())
    agent.disagreement_mean.fill_(1e-3)  # for products that round differently
    generator = torch.Generator().manual_seed(0)
    states = 100 * torch.randn(50, 4, generator=generator)
    assert not unknown(agent, states, torch.zeros(50, 3)).any()
    different, _ = agent_of(threshold=0.0)
    different.disagreement_mean.fill_(1e-3)
    assert unknown(different, states, torch.zeros(50, 3)).all()


def test_with_a_larger_threshold_what_is_unknown_is_part_of_what_was() -> None:
    generator = torch.Generator().manual_seed(0)
    states = 3 * torch.randn(200, 4, generator=generator)
    actions = torch.rand(200, 3, generator=generator)
    sets = []
    for threshold in (0.0, 1.0, 2.0):
        agent, _ = agent_of(threshold=threshold)
        with torch.no_grad():
            distance = disagreement(agent.model(states, actions).mean[..., :-1])
        agent.measure(distance.mean(), distance.square().mean())
        sets.append(unknown(agent, states, actions))
        assert torch.equal(sets[-1], distance > distance.mean() + threshold * distance.std(correction=0))
    assert bool((sets[1] <= sets[0]).all()) and bool((sets[2] <= sets[1]).all())
    assert len({int(one.sum()) for one in sets}) == 3


def test_statistics_over_batches_are_those_of_all_their_rows() -> None:
    agent, _ = agent_of(threshold=2.0)
    distances = torch.rand(5, 40, generator=torch.Generator().manual_seed(0))
    for batch in distances:
        agent.measure(batch.mean(), batch.square().mean())
    expected = distances.mean() + 2 * distances.std(correction=0)
    torch.testing.assert_close(agent.largest_known(), expected)


def test_the_last_tenth_of_the_model_s_updates_measures_and_no_other() -> None:
    agent, buffer = agent_of(model_updates=20)
    measured = []
    for _ in range(23):
        agent.update(buffer.sample(agent.generator))
        measured.append(int(agent.measured))
    assert measured == [0] * 18 + [1, 2] + [2] * 3
    agent.updates_done = 18
    assert agent.phases() == (MEASURE,)


def test_halt_costs_by_hand() -> None:
    lowest = -2 / (1 - 0.9)  # the return of reward -2 for ever
    for changes, forever, once in (
        ({"halt_offset": 3.0}, -50.0, -5.0),
        ({"halt_reward": -7.0}, -70.0, -7.0),
    ):
        assert MORELConfig(discount=0.9, **changes).halt_value(lowest) == pytest.approx(forever)
        paid_once = MORELConfig(discount=0.9, halt_forever=False, **changes)
        assert paid_once.halt_value(lowest) == pytest.approx(once)


def test_by_default_halt_is_worse_than_any_return_of_the_data_s_rewards() -> None:
    agent, buffer = agent_of(discount=0.9)
    assert agent.halt_value < buffer.return_bounds()[0]
    assert agent.halt_value == pytest.approx(-10.0)  # rewards are 0 or 10, so HALT pays -1


def test_an_unknown_step_is_terminal_and_earns_halt_and_its_rollout_ends() -> None:
    agent, buffer = agent_of()
    agent.disagreement_mean.fill_(-1.0)  # below any distance: everything is unknown
    batch = buffer.sample(agent.generator)
    rows, metrics = agent.rows(batch, agent.draws(8).rollout)
    assert float(metrics["unknown_share"]) == 1.0
    rewards, bootstrap, weight = (one.view(8, 4) for one in (rows.rewards, rows.bootstrap, rows.weight))
    assert torch.equal(rewards[:, 0], batch.rewards) and torch.equal(bootstrap[:, 0], batch.bootstrap)
    assert bool((rewards[:, 1:] == agent.halt_value).all()) and not bootstrap[:, 1:].any()
    assert bool((weight[:, 1] > 0).all()) and not weight[:, 2:].any()


def test_a_known_step_earns_what_its_member_predicts() -> None:
    agent, buffer = agent_of()
    agent.disagreement_mean.fill_(1e6)
    recorded = agent.recorded(buffer.sample(agent.generator))
    members = torch.arange(8) % 4
    with torch.no_grad():
        found = agent.imagine(recorded.states, recorded.actions, members, torch.zeros(8, 0))
        prediction = agent.model(recorded.states, recorded.actions)
    rows = torch.arange(8)
    torch.testing.assert_close(found.rewards, prediction.mean[members, rows, 4])
    torch.testing.assert_close(found.next_states, recorded.states + prediction.mean[members, rows, :4])
    torch.testing.assert_close(found.continues, 1 - prediction.terminal[members, rows].sigmoid())


def test_the_model_s_loss_is_each_member_s_squared_error_on_the_rows_it_sees() -> None:
    mean = torch.tensor([[[1.0, 0.0], [2.0, 2.0]], [[0.0, 0.0], [0.0, 4.0]]])
    counts = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    found = squared_loss(mean, torch.zeros(2, 2), counts)
    assert float(found) == pytest.approx((0.5 + 4.0) / 2 + 2 * 8.0 / 2)


def test_a_single_member_is_refused_since_it_agrees_with_itself() -> None:
    with pytest.raises(UsageError, match=r"morel\.members is 1; it must be at least 2"):
        MORELConfig(members=1)
