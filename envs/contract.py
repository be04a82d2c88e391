"""The contract of a scene, checked on its first frame, before an episode is recorded."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cog.errors import UsageError
from cog.signals.stages import furthest_stage

OBSERVATIONS = {"image": {"image", "proprio"}, "state": {"state"}}
"""Observations of policies, by the scene's argument `observation`."""


def load_scene(env: str) -> None:
    """Import the module that registers an environment, if its id names one (`module:id`).

    Raises:
        UsageError: the module cannot be imported.
    """
    module, _, _ = env.rpartition(":")
    if not module:
        return
    try:
        importlib.import_module(module)
    except Exception as error:  # a user's module may raise anything
        raise UsageError(
            f"environment {env!r} cannot be built: the module {module!r} does not load "
            f"({type(error).__name__}: {error})"
        ) from error


def check_attributes(env: Any, name: str) -> None:
    """Check the attributes and spaces of a scene that every command needs.

    Raises:
        UsageError: one is missing or invalid.
    """
    import gymnasium.spaces as spaces

    if missing := [word for word in ("starts", "signal_names") if not hasattr(env.unwrapped, word)]:
        raise UsageError(
            f"{name} lacks the attribute {' and '.join(missing)}", remedy="define it as a tuple of names"
        )
    if not isinstance(env.observation_space, spaces.Dict):
        raise UsageError(
            f"{name} must observe Dict(image=…, proprio=…) or Dict(state=…), not {env.observation_space}"
        )
    action = env.action_space
    bounded = isinstance(action, spaces.Box) and len(action.shape) == 1
    if not (bounded and np.all(action.low == -1) and np.all(action.high == 1)):
        raise UsageError(f"{name} must take actions from Box(-1, 1, (A,)), not {action}")


def check_first_frame(env: Any, name: str, observation: str) -> None:
    """Reset the environment and compare its first frame with its description; then reset it again.

    Raises:
        UsageError: its observation or its info has other entries, or its signals do not suffice for a stage.
    """
    observed, info = env.unwrapped.reset(seed=0)  # without Gymnasium's checks, which name no remedy
    if set(observed) != OBSERVATIONS[observation]:
        raise UsageError(
            f"{name} observes {_list(observed)}",
            remedy=f"with observation={observation!r}, return {_list(OBSERVATIONS[observation])} and nothing "
            "else",
        )
    if missing := [word for word in ("signals", "success") if word not in info]:
        raise UsageError(
            f"the info of {name} lacks {' and '.join(missing)}", remedy="give both in reset and step"
        )
    names, signals = env.unwrapped.signal_names, info["signals"]
    if set(signals) != set(names):
        raise UsageError(
            f"signal_names of {name} lists {_list(names)}, but info['signals'] has {_list(signals)}",
            remedy="make both the same",
        )
    for signal, value in signals.items():
        if not (np.isscalar(value) and np.isreal(value) and np.isfinite(value)):
            raise UsageError(f"signal {signal!r} of {name} must be a finite number, not {value!r}")
    _check_stages(env, name, signals)
    for word, space in env.observation_space.spaces.items():
        if np.shape(observed[word]) != space.shape:
            raise UsageError(
                f"{name} observes {word} of shape {np.shape(observed[word])}, but its space has {space.shape}"
            )
    env.reset(seed=0)


def _check_stages(env: Any, name: str, signals: Mapping[str, float]) -> None:
    """Evaluate the scene's failure stages, if any, on the first frame: later is too late.

    Raises:
        UsageError: they are not pairs of a name and a predicate on its signals.
    """
    values = {signal: np.array([value]) for signal, value in signals.items()}
    for number, stage in enumerate(getattr(env.unwrapped, "stages", ())):
        try:
            word, predicate = stage
            furthest_stage(values, False, [(word, predicate)])
        except Exception as error:  # a user's predicate may raise anything
            raise UsageError(
                f"stage {number} of {name} must be a pair of a name and a predicate on its signals "
                f"({type(error).__name__}: {error})",
                remedy="see cog.signals.stages",
            ) from error


def draws_pictures(env: Any) -> bool:
    """Whether `render` returns an image (H, W, 3); the environment must have been reset."""
    import gymnasium

    drawn = type(env.unwrapped).render is not gymnasium.Env.render
    return drawn and getattr(env.render(), "ndim", 0) == 3


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"
