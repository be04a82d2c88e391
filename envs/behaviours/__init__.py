"""Behaviours: scripted policies that collect data; every scene lists its own in the attribute `behaviours`.

`base` is the base class; `grasp`, `move_drawer` and `carry` contain the skills; `chains` puts them in
sequence. `make_behaviour` builds one by its name in the scene.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from cog.envs.behaviours.base import Behaviour
from cog.errors import UsageError


def behaviour_options(name: str, known: Mapping[str, type]) -> dict[str, Any]:
    """Options, with their defaults, of the behaviour `name` among the `known` ones of a scene.

    Raises:
        UsageError: there is no behaviour of that name.
    """
    if name not in known:
        raise UsageError(f"behaviour {name!r} is unknown", remedy=_choices(known))
    parameters = list(inspect.signature(known[name]).parameters.values())[2:]
    if loose := [parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD]:
        raise UsageError(
            f"behaviour {name!r} takes **{loose[0]}", remedy="name its options one by one, with defaults"
        )
    return {parameter.name: parameter.default for parameter in parameters}


def make_behaviour(
    name: str, env: Any, rng: np.random.Generator, options: Mapping[str, Any] | None = None
) -> Behaviour:
    """Build a behaviour for the scene `env`, which is unwrapped and has just been reset.

    The scene's attribute `behaviours` maps names to classes that are called with (env, rng, **options).

    Raises:
        UsageError: the scene has no such behaviour, or the behaviour no such option or value.
    """
    known: Mapping[str, type] = getattr(env, "behaviours", {})
    choices = behaviour_options(name, known)
    for option, value in (options or {}).items():
        if option not in choices:
            raise UsageError(
                f"behaviour {name!r} has no option {option!r}",
                remedy=_choices(choices),
            )
        if isinstance(choices[option], bool) and not isinstance(value, bool):
            raise UsageError(f"option {option!r} of behaviour {name!r} must be true or false, got {value!r}")
    behaviour: Behaviour = known[name](env, rng, **(options or {}))
    return behaviour


def _choices(names: Mapping[str, Any]) -> str:
    return f"choose one of: {', '.join(names)}" if names else "there is none to choose"


__all__ = ["Behaviour", "behaviour_options", "make_behaviour"]
