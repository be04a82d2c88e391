"""The grid: what its trajectories hold, its exact values, and where policies lead."""

import numpy as np
import pytest

from cog.tabular.grid import DEAD_END, DOWN, LEFT, RIGHT, UP, A, B, C, E, cell, data, grid
from cog.tabular.iteration import bcql
from cog.tabular.methods import METHODS
from cog.tabular.solution import greedy_policy

G = 0.9


def test_no_trajectory_leads_from_a_to_c() -> None:
    steps = data(3, 2)
    begins = np.r_[0, np.flatnonzero(steps.terminals)[:-1] + 1]
    ends = steps.next_states[steps.terminals]
    assert list(zip(steps.states[begins], ends, strict=True)) == [(A, DEAD_END)] * 3 + [(E, C)] * 2
    assert (steps.next_states[:-1] == steps.states[1:])[~steps.terminals[:-1]].all()
    assert steps.rewards.sum() == 2 and all(B in steps.states[begin : begin + 4] for begin in begins)


def test_moves_change_one_coordinate_and_stop_at_the_edge() -> None:
    following = grid().next_states
    assert following[B].tolist() == [cell(0, 2), cell(1, 3), cell(2, 2), cell(1, 1)]
    assert following[A, DOWN] == following[A, LEFT] == A and following[E, UP] == E
    assert following[cell(0, 3), RIGHT] == C and grid().rewards[cell(0, 3), RIGHT] == 1
    assert grid().rewards.sum() == 2 + 2  # from two neighbours, and from C itself, against the edge


def test_values_are_powers_of_gamma_and_reach_a_in_six_sweeps() -> None:
    solution = bcql(data(7, 3), G)
    path = [
        (cell(1, 4), UP),
        (cell(1, 3), RIGHT),
        (B, RIGHT),
        (cell(1, 1), RIGHT),
        (cell(2, 1), UP),
        (A, RIGHT),
    ]
    for distance, pair in enumerate(path):
        assert solution.q[pair] == pytest.approx(G**distance, abs=1e-12)
        reached = np.flatnonzero(solution.history[(slice(None), *pair)])
        assert reached[0] == distance + 1
    assert solution.q[A, UP] == pytest.approx(G**5) and solution.q[B, DOWN] == 0
    assert len(solution.history) == 7
    assert np.isnan(solution.q[A, [DOWN, LEFT]]).all()


def test_cloning_comes_to_c_as_often_as_the_data_turn_right_at_b() -> None:
    assert grid().reaches(METHODS["cloning"](data(6, 4), G).policy) == pytest.approx(0.4, abs=1e-12)


def test_a_policy_that_walks_into_a_wall_for_ever_never_reaches_c_and_one_that_strays_often_does() -> None:
    stuck = np.zeros((15, 4))
    stuck[:, LEFT] = 1
    assert grid().reaches(stuck) == 0
    wandering = np.full((15, 4), 0.25)  # by symmetry above and below, half of all walks end at C
    assert grid().reaches(wandering) < 0.5  # but A is nearer to the dead end
    upper = np.full((15, 4), 0.25)
    upper[:, UP], upper[:, DOWN] = 0.5, 0.0
    assert grid().reaches(upper) > 0.9


def test_a_greedy_policy_divides_ties_and_all_actions_where_none_is_allowed() -> None:
    q = np.array([[1.0, 1.0, 0.0], [np.nan, 0.0, 2.0], [np.nan, np.nan, np.nan]])
    expected = [[0.5, 0.5, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(greedy_policy(q, ~np.isnan(q)), expected)
