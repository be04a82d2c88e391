"""Conservative Q-learning on a table: three variants, solved exactly (Kumar et al. 2020, arXiv 2006.04779).

Each sweep minimises, over the table, a penalty plus half the squared error against the targets y:

    eq. 1   alpha E_mu[Q]                    + 1/2 E_D[(Q - y)^2]    Q = y - alpha mu / pi_b
    eq. 2   alpha (E_mu[Q] - E_pi_b[Q])      + 1/2 E_D[(Q - y)^2]    Q = y - alpha (mu / pi_b - 1)
    CQL(H)  alpha (log sum exp Q - E_pi_b[Q]) + 1/2 E_D[(Q - y)^2]   Q by Newton's method

mu weighs actions and pi_b is the data's policy. Code that takes the squared error without its half and a
weight w has alpha = w / 2. An action without data has no finite optimum: its Q falls for ever. Here it has
no value, which stands for that limit.
"""

from typing import Literal

import numpy as np

from cog.tabular.iteration import bcql
from cog.tabular.problem import Steps
from cog.tabular.solution import (
    Counts,
    Solution,
    Values,
    best,
    counts,
    greedy_policy,
    in_data,
    stochastic,
    sweep,
)

ALPHA = 0.5
"""The penalty's weight; with the error as code takes it, 1."""
EXACT = 1e-13
ROUNDS = 200

Mu = Literal["behaviour", "greedy"]
"""Which actions are pushed down: the data's, or the best ones of Q-learning on the data's support."""


def cql_eq1(steps: Steps, discount: float, alpha: float = ALPHA, mu: Mu = "behaviour") -> Solution:
    """The penalty alone, eq. 1: a lower bound for every pair."""
    data = counts(steps)
    penalty = alpha * _ratio(steps, discount, data, mu)
    return _solved(data, discount, lambda target: target - penalty)


def cql_eq2(steps: Steps, discount: float, alpha: float = ALPHA, mu: Mu = "behaviour") -> Solution:
    """The penalty less the data's own values, eq. 2: actions of the data that mu avoids are raised."""
    data = counts(steps)
    penalty = alpha * (_ratio(steps, discount, data, mu) - 1)
    return _solved(data, discount, lambda target: target - penalty)


def cql_h(steps: Steps, discount: float, alpha: float = ALPHA) -> Solution:
    """CQL(H): mu is the softmax of Q itself, eq. 4."""
    data = counts(steps)
    return _solved(data, discount, lambda target: _newton(target, data.behaviour, alpha))


def gradient(q: np.ndarray, target: np.ndarray, behaviour: np.ndarray, alpha: float) -> np.ndarray:
    """The gradient (S, A) of CQL(H)'s objective at each state: alpha (softmax(Q) - pi_b) + pi_b (Q - y).

    Q of minus infinity is an action that is left out.
    """
    error = np.where(behaviour > 0, q - target, 0.0)
    slope: np.ndarray = alpha * (softmax(q) - behaviour) + behaviour * error
    return slope


def softmax(q: np.ndarray) -> np.ndarray:
    """Probabilities (S, A) in proportion to exp Q."""
    return stochastic(np.exp(q - q.max(1, keepdims=True)))


def _solved(data: Counts, discount: float, settle: Values) -> Solution:
    """Sweeps with the maximum over the data's actions."""
    mask, first = in_data(data.seen)
    history = sweep(data, discount, lambda q: best(q, data.seen), lambda target: mask(settle(target)), first)
    return Solution(history[-1], greedy_policy(history[-1], data.seen), history)


def _ratio(steps: Steps, discount: float, data: Counts, mu: Mu) -> np.ndarray:
    """mu / pi_b (S, A), 1 where the data have no step."""
    if mu == "behaviour":
        return np.ones(data.seen.shape)
    policy = bcql(steps, discount).policy
    return np.where(data.seen, policy / np.where(data.seen, data.behaviour, 1), 1.0)


def _newton(target: np.ndarray, behaviour: np.ndarray, alpha: float) -> np.ndarray:
    """Q (S, A) at which `gradient` is 0, by Newton's method from Q = y; steps that do not help are halved."""
    q = target.copy()
    for state in np.flatnonzero(behaviour.any(1)):
        seen = behaviour[state] > 0
        share, wanted = behaviour[state, seen][None], target[state, seen][None]
        found = wanted.copy()
        for _ in range(ROUNDS):
            slope = gradient(found, wanted, share, alpha)
            size = np.abs(slope).max()
            if size < EXACT:
                break
            mu = softmax(found)
            curvature = alpha * (np.diag(mu[0]) - mu.T @ mu) + np.diag(share[0])
            step = np.linalg.solve(curvature, slope[0])[None]
            while np.abs(gradient(found - step, wanted, share, alpha)).max() > size:
                step = step / 2
            found = found - step
        q[state, seen] = found[0]
    return q
