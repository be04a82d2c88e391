"""Values of the policy that made the data, and one greedy step on them (one-step improvement).

Q(s, a) <- mean of r + gamma * sum over a' of pi_b(a'|s') Q(s', a'), with pi_b the data's own shares. Also the
value that IQL's expectile gives at 1/2.
"""

import numpy as np

from cog.tabular.problem import Steps
from cog.tabular.solution import Solution, counts, greedy_policy, in_data, sweep


def sarsa(steps: Steps, discount: float) -> Solution:
    """Evaluate pi_b exactly and act greedily among the data's actions."""
    data = counts(steps)

    def value(q: np.ndarray) -> np.ndarray:
        expected: np.ndarray = (data.behaviour * np.where(data.seen, q, 0.0)).sum(1)
        return expected

    history = sweep(data, discount, value, *in_data(data.seen))
    return Solution(history[-1], greedy_policy(history[-1], data.seen), history)
