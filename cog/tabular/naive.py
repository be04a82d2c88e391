"""Naive offline Q-learning: the maximum of the target runs over all actions, in the data or not.

Q(s, a) <- mean of r + gamma * max over every a' of Q(s', a'). A pair without data keeps the value it began
with, however wrong, because no step ever corrects it. A table cannot diverge by this; a network, which gives
unseen actions values by generalisation, can.
"""

import numpy as np

from cog.tabular.problem import Steps
from cog.tabular.solution import Solution, counts, greedy_policy, sweep


def naive_q(steps: Steps, discount: float, initial: float = 0.0) -> Solution:
    """Q-learning on a table that is `initial` everywhere before the first sweep; `q` has no NaN."""
    data = counts(steps)
    everything = np.ones_like(data.seen)
    first = np.full(data.seen.shape, initial)
    history = sweep(
        data, discount, lambda q: q.max(1), lambda target: np.where(data.seen, target, initial), first
    )
    return Solution(history[-1], greedy_policy(history[-1], everything), history)
