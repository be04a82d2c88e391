"""The chain: data that lead from A to B and from B to C, but never from A to C.

Trajectory 1 goes right from A to B, then left from B to a dead end; nothing is rewarded. Trajectory 2 goes
right from E to B, then right from B to C, which gives reward 1. A policy that imitates the data from A on
ends in the dead end as often as the data do from B; dynamic programming propagates the reward of C back to A
through B.
"""

from typing import NamedTuple

import numpy as np

A, B, C, E, DEAD_END = range(5)
STATES = 5
LEFT, RIGHT = 0, 1
ACTIONS = 2
ENDS = (C, DEAD_END)


class Steps(NamedTuple):
    """S steps of data."""

    states: np.ndarray  # (S,) int64
    actions: np.ndarray  # (S,) int64: LEFT or RIGHT
    rewards: np.ndarray  # (S,) float64
    next_states: np.ndarray  # (S,) int64
    terminals: np.ndarray  # (S,) bool: no value beyond this step


def follow(state: int, action: int) -> tuple[int, float]:
    """The state after `action` in `state`, and the reward."""
    if action == RIGHT:
        return (C, 1.0) if state == B else (B, 0.0)
    return DEAD_END, 0.0


def trajectory(start: int, *actions: int) -> list[tuple[int, int, float, int]]:
    """The trajectory from `start` under these actions: (state, action, reward, next state) per step."""
    steps = []
    for action in actions:
        after, reward = follow(start, action)
        steps.append((start, action, reward, after))
        start = after
    return steps


def data(first: int, second: int) -> Steps:
    """`first` copies of trajectory 1 and `second` of trajectory 2, one after the other."""
    rows = first * trajectory(A, RIGHT, LEFT) + second * trajectory(E, RIGHT, RIGHT)
    states, actions, rewards, following = (np.array(column) for column in zip(*rows, strict=True))
    return Steps(states, actions, rewards.astype(np.float64), following, np.isin(following, ENDS))


def reaches_c(policy: np.ndarray) -> bool:
    """Whether the actions (STATES,) of a deterministic policy lead from A to C."""
    state = A
    for _ in range(STATES):
        state, _ = follow(state, int(policy[state]))
        if state in ENDS:
            break
    return state == C
