"""Every method on the chain against its closed form, and which of them lead from A to C."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cog.errors import UsageError
from cog.tabular import grid
from cog.tabular.bcq import allowed_actions, bcq
from cog.tabular.chain import (
    ACTIONS,
    DEAD_END,
    LEFT,
    RIGHT,
    STATES,
    A,
    B,
    C,
    E,
    chain,
    data,
    reaches_c,
)
from cog.tabular.cloning import cloning
from cog.tabular.cql import cql_eq1, cql_eq2, cql_h, gradient
from cog.tabular.iql import CAP, expectile, iql
from cog.tabular.iteration import bcql, value_iteration
from cog.tabular.methods import METHODS
from cog.tabular.naive import naive_q
from cog.tabular.problem import Problem, Steps
from cog.tabular.sarsa import sarsa
from cog.tabular.solution import Solution

G = 0.9
EVERY = pytest.mark.parametrize("name", METHODS)
VALUED = pytest.mark.parametrize("name", [name for name in METHODS if name != "cloning"])

STITCHING = set(METHODS) - {"cloning", "naive_q_optimistic", "cql_eq2_greedy"}
"""Methods that should reach C from A where 3 in 10 steps at B lead there; alpha is above that share."""


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-6)


def reach(solution: Solution) -> float:
    return chain().reaches(solution.policy)


@pytest.mark.parametrize(("first", "second"), [(7, 3), (1, 1), (1, 9)])
def test_cloning_reaches_c_as_often_as_the_data_do_from_b(first: int, second: int) -> None:
    solution = cloning(data(first, second), G)
    assert reach(solution) == near(second / (first + second))
    assert np.isnan(solution.q).all() and np.isnan(solution.history).all()


def test_values_of_the_data_s_own_policy_are_its_mean_at_b_and_one_greedy_step_is_enough() -> None:
    solution = sarsa(data(7, 3), G)
    assert solution.q[B, RIGHT] == near(1) and solution.q[B, LEFT] == near(0)
    assert solution.q[A, RIGHT] == near(G * 0.3) and solution.q[E, RIGHT] == near(G * 0.3)
    assert reach(solution) == near(1)


def test_batch_constrained_q_learning_is_value_iteration_on_the_data_s_support() -> None:
    steps = data(7, 3)
    solution = bcql(steps, G)
    for sweeps, q in enumerate(solution.history):
        np.testing.assert_allclose(q, value_iteration(steps, STATES, ACTIONS, G, sweeps), atol=1e-12)
    assert solution.q[A, RIGHT] == near(G) and len(solution.history) == 3
    assert reach(solution) == near(1)


@pytest.mark.parametrize(("initial", "reached"), [(0.0, 1), (0.89, 1), (0.91, 0), (5.0, 0)])
def test_naive_q_learning_reaches_c_only_if_unseen_actions_begin_below_gamma(
    initial: float, reached: int
) -> None:
    solution = naive_q(data(7, 3), G, initial)
    assert solution.q[A, RIGHT] == near(G) and solution.q[A].max() == near(max(G, initial))
    assert solution.q[A, LEFT] == initial and (solution.history[:, A, LEFT] == initial).all()
    assert reach(solution) == near(reached)


def test_a_step_into_a_state_without_data_bootstraps_from_what_a_naive_table_begins_with() -> None:
    steps = data(1, 1)
    cut = Steps(*(column[:1] for column in steps[:5]), STATES, ACTIONS)  # A to B, and no step at B
    assert naive_q(cut, G, 2.0).q[A, RIGHT] == near(G * 2)
    assert bcql(cut, G).q[A, RIGHT] == 0


@pytest.mark.parametrize(("second", "reached"), [(230, 0), (231, 1)])
def test_bcq_allows_going_right_at_b_from_a_share_of_3_in_13_on(second: int, reached: int) -> None:
    solution = bcq(data(1000 - second, second), G)  # .3 / 1.3 = .23077
    assert solution.q[B, RIGHT] == near(1) and solution.q[A, RIGHT] == near(G * reached)
    assert reach(solution) == near(reached)


def test_bcq_with_threshold_0_is_batch_constrained_q_learning() -> None:
    steps = data(70, 1)
    np.testing.assert_array_equal(bcq(steps, G, 0.0).history, bcql(steps, G).history)


def test_bcq_s_ratio_is_strict_and_a_threshold_that_allows_nothing_is_refused() -> None:
    behaviour = np.array([[0.25, 0.75], [0.0, 0.0]])
    assert allowed_actions(behaviour, 0.25).tolist() == [[True, True], [False, False]]
    assert allowed_actions(np.array([[0.25, 0.5, 0.25]]), 0.5).tolist() == [[False, True, False]]
    with pytest.raises(UsageError, match=r"threshold is 1, not in \[0, 1\)"):
        bcq(data(1, 1), G, 1)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_eq_1_lowers_every_pair_of_the_data_by_alpha(alpha: float) -> None:
    solution = cql_eq1(data(7, 3), G, alpha)
    assert solution.q[B, RIGHT] == near(1 - alpha) and solution.q[B, LEFT] == near(-alpha)
    assert solution.q[A, RIGHT] == near(G * (1 - alpha) - alpha)
    assert reach(solution) == near(1)


def test_eq_2_with_the_data_s_own_actions_changes_nothing() -> None:
    steps = data(7, 3)
    np.testing.assert_allclose(cql_eq2(steps, G, 5.0).history, bcql(steps, G).history, atol=1e-12)


@pytest.mark.parametrize(("alpha", "reached"), [(0.29, 1), (0.31, 0), (1.0, 0)])
def test_eq_2_with_greedy_actions_raises_the_action_they_avoid_and_stitches_only_if_alpha_is_below_p(
    alpha: float, reached: int
) -> None:
    p = 0.3
    solution = cql_eq2(data(7, 3), G, alpha, "greedy")
    right, left = 1 - alpha * (1 - p) / p, alpha
    assert solution.q[B, RIGHT] == near(right) and solution.q[B, LEFT] == near(left)
    assert solution.q[A, RIGHT] == near(G * max(right, left))
    assert reach(solution) == near(reached)


@pytest.mark.parametrize(
    ("alpha", "gap"), [(0.1, 0.9144), (0.5, 0.6748), (1.0, 0.5052), (5.0, 0.1670), (10.0, 0.0910)]
)
def test_cql_h_s_gap_between_two_equally_common_actions_solves_its_equation(alpha: float, gap: float) -> None:
    solution = cql_h(data(1, 1), G, alpha)
    right, left = solution.q[B, RIGHT], solution.q[B, LEFT]
    difference = right - left
    assert right + left == near(1) and difference + 2 * alpha * np.tanh(difference / 2) == near(1)
    assert difference == pytest.approx(gap, abs=5e-5)
    assert solution.q[A, RIGHT] == near(G * right)  # the only action at A has no gap
    assert reach(solution) == near(1)


def test_cql_h_reverses_the_choice_where_the_good_action_is_rare() -> None:
    solution = cql_h(data(10, 1), G, 1.0)
    assert solution.q[B, RIGHT] == pytest.approx(-0.860, abs=5e-4)
    assert solution.q[B, LEFT] == pytest.approx(0.186, abs=5e-4)
    assert reach(solution) == near(0)


@pytest.mark.parametrize(("alpha", "share"), [(1.0, 0.2929), (0.5, 0.1910), (0.1, 0.0475)])
def test_cql_h_stitches_from_a_share_on_that_alpha_determines(alpha: float, share: float) -> None:
    for second, reached in ((share - 0.001, 0), (share + 0.001, 1)):
        good = round(10_000 * second)
        assert reach(cql_h(data(10_000 - good, good), G, alpha)) == near(reached)


def test_the_gradient_of_cql_h_is_0_at_its_solution_and_that_of_its_objective_elsewhere() -> None:
    behaviour, target = np.array([[0.2, 0.5, 0.3]]), np.array([[1.0, 0.0, -2.0]])
    q, alpha, small = np.array([[0.3, -0.4, 0.9]]), 0.7, 1e-6

    def objective(q: np.ndarray) -> float:
        penalty = np.log(np.exp(q).sum()) - (behaviour * q).sum()
        return float(alpha * penalty + (behaviour * (q - target) ** 2).sum() / 2)

    for action in range(3):
        step = small * np.eye(3)[action]
        slope = (objective(q + step) - objective(q - step)) / (2 * small)
        assert gradient(q, target, behaviour, alpha)[0, action] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize(
    "penalty",
    [
        lambda q, mu, share: mu,
        lambda q, mu, share: mu - share,
        lambda q, mu, share: np.exp(q) / np.exp(q).sum() - share,
    ],
    ids=["eq. 1", "eq. 2", "CQL(H)"],
)
def test_descending_the_objective_step_by_step_ends_at_the_closed_form(
    penalty: Callable[..., np.ndarray], request: pytest.FixtureRequest
) -> None:
    steps, alpha, share, mu = data(6, 4), 0.3, np.array([0.6, 0.4]), np.array([0.0, 1.0])
    q = np.zeros(2)  # at B: left, right
    for _ in range(400):
        q -= alpha * penalty(q, mu, share) + share * (q - np.array([0.0, 1.0]))
    closed = {
        "eq. 1": cql_eq1(steps, G, alpha, "greedy"),
        "eq. 2": cql_eq2(steps, G, alpha, "greedy"),
        "CQL(H)": cql_h(steps, G, alpha),
    }
    np.testing.assert_allclose(q, closed[request.node.callspec.id].q[B], atol=1e-6)


def test_descending_cql_h_lowers_an_action_without_data_for_ever() -> None:
    q, behaviour, lowest = np.zeros((1, 2)), np.array([[0.0, 1.0]]), []
    for _ in range(2_000):
        q = q - 0.1 * gradient(q, np.array([[0.0, 1.0]]), behaviour, 1.0)
        lowest.append(q[0, 0])
    assert (np.diff(lowest) < 0).all()
    assert q[0, 1] == pytest.approx(1 + np.exp(q[0, 0] - q[0, 1]), abs=0.02)  # pi_b (Q - y) = 1 - softmax


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_iql_s_value_is_the_expectile_and_its_policy_the_weighted_data(tau: float, beta: float) -> None:
    p = 0.3
    solution = iql(data(7, 3), G, tau, beta)
    value = tau * p / (tau * p + (1 - tau) * (1 - p))
    right, left = p * np.exp(beta * (1 - value)), (1 - p) * np.exp(-beta * value)
    assert solution.q[B, RIGHT] == near(1) and solution.q[B, LEFT] == near(0)
    assert solution.q[A, RIGHT] == near(G * value)
    assert reach(solution) == near(right / (right + left))


def test_iql_s_weights_end_at_their_cap_and_half_an_expectile_is_the_mean() -> None:
    assert reach(iql(data(1, 1), G, 0.7, 2.0)) == near(1 / (1 + np.exp(-2)))
    capped = CAP / (CAP + np.exp(-20 * 0.5))
    assert reach(iql(data(1, 1), G, 0.5, 20.0)) == near(capped)
    np.testing.assert_allclose(iql(data(7, 3), G, 0.5).q, sarsa(data(7, 3), G).q, atol=1e-12)


def test_the_expectile_satisfies_its_definition_for_several_actions() -> None:
    generator = np.random.default_rng(3)
    q, behaviour = generator.normal(size=(6, 5)), generator.dirichlet(np.ones(5), 6)
    for tau in (0.05, 0.5, 0.8, 0.99):
        gap = q - expectile(q, behaviour, tau)[:, None]
        np.testing.assert_allclose((behaviour * np.abs(tau - (gap < 0)) * gap).sum(1), 0, atol=1e-12)


@EVERY
@pytest.mark.parametrize(
    ("problem", "steps"), [(chain(), data(7, 3)), (grid.grid(), grid.data(7, 3))], ids=["chain", "grid"]
)
def test_from_a_only_the_methods_that_stitch_reach_c(name: str, problem: Problem, steps: Steps) -> None:
    solution = METHODS[name](steps, G)
    assert (problem.reaches(solution.policy) > 0.5) == (name in STITCHING)
    np.testing.assert_allclose(solution.policy.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(solution.history[-1], solution.q)


@VALUED
def test_values_of_pairs_without_data_are_missing_or_what_a_naive_table_began_with(name: str) -> None:
    solution = METHODS[name](data(7, 3), G)
    unseen = {"naive_q": 0.0, "naive_q_optimistic": 1.0}.get(name, np.nan)
    np.testing.assert_array_equal(solution.q[[A, E, C, DEAD_END], LEFT], [unseen] * 4)


def changed(steps: Steps, rows: Sequence[int], **columns: object) -> Steps:
    """The steps with some columns overwritten in some rows."""
    new = {name: getattr(steps, name).copy() for name in columns}
    for name, value in columns.items():
        new[name][list(rows)] = value
    return steps._replace(**new)


@EVERY
def test_where_trajectory_1_ends_at_b_even_cloning_stitches(name: str) -> None:
    problem = chain()
    steps = problem.steps(7 * problem.trajectory(A, [RIGHT]) + 3 * problem.trajectory(E, [RIGHT, RIGHT]))
    assert reach(METHODS[name](steps, G)) == near(0 if name == "naive_q_optimistic" else 1)


@pytest.mark.parametrize("name", sorted(STITCHING))
def test_where_the_step_into_b_is_stored_as_terminal_no_method_values_what_comes_after(name: str) -> None:
    """A second action at A pays .05 at once, so that a policy that stitches shows it by leaving that out."""
    problem = chain()
    rows = 7 * problem.trajectory(A, [RIGHT]) + 3 * problem.trajectory(E, [RIGHT, RIGHT])
    whole = problem.steps(rows + 7 * [(A, LEFT, 0.05, DEAD_END)])
    cut = changed(whole, range(7), terminals=True)
    right, wrong = METHODS[name](whole, G), METHODS[name](cut, G)
    assert reach(right) > 0.5 and right.q[A, RIGHT] > right.q[A, LEFT]
    without_c = changed(cut, range(7, 13), rewards=0.0)
    assert wrong.q[A, RIGHT] == near(METHODS[name](without_c, G).q[A, RIGHT])
    assert wrong.q[A, RIGHT] < wrong.q[A, LEFT] and reach(wrong) <= 0.5


def test_a_wrong_next_observation_across_the_join_of_two_trajectories_stitches_falsely() -> None:
    """Another action at A pays .05 and ends there, so that a false promise shows in what is chosen."""
    problem = chain()
    rows = [*problem.trajectory(A, [LEFT]), *problem.trajectory(E, [RIGHT, RIGHT])]  # share no state
    steps = problem.steps([*rows, (A, RIGHT, 0.05, DEAD_END)])
    right = bcql(steps, G)
    assert right.q[A].tolist() == [0, 0.05] and right.policy[A].tolist() == [0, 1]
    joined = changed(steps, [0], next_states=E, terminals=False)  # the first state of what comes after
    wrong = bcql(joined, G)
    assert wrong.q[A, LEFT] == near(G**2) and wrong.policy[A].tolist() == [1, 0]
    assert reach(wrong) == 0  # it gives up .05 for nothing


def test_where_the_trajectories_meet_in_different_states_nothing_stitches() -> None:
    """B is seen by trajectory 1 as B and by trajectory 2 as state 5."""
    steps = data(7, 3)
    twin = STATES
    second = range(14, 20)
    at_b = [row for row in second if steps.states[row] == B]
    into_b = [row for row in second if steps.next_states[row] == B]
    split = changed(changed(steps, at_b, states=twin), into_b, next_states=twin)
    split = split._replace(state_count=STATES + 1)
    for name in STITCHING:
        solution = METHODS[name](split, G)
        assert solution.q[A, RIGHT] <= 0 < solution.q[twin, RIGHT], name
        assert solution.policy[twin, RIGHT] == near(1), name
        # From A the chain leads to B itself. A table of zeros is indifferent there: it arrives by chance.
        by_chance = 0.25 if name == "naive_q" else 0
        assert chain().reaches(solution.policy[:STATES]) == near(by_chance), name
    assert reach(bcql(steps, G)) == near(1)  # where they do meet


def test_the_greedy_actions_of_the_table_and_the_probabilities_agree_about_the_chain() -> None:
    for name in ("bcql", "sarsa", "cql_h"):
        solution = METHODS[name](data(7, 3), G)
        assert reaches_c(solution.policy.argmax(1)) == (reach(solution) > 0.5)
