"""Scripted behaviours by name: the policies that collect data."""

import inspect
from typing import Any

import numpy as np

from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.close_drawer import CloseDrawer
from cog.envs.behaviours.grasp import Grasp
from cog.envs.behaviours.open_drawer import OpenDrawer
from cog.envs.behaviours.wander import Wander
from cog.envs.drawer_grasp import DrawerGrasp
from cog.errors import UsageError

BEHAVIOURS: dict[str, type[Behaviour]] = {
    "grasp": Grasp,
    "open_drawer": OpenDrawer,
    "close_drawer": CloseDrawer,
    "wander": Wander,
}


def behaviour_options(name: str) -> dict[str, Any]:
    """The options of a behaviour with their defaults.

    Raises:
        UsageError: there is no behaviour of that name.
    """
    if name not in BEHAVIOURS:
        raise UsageError(f"behaviour {name!r} is unknown; there are: {', '.join(BEHAVIOURS)}")
    parameters = list(inspect.signature(BEHAVIOURS[name]).parameters.values())[2:]
    return {parameter.name: parameter.default for parameter in parameters}


def make_behaviour(
    name: str, env: DrawerGrasp, rng: np.random.Generator, options: dict[str, Any] | None = None
) -> Behaviour:
    """Build a behaviour for an environment that has just been reset.

    Raises:
        UsageError: the behaviour or one of its options does not exist.
    """
    known = behaviour_options(name)
    for option in options or {}:
        if option not in known:
            choices = ", ".join(known) or "none"
            raise UsageError(f"behaviour {name!r} has no option {option!r}; it has: {choices}")
    return BEHAVIOURS[name](env, rng, **(options or {}))


__all__ = ["BEHAVIOURS", "Behaviour", "behaviour_options", "make_behaviour"]
