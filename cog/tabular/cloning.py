"""Behaviour cloning: act as the data do in each state; no values, so nothing flows back from C."""

import numpy as np

from cog.tabular.problem import Steps
from cog.tabular.solution import Solution, counts, stochastic


def cloning(steps: Steps, discount: float) -> Solution:
    """pi(a|s) = share of action a in the data's steps of state s; the discount does not matter."""
    data = counts(steps)
    nothing = np.full(data.seen.shape, np.nan)
    return Solution(nothing, stochastic(data.behaviour), nothing[None])
