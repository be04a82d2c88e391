"""The chain and its exact values."""

import numpy as np
import pytest

from cog.tabular.chain import ACTIONS, DEAD_END, LEFT, RIGHT, STATES, A, B, C, E, data, follow, reaches_c
from cog.tabular.iteration import greedy, value_iteration


def test_neither_trajectory_leads_from_a_to_c() -> None:
    steps = data(3, 2)
    assert len(steps.states) == 10 and steps.rewards.sum() == 2
    for first in range(0, 6, 2):
        assert steps.states[first] == A and steps.next_states[first + 1] == DEAD_END
    assert set(steps.states[6::2]) == {E} and set(steps.next_states[7::2]) == {C}
    assert (A, LEFT) not in set(zip(steps.states, steps.actions, strict=True))


def test_value_flows_back_from_c_to_a_one_step_a_sweep() -> None:
    steps, discount = data(7, 3), 0.9
    after = [value_iteration(steps, STATES, ACTIONS, discount, sweeps) for sweeps in range(4)]
    assert [q[B, RIGHT] for q in after] == [0, 1, 1, 1]
    assert [q[A, RIGHT] for q in after] == pytest.approx([0, 0, discount, discount])
    assert after[-1][B, LEFT] == 0 and after[-1][E, RIGHT] == pytest.approx(discount)
    assert np.isnan(after[-1][A, LEFT]) and np.isnan(after[-1][C]).all()


def test_the_best_actions_of_the_data_s_support_lead_to_c_and_their_commonest_do_not() -> None:
    steps = data(7, 3)
    best = greedy(value_iteration(steps, STATES, ACTIONS, 0.9, 5))
    assert reaches_c(best) and best[C] == -1
    commonest = np.zeros(STATES, int)
    for state in (A, B, E):
        commonest[state] = np.bincount(steps.actions[steps.states == state]).argmax()
    assert not reaches_c(commonest)
    assert follow(A, LEFT) == (DEAD_END, 0.0)
