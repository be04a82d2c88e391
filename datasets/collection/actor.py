"""Whoever acts in a collection: a scripted behaviour of the scene, or a user's policy function.

A policy function `module:function` maps an observation, as the environment itself gives it, to an action in
the environment's own units. One that keeps something from step to step has a method `reset()`, as policies of
LeRobot have, which is called before every episode. Actions of all are checked before the scene sees them.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from cog.datasets.collection.recorder import Recorder
from cog.datasets.collection.spec import BehaviourChoice
from cog.envs.behaviours import make_behaviour
from cog.envs.plain import Plain
from cog.errors import CogError, UsageError
from cog.users import load_function, users_code

NUMBERS = "give one number for each component"


class Acting(Protocol):
    """What a behaviour of a scene has."""

    done: bool
    """Whether it has finished."""

    def act(self) -> np.ndarray:
        """The next action (A,)."""


class Actor:
    """A behaviour in an episode, whose actions are checked; errors name it, the episode and the frame."""

    def __init__(
        self,
        behaviour: Acting,
        name: str,
        env_name: str,
        recorder: Recorder,
        to_unit: Callable[[np.ndarray], np.ndarray] = lambda action: action,
    ) -> None:
        """`to_unit` brings its actions (A,) to [-1, 1], where they are in the environment's own units."""
        self._behaviour, self._name, self._env_name, self._recorder = behaviour, name, env_name, recorder
        self._shape: tuple[int, ...] = recorder.env.action_space.shape
        self._to_unit = to_unit

    @property
    def done(self) -> bool:
        """Whether it has finished."""
        with frame_named(self._env_name, self._recorder), users_code(f"'done' of {self._name}"):
            return bool(self._behaviour.done)

    def act(self) -> np.ndarray:
        """The next action (A,) float64.

        Raises:
            CogError: it gives no numbers, another shape, or an action that is not finite.
        """
        with frame_named(self._env_name, self._recorder):
            with users_code(self._name):
                given = self._behaviour.act()
            return self._to_unit(self._checked(given))

    def _checked(self, given: Any) -> np.ndarray:
        """What it gives as an action (A,) float64."""
        try:
            found = np.asarray(given)
        except (TypeError, ValueError, RuntimeError) as error:  # a tensor of PyTorch that is no array
            rule = f"{self._name} gives an action that is no array ({' '.join(str(error).split())})"
            raise CogError(rule, remedy=NUMBERS) from error
        if found.dtype.kind not in "fiu":
            what = "None" if given is None else f"an action of type {found.dtype}, not of real numbers"
            raise CogError(f"{self._name} gives {what}", remedy=NUMBERS)
        action = found.astype(np.float64)
        if action.shape != self._shape:
            rule = f"{self._name} gives an action of shape {action.shape}, but the scene takes {self._shape}"
            raise CogError(rule, remedy=NUMBERS)
        if not np.isfinite(action).all():
            raise CogError(f"{self._name} gives an action that is not finite: {action.tolist()}")
        return action


@contextmanager
def frame_named(env_name: str, recorder: Recorder) -> Iterator[None]:
    """Say of which episode and frame an error is; requests for what does not exist stay as they are."""
    try:
        yield
    except UsageError:
        raise
    except CogError as error:
        if error.where is not None:
            raise
        where = f"{env_name}, frame {len(recorder)} of the episode with seed {recorder.seed}"
        raise CogError(error.what, where=where, remedy=error.remedy) from error


class Following:
    """A user's policy function as a behaviour that never finishes by itself."""

    done = False

    def __init__(self, function: Callable[[Any], Any], scene: Any, recorder: Recorder) -> None:
        self._function, self._scene, self._recorder = function, scene, recorder

    def act(self) -> Any:
        """The function's action on the last observation, in the units of what it was shown."""
        plain = isinstance(self._scene, Plain)
        return self._function(self._scene.seen if plain else self._recorder.observation)


def make_actor(
    env: Any, env_name: str, choice: BehaviourChoice, rng: np.random.Generator, recorder: Recorder
) -> Actor:
    """Build who acts in an episode of the environment `env_name` that the recorder has just begun.

    Raises:
        UsageError: there is no such behaviour or function, or it does not take its options.
        CogError: it cannot be built.
    """
    scene, options = env.unwrapped, dict(choice.options)
    with users_code(f"'behaviours' of {env_name}"):
        known = choice.name in getattr(scene, "behaviours", {})
    if ":" in choice.name and not known:
        function = load_function(choice.name, "policy")
        _check_takes_one(function, choice.name)
        name = f"policy {choice.name!r}"
        if callable(reset := getattr(function, "reset", None)):
            with frame_named(env_name, recorder), users_code(f"reset() of {name}"):
                reset()
        own_units = (scene.to_unit,) if isinstance(scene, Plain) else ()
        return Actor(Following(function, scene, recorder), name, env_name, recorder, *own_units)
    name = f"behaviour {choice.name!r}"
    if isinstance(scene, Plain):
        rule = f"{env_name} is a plain environment and has no {name}"
        raise UsageError(rule, remedy="pass --policy module:function, a function from observation to action")
    try:
        with frame_named(env_name, recorder), users_code(f"building {name}"):
            behaviour = make_behaviour(choice.name, scene, rng, options)
    except CogError as error:
        own = error if error.where is None else error.__cause__  # what `users_code` made of it
        cause = None if own is None else own.__cause__
        if isinstance(cause, TypeError | ValueError):
            rule = f"{name} does not accept {options}: {cause}"
            raise UsageError(rule) from error
        raise
    with users_code(f"'done' of {name} of {env_name}"):
        missing = [word for word in ("act", "done") if not hasattr(behaviour, word)]
        method = not missing and callable(behaviour.done)
    if missing:
        raise UsageError(f"{name} of {env_name} lacks {' and '.join(missing)}")
    if method:
        raise UsageError(f"'done' of {name} is a method", remedy="make it an attribute or a property")
    return Actor(behaviour, name, env_name, recorder)


def _check_takes_one(function: Callable[[Any], Any], name: str) -> None:
    """Refuse a policy function that cannot be called with an observation alone.

    Raises:
        UsageError: it takes other arguments.
    """
    try:
        parameters = inspect.signature(function)
    except (TypeError, ValueError):  # one that is not written in Python and does not say
        return
    try:
        parameters.bind(None)
    except TypeError as error:
        rule = f"policy {name!r} must take one argument, the observation, but it takes {parameters} ({error})"
        raise UsageError(rule) from error
