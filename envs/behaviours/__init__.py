"""Behaviours: scripted policies that collect data; every scene brings its own as the attribute `behaviours`.

`base` is what all are made of; `grasp`, `move_drawer` and `carry` hold the skills; `chains` puts them one
after the other. `make_behaviour` finds one by the name that its scene gave it.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from cog.envs.behaviours.base import Behaviour
from cog.errors import UsageError


def behaviour_options(name: str, known: Mapping[str, type]) -> dict[str, Any]:
    """The options of a behaviour with their defaults, for the behaviours of a scene.

    Raises:
        UsageError: there is no behaviour of that name.
    """
    if name not in known:
        raise UsageError(f"behaviour {name!r} is unknown; this scene has: {', '.join(known) or 'none'}")
    parameters = list(inspect.signature(known[name]).parameters.values())[2:]
    if loose := [parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD]:
        raise UsageError(
            f"behaviour {name!r} must name its options one by one, with defaults, instead of **{loose[0]}"
        )
    return {parameter.name: parameter.default for parameter in parameters}


def make_behaviour(
    name: str, env: Any, rng: np.random.Generator, options: Mapping[str, Any] | None = None
) -> Behaviour:
    """Build a behaviour of the scene `env`, without wrappers, that has just been reset.

    The scene's attribute `behaviours` maps names to classes that are built from (env, rng, options).

    Raises:
        UsageError: the scene has no such behaviour, or the behaviour no such option or value of it.
    """
    known: Mapping[str, type] = getattr(env, "behaviours", {})
    choices = behaviour_options(name, known)
    for option, value in (options or {}).items():
        if option not in choices:
            raise UsageError(
                f"behaviour {name!r} has no option {option!r}; it has: {', '.join(choices) or 'none'}"
            )
        if isinstance(choices[option], bool) and not isinstance(value, bool):
            raise UsageError(f"option {option!r} of behaviour {name!r} is true or false, not {value!r}")
    behaviour: Behaviour = known[name](env, rng, **(options or {}))
    return behaviour


__all__ = ["Behaviour", "behaviour_options", "make_behaviour"]
