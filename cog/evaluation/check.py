"""Check, before anything runs, that a policy fits an environment: shapes, starts and videos."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cog.datasets.action_scale import ActionScale
from cog.datasets.robot_interface import FLIPS, KEY, RobotInterface
from cog.envs.contract import draws_pictures, try_out
from cog.envs.make import Scene, make_environment
from cog.envs.plain import Plain
from cog.envs.reading import UNKNOWN, Reading
from cog.errors import CogError, UsageError
from cog.networks.encoder import ObservationShape


def check_scene(
    scene: Scene,
    shape: ObservationShape,
    actions: int,
    starts: Sequence[str],
    recorded: Mapping[str, Any],
    films: bool = False,
    on_message: Callable[[str], None] | None = None,
) -> tuple[str, ...]:
    """Build the environment once and compare it with the policy's shapes, its data's facts and the starts.

    `on_message` is told what is done to the environment's observations so that they are as in the data.

    Returns:
        The names of the scene's failure stages, from least to most.

    Raises:
        UsageError: the environment or a start does not exist, it lacks something that every scene needs, or
            `films` are requested and it does not render.
        CogError: the policy was trained on other observations or actions, or on actions of other bounds.
    """
    shape = shape.single()
    env = make_environment(scene, "rgb_array")
    try:
        known = tuple(env.unwrapped.starts)
        for start in starts:
            if start not in known:
                raise UsageError(
                    f"{scene.env} has no start {start!r}", remedy=f"choose one of: {', '.join(known)}"
                )
        spaces = {name: space.shape for name, space in env.observation_space.spaces.items()}
        required: dict[str, tuple[int, ...]] = {scene.pose: (shape.proprio,), "action": (actions,)}
        required |= shape.pictures()
        found = {**spaces, "action": env.action_space.shape}
        for name, expected in required.items():
            if found.get(name) != expected:
                raise CogError(
                    f"the policy was trained with {name} {expected}, but {scene.env} gives "
                    f"{found.get(name, 'none')}",
                    remedy="use the environment and options that the data came from",
                )
        turned = scene.reading.turned_note(scene.env) if scene.image is not None else ""
        notes: tuple[str, ...] = (turned,) if turned else ()
        if isinstance(env.unwrapped, Plain):
            notes = env.unwrapped.notes
            if KEY in recorded:
                _check_bounds(env.unwrapped, recorded)
        if on_message is not None:
            for note in notes:
                on_message(note)
        try_out(env, scene.env)
        if films and not draws_pictures(env):
            raise UsageError(f"render() of {scene.env} draws no image", remedy="evaluate with --videos 0")
        return tuple(name for name, _ in getattr(env.unwrapped, "stages", ()))
    finally:
        env.close()


def reading(shape: ObservationShape, recorded: Mapping[str, Any]) -> Reading:
    """How the data of a policy that sees `shape` were read from their recorder's observations."""
    if KEY not in recorded:
        return UNKNOWN
    known, shape = RobotInterface.from_json(recorded[KEY]), shape.single()
    pictures = shape.pictures()
    return Reading(
        tuple(zip(pictures, known.cameras, strict=True)) if known.cameras else (),
        tuple((height, width) for height, width, _ in pictures.values()) if known.cameras else (),
        known.pose,
        known.flip,
        FLIPS[known.flip],
        known.resize == "keep",
    )


def _check_bounds(plain: Plain, recorded: Mapping[str, Any]) -> None:
    """Refuse a plain environment whose actions have other bounds than -1 and 1 mean in the data."""
    scale = RobotInterface.from_json(recorded[KEY]).scale or ActionScale.of(recorded)
    low, high = (-1.0, 1.0) if scale is None else (np.array(scale.low), np.array(scale.high))
    if np.allclose(plain.low, low) and np.allclose(plain.high, high):
        return
    own = f"{_listed(plain.low)} to {_listed(plain.high)}"
    theirs = f"{_listed(low)} to {_listed(high)}"
    raise CogError(
        f"{plain.name} takes actions from {own}, but in the policy's data -1 and 1 mean {theirs}",
        remedy="register it wrapped in gymnasium.wrappers.RescaleAction with the data's bounds",
    )


def _listed(bounds: Any) -> str:
    return ", ".join(f"{value:g}" for value in np.atleast_1d(bounds))
