"""Discrete BCQ: Q-learning over the actions that the data take often enough (Fujimoto et al. 2019b).

Action a is allowed in state s if pi_b(a|s) / max over a' of pi_b(a'|s) > threshold. Maximum and policy run
over allowed actions only. Threshold 0 is batch-constrained Q-learning, `cog.tabular.iteration`. The paper is
arXiv 1910.01708.
"""

import numpy as np

from cog.errors import UsageError
from cog.tabular.problem import Steps
from cog.tabular.solution import Solution, best, counts, greedy_policy, in_data, sweep


def allowed_actions(behaviour: np.ndarray, threshold: float) -> np.ndarray:
    """Which actions (S, A) the shares pi_b (S, A) allow.

    Raises:
        UsageError: the threshold is not in [0, 1), so that not even the commonest action would be allowed.
    """
    if not 0 <= threshold < 1:
        raise UsageError(f"threshold is {threshold}, not in [0, 1)")
    highest = behaviour.max(1, keepdims=True)
    allowed: np.ndarray = behaviour > threshold * highest
    return allowed


def bcq(steps: Steps, discount: float, threshold: float = 0.3) -> Solution:
    """Q of every pair in the data, bootstrapped from allowed actions.

    Raises:
        UsageError: the threshold is not in [0, 1).
    """
    data = counts(steps)
    allowed = allowed_actions(data.behaviour, threshold)
    history = sweep(data, discount, lambda q: best(q, allowed), *in_data(data.seen))
    return Solution(history[-1], greedy_policy(history[-1], allowed), history)
