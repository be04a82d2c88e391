"""Algorithms: each is one class in one file, named after its paper, and one line of the table below.

Read `shared` (one update, shared equations, networks that most of them have), then any algorithm.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cog.errors import UsageError

if TYPE_CHECKING:
    from cog.algorithms.shared.base import Algorithm

ALGORITHMS: Mapping[str, tuple[str, str]] = {
    "bc": ("cog.algorithms.bc", "BC"),
    "bcq": ("cog.algorithms.bcq", "BCQ"),
    "bear": ("cog.algorithms.bear", "BEAR"),
    "brac": ("cog.algorithms.brac", "BRAC"),
    "cql": ("cog.algorithms.cql", "CQL"),
    "ddpg": ("cog.algorithms.ddpg", "DDPG"),
    "fql": ("cog.algorithms.fql", "FQL"),
    "idql": ("cog.algorithms.idql", "IDQL"),
    "iql": ("cog.algorithms.iql", "IQL"),
    "mopo": ("cog.algorithms.model_based.mopo", "MOPO"),
    "morel": ("cog.algorithms.model_based.morel", "MOREL"),
    "q_cem": ("cog.algorithms.q_cem", "QCEM"),
    "sac": ("cog.algorithms.sac", "SAC"),
    "td3": ("cog.algorithms.td3", "TD3"),
    "td3_bc": ("cog.algorithms.td3_bc", "TD3BC"),
}
"""Every algorithm by name: its module and its class, imported when it is asked for."""


def algorithm(name: str) -> "type[Algorithm[Any]]":
    """The class of the algorithm called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in ALGORITHMS:
        raise UsageError(f"algorithm {name!r} is unknown. Choose one of: {', '.join(ALGORITHMS)}")
    module, kind = ALGORITHMS[name]
    found: type[Algorithm[Any]] = getattr(importlib.import_module(module), kind)
    return found
