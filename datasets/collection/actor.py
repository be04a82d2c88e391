"""Whoever acts in a collection: a scripted behaviour of the scene, or a user's policy function.

A policy function `module:function` maps an observation, as the environment itself gives it, to an action in
the environment's own units. Actions of either are checked before the scene sees them.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from cog.datasets.collection.recorder import Recorder
from cog.datasets.collection.spec import BehaviourChoice
from cog.envs.behaviours import make_behaviour
from cog.envs.plain import Plain
from cog.envs.users import load_function, users_code
from cog.errors import CogError, UsageError


class Acting(Protocol):
    """What a behaviour of a scene has."""

    done: bool
    """Whether it has finished."""

    def act(self) -> np.ndarray:
        """The next action (A,)."""


class Actor:
    """A behaviour in a scene, whose actions are checked; errors name it."""

    def __init__(self, behaviour: Acting, name: str, shape: tuple[int, ...]) -> None:
        self._behaviour, self._name, self._shape = behaviour, name, shape

    @property
    def done(self) -> bool:
        """Whether it has finished."""
        with users_code(f"'done' of {self._name}"):
            return bool(self._behaviour.done)

    def act(self) -> np.ndarray:
        """The next action (A,) float64.

        Raises:
            CogError: it gives none of this shape, or one that is not finite.
        """
        with users_code(self._name):
            given = self._behaviour.act()
        try:
            action = np.asarray(given, np.float64)
        except (TypeError, ValueError) as error:
            raise CogError(f"{self._name} gives an action that is no array ({error})") from error
        if action.shape != self._shape:
            rule = f"{self._name} gives an action of shape {action.shape}, but the scene takes {self._shape}"
            raise CogError(rule, remedy="give one number for each component")
        if not np.isfinite(action).all():
            raise CogError(f"{self._name} gives an action that is not finite: {action.tolist()}")
        return action


class Following:
    """A user's policy function as a behaviour that never finishes by itself."""

    done = False

    def __init__(self, function: Callable[[Any], Any], scene: Any, recorder: Recorder) -> None:
        self._function, self._scene, self._recorder = function, scene, recorder

    def act(self) -> Any:
        """The function's action on the last observation, in [-1, 1]."""
        if not isinstance(self._scene, Plain):
            return self._function(self._recorder.observation)
        given = np.asarray(self._function(self._scene.seen), np.float64)
        fits = given.shape == self._scene.low.shape and np.isfinite(given).all()
        return self._scene.to_unit(given) if fits else given


def make_actor(
    env: Any, env_name: str, choice: BehaviourChoice, rng: np.random.Generator, recorder: Recorder
) -> Actor:
    """Build who acts in an episode of the environment `env_name` that the recorder has just begun.

    Raises:
        UsageError: there is no such behaviour or function, or it does not take its options.
        CogError: it cannot be built.
    """
    scene, options, shape = env.unwrapped, dict(choice.options), env.action_space.shape
    if ":" in choice.name and choice.name not in getattr(scene, "behaviours", {}):
        function = load_function(choice.name, "policy")
        return Actor(Following(function, scene, recorder), f"policy {choice.name!r} in {env_name}", shape)
    name = f"behaviour {choice.name!r}"
    if isinstance(scene, Plain):
        rule = f"{env_name} is a plain environment and has no {name}"
        raise UsageError(rule, remedy="pass --policy module:function, a function from observation to action")
    try:
        with users_code(f"building {name}"):
            behaviour = make_behaviour(choice.name, scene, rng, options)
    except CogError as error:
        if isinstance(error.__cause__, TypeError | ValueError):
            rule = f"{name} does not accept {options}: {error.__cause__}"
            raise UsageError(rule) from error
        raise
    if missing := [word for word in ("act", "done") if not hasattr(behaviour, word)]:
        raise UsageError(f"{name} of {env_name} lacks {' and '.join(missing)}")
    if callable(behaviour.done):
        raise UsageError(f"'done' of {name} is a method", remedy="make it an attribute or a property")
    return Actor(behaviour, f"{name} of {env_name}", shape)
