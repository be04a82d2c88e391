"""Value iteration on the support of the data: Q-learning that bootstraps only from actions in the data.

Q(s, a) <- mean over the data's steps of r + gamma * max over the data's actions a' at s' of Q(s', a'). This
is batch-constrained Q-learning (BCQL, Fujimoto et al. 2019). A state without data counts as terminal.
"""

import numpy as np

from cog.tabular.problem import Steps
from cog.tabular.solution import Solution, best, counts, greedy_policy, in_data, sweep


def bcql(steps: Steps, discount: float) -> Solution:
    """Value iteration until nothing changes, and the greedy policy among the data's actions."""
    data = counts(steps)
    history = sweep(data, discount, lambda q: best(q, data.seen), *in_data(data.seen))
    return Solution(history[-1], greedy_policy(history[-1], data.seen), history)


def value_iteration(steps: Steps, states: int, actions: int, discount: float, sweeps: int) -> np.ndarray:
    """Q (states, actions) after `sweeps` sweeps over all pairs; NaN where the data have no step.

    Values propagate back by one step per sweep.
    """
    pair = steps.states * actions + steps.actions
    count = np.bincount(pair, minlength=states * actions)
    q = np.where(count > 0, 0.0, np.nan)
    for _ in range(sweeps):
        best = np.where(np.isnan(q), -np.inf, q).reshape(states, actions).max(1)
        next_value = np.where(
            steps.terminals | np.isinf(best[steps.next_states]), 0.0, best[steps.next_states]
        )
        target = np.bincount(pair, steps.rewards + discount * next_value, minlength=states * actions)
        q = np.where(count > 0, target / np.maximum(count, 1), np.nan)
    return q.reshape(states, actions)


def greedy(q: np.ndarray) -> np.ndarray:
    """The best action (states,) in each state among those in the data; -1 where there are none."""
    present = ~np.isnan(q)
    best = np.where(present, q, -np.inf).argmax(1)
    return np.where(present.any(1), best, -1)
