"""Value iteration on the support of data: Q-learning that never bootstraps from an action that the data lack.

Q(s, a) <- mean over the data's steps of r + gamma * max over the data's actions a' at s' of Q(s', a').
"""

import numpy as np

from cog.tabular.chain import Steps


def value_iteration(steps: Steps, states: int, actions: int, discount: float, sweeps: int) -> np.ndarray:
    """Q (states, actions) after `sweeps` sweeps over all pairs; NaN where the data hold no step.

    Value flows back by one step a sweep.
    """
    pair = steps.states * actions + steps.actions
    count = np.bincount(pair, minlength=states * actions)
    q = np.where(count > 0, 0.0, np.nan)
    for _ in range(sweeps):
        best = np.where(np.isnan(q), -np.inf, q).reshape(states, actions).max(1)
        beyond = np.where(steps.terminals | np.isinf(best[steps.next_states]), 0.0, best[steps.next_states])
        target = np.bincount(pair, steps.rewards + discount * beyond, minlength=states * actions)
        q = np.where(count > 0, target / np.maximum(count, 1), np.nan)
    return q.reshape(states, actions)


def greedy(q: np.ndarray) -> np.ndarray:
    """The best action (states,) in each state among those the data hold; -1 where they hold none."""
    held = ~np.isnan(q)
    best = np.where(held, q, -np.inf).argmax(1)
    return np.where(held.any(1), best, -1)
