"""What the methods share: the data in counts, sweeps of backups, and the solution they give.

Every method here is exact: it sees the data as an empirical problem and repeats one backup of all pairs,
Q <- f(r + gamma * P V(Q)), until nothing changes. Methods differ in V, in f and in the policy.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cog.tabular.problem import Steps

SWEEPS = 10_000
CONVERGED = 1e-13
SAME = 1e-9
"""Values that differ by less are equally good to a greedy policy."""

Values = Callable[[np.ndarray], np.ndarray]
"""From Q (S, A) to V (S,), or from targets (S, A) to Q (S, A)."""


class Solution(NamedTuple):
    """What a method makes of the data."""

    q: np.ndarray
    """Q (S, A); NaN where the method has no value: for pairs without data, and for every pair in cloning."""
    policy: np.ndarray
    """Probability of each action (S, A); equal ones in states without data."""
    history: np.ndarray
    """Q after 0, 1, ... sweeps (sweeps + 1, S, A); the last is `q`."""


class Counts(NamedTuple):
    """The data as an empirical problem."""

    seen: np.ndarray  # (S, A) bool: the pair is in the data
    behaviour: np.ndarray  # (S, A) share of each action in the steps of a state; 0 where there are none
    rewards: np.ndarray  # (S, A) mean reward; 0 where there is no step
    following: np.ndarray  # (S, A, S) share of the steps that continue in a state; terminal ones in none


def counts(steps: Steps) -> Counts:
    """Count the steps of every pair of state and action."""
    shape = (steps.state_count, steps.action_count)
    count, rewards, following = np.zeros(shape), np.zeros(shape), np.zeros((*shape, steps.state_count))
    pair = (steps.states, steps.actions)
    np.add.at(count, pair, 1.0)
    np.add.at(rewards, pair, steps.rewards)
    np.add.at(following, (*pair, steps.next_states), np.where(steps.terminals, 0.0, 1.0))
    some = np.maximum(count, 1)
    behaviour = count / np.maximum(count.sum(1, keepdims=True), 1)
    return Counts(count > 0, behaviour, rewards / some, following / some[..., None])


def sweep(data: Counts, discount: float, value: Values, settle: Values, first: np.ndarray) -> np.ndarray:
    """Q after 0, 1, ... sweeps (sweeps + 1, S, A), until a sweep changes nothing.

    Args:
        data: the data in counts.
        discount: gamma, below 1.
        value: V of a table Q; 0 for states without data, which so count as terminal.
        settle: Q that a method gives for the targets r + gamma V(s').
        first: the table before the first sweep.
    """
    history = [first]
    for _ in range(SWEEPS):
        target = data.rewards + discount * data.following @ value(history[-1])
        q = settle(target)
        if np.allclose(q, history[-1], rtol=0, atol=CONVERGED, equal_nan=True):
            break
        history.append(q)
    return np.stack(history)


def in_data(seen: np.ndarray) -> tuple[Values, np.ndarray]:
    """A table with NaN outside the data: what makes one of targets, and the one of zeros."""
    return lambda target: np.where(seen, target, np.nan), np.where(seen, 0.0, np.nan)


def best(q: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Highest Q (S,) among the allowed actions (S, A); 0 where there are none."""
    return np.where(allowed.any(1), np.where(allowed, q, -np.inf).max(1), 0.0)


def greedy_policy(q: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Equal probabilities (S, A) for the best allowed actions; for all actions where none is allowed."""
    high = np.where(allowed, q, -np.inf)
    chosen = np.where(allowed.any(1, keepdims=True), high >= high.max(1, keepdims=True) - SAME, True)
    return chosen / chosen.sum(1, keepdims=True)


def stochastic(weights: np.ndarray) -> np.ndarray:
    """Probabilities (S, A) in proportion to weights; equal ones where all weights are 0."""
    total = weights.sum(1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / weights.shape[1])
