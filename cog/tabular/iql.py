"""Implicit Q-learning: a high expectile of the data's values in place of a maximum (Kostrikov et al. 2021).

V(s) is the tau-expectile of Q(s, a) over the data's actions; Q(s, a) = mean of r + gamma V(s'). The policy is
the data's, weighted: pi(a|s) ~ pi_b(a|s) min(exp(beta (Q(s, a) - V(s))), cap). Values of unseen actions are
never read.
"""

import numpy as np

from cog.tabular.problem import Steps
from cog.tabular.solution import Solution, counts, in_data, stochastic, sweep

CAP = 100.0
"""Largest weight of an action, as in the authors' code."""


def expectile(q: np.ndarray, behaviour: np.ndarray, tau: float) -> np.ndarray:
    """The V (S,) that solves sum over a of pi_b |tau - 1(Q < V)| (Q - V) = 0 in every state.

    Solved for V with the weights of the previous one, which ends after at most as many rounds as there are
    actions. States without data have 0.
    """
    q = np.where(behaviour > 0, q, 0.0)
    share = np.maximum(behaviour.sum(1), 1e-300)
    value = (behaviour * q).sum(1) / share
    for _ in range(behaviour.shape[1]):
        weight = behaviour * np.where(q > value[:, None], tau, 1 - tau)
        value = (weight * q).sum(1) / np.maximum(weight.sum(1), 1e-300)
    return value


def iql(steps: Steps, discount: float, tau: float = 0.7, beta: float = 3.0) -> Solution:
    """Values by expectile, then advantage-weighted cloning; the defaults are the paper's for MuJoCo."""
    data = counts(steps)
    history = sweep(data, discount, lambda q: expectile(q, data.behaviour, tau), *in_data(data.seen))
    q = history[-1]
    advantage = np.where(data.seen, q, 0.0) - expectile(q, data.behaviour, tau)[:, None]
    weights = data.behaviour * np.minimum(np.exp(beta * advantage), CAP)
    return Solution(q, stochastic(weights), history)
