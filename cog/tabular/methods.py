"""The table of methods: each name with a function of the data and the discount, at its usual settings.

| method | Q(B, right), Q(B, left) on the chain | reaches C from A |
| --- | --- | --- |
| cloning | none | with probability p, the share of the steps at B that go right |
| sarsa, bcql, cql_eq2 | 1, 0 | yes |
| naive_q | 1, 0 | if what unseen pairs begin with is below gamma |
| bcq | 1, 0 | if p / max(p, 1 - p) is above its threshold |
| cql_eq1 | 1 - alpha, -alpha | yes |
| cql_eq2_greedy | 1 - alpha (1 - p) / p, alpha | if alpha < p |
| cql_h | by Newton's method | if alpha / 2 (1 / p - 1 / (1 - p)) < 1 |
| iql | 1, 0 | with a probability that its temperature raises from p towards 1 |
"""

from collections.abc import Callable, Mapping
from functools import partial

from cog.tabular.bcq import bcq
from cog.tabular.cloning import cloning
from cog.tabular.cql import cql_eq1, cql_eq2, cql_h
from cog.tabular.iql import iql
from cog.tabular.iteration import bcql
from cog.tabular.naive import naive_q
from cog.tabular.problem import Steps
from cog.tabular.sarsa import sarsa
from cog.tabular.solution import Solution

METHODS: Mapping[str, Callable[[Steps, float], Solution]] = {
    "cloning": cloning,
    "sarsa": sarsa,
    "bcql": bcql,
    "naive_q": naive_q,
    "naive_q_optimistic": partial(naive_q, initial=1.0),
    "bcq": bcq,
    "cql_eq1": cql_eq1,
    "cql_eq2": cql_eq2,
    "cql_eq2_greedy": partial(cql_eq2, mu="greedy"),
    "cql_h": cql_h,
    "iql": iql,
}
"""Every method by name."""
