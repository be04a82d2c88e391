"""The chain: data that lead from A to B and from B to C, but never from A to C.

Trajectory 1 goes right from A to B, then left from B to a dead end; nothing is rewarded. Trajectory 2 goes
right from E to B, then right from B to C, which gives reward 1. A policy that imitates the data from A on
ends in the dead end as often as the data do from B; dynamic programming propagates the reward of C back to A
through B.
"""

import numpy as np

from cog.tabular.problem import Problem, Steps

A, B, C, E, DEAD_END = range(5)
STATES = 5
LEFT, RIGHT = 0, 1
ACTIONS = 2
ENDS = (C, DEAD_END)


def follow(state: int, action: int) -> tuple[int, float]:
    """The state after `action` in `state`, and the reward."""
    if action == RIGHT:
        return (C, 1.0) if state == B else (B, 0.0)
    return DEAD_END, 0.0


def chain() -> Problem:
    """The chain as a problem, drawn as a cross with B in the middle."""
    outcomes = [[follow(state, action) for action in range(ACTIONS)] for state in range(STATES)]
    return Problem(
        name="chain",
        next_states=np.array([[after for after, _ in row] for row in outcomes]),
        rewards=np.array([[reward for _, reward in row] for row in outcomes]),
        ends=ENDS,
        start=A,
        goal=C,
        labels=("A", "B", "C", "E", "end"),
        places=((0, 0), (2, 1), (4, 2), (0, 2), (4, 0)),
    )


def data(first: int, second: int) -> Steps:
    """`first` copies of trajectory 1 and `second` of trajectory 2, one after the other."""
    problem = chain()
    one, two = problem.trajectory(A, (RIGHT, LEFT)), problem.trajectory(E, (RIGHT, RIGHT))
    return problem.steps(first * one + second * two)


def reaches_c(policy: np.ndarray) -> bool:
    """Whether the actions (STATES,) of a deterministic policy lead from A to C."""
    state = A
    for _ in range(STATES):
        state, _ = follow(state, int(policy[state]))
        if state in ENDS:
            break
    return state == C
