"""Scripted behaviours by name: the policies that collect data."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.carry import Place
from cog.envs.behaviours.chains import CloseThenOpen, MoveBlocker, MoveBlockerThenOpen, PickAndPlace
from cog.envs.behaviours.close_drawer import CloseDrawer, CloseTopDrawer
from cog.envs.behaviours.grasp import Grasp
from cog.envs.behaviours.open_drawer import OpenDrawer
from cog.envs.behaviours.wander import Wander
from cog.errors import UsageError

BEHAVIOURS: dict[str, type[Behaviour]] = {
    "grasp": Grasp,
    "place": Place,
    "pick_and_place": PickAndPlace,
    "open_drawer": OpenDrawer,
    "close_drawer": CloseDrawer,
    "close_top_drawer": CloseTopDrawer,
    "close_then_open": CloseThenOpen,
    "move_blocker": MoveBlocker,
    "move_blocker_then_open": MoveBlockerThenOpen,
    "wander": Wander,
}


def behaviour_options(name: str, known: Mapping[str, type] = BEHAVIOURS) -> dict[str, Any]:
    """The options of a behaviour with their defaults.

    Raises:
        UsageError: there is no behaviour of that name.
    """
    if name not in known:
        raise UsageError(f"behaviour {name!r} is unknown; there are: {', '.join(known)}")
    parameters = list(inspect.signature(known[name]).parameters.values())[2:]
    if loose := [parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD]:
        raise UsageError(
            f"behaviour {name!r} must name its options one by one, with defaults, instead of **{loose[0]}"
        )
    return {parameter.name: parameter.default for parameter in parameters}


def make_behaviour(
    name: str, env: Any, rng: np.random.Generator, options: dict[str, Any] | None = None
) -> Behaviour:
    """Build a behaviour for an environment that has just been reset.

    A scene of one's own brings its behaviours as an attribute `behaviours`, names mapped to classes that are
    built from (env, rng, options); without it, the behaviours are those of the drawer scene.

    Raises:
        UsageError: the behaviour or one of its options does not exist, or has no such value.
    """
    known: Mapping[str, type] = getattr(env, "behaviours", BEHAVIOURS)
    choices = behaviour_options(name, known)
    for option, value in (options or {}).items():
        if option not in choices:
            raise UsageError(
                f"behaviour {name!r} has no option {option!r}; it has: {', '.join(choices) or 'none'}"
            )
        if isinstance(choices[option], bool) and not isinstance(value, bool):
            raise UsageError(f"option {option!r} of behaviour {name!r} is true or false, not {value!r}")
    needed = getattr(known[name], "scene", object)
    if not isinstance(env, needed):
        raise UsageError(f"behaviour {name!r} needs the scene {needed.__name__}, not {type(env).__name__}")
    behaviour: Behaviour = known[name](env, rng, **(options or {}))
    return behaviour


__all__ = ["BEHAVIOURS", "Behaviour", "behaviour_options", "make_behaviour"]
