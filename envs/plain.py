"""A plain Gymnasium environment as a scene: one that knows nothing of the toolkit.

    observation space                      recorded as
    Dict with one Box (H, W, 3) uint8      image, and the other entries, one after the other, as proprio
    Dict with several of them              "image", or else the first, as image; the others by their names
    Box (H, W, 3) uint8                    image, and a constant proprio
    Box (N,), or Dict of such              state; or, where images are asked for, proprio beside render()

Its actions, of any bounds, become [-1, 1]. Its rewards become the signal `reward`; success is what its info
calls `success` or `is_success`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import gymnasium
import numpy as np
from gymnasium import spaces

from cog.envs.contract import (
    ALWAYS,
    REAL,
    RESET,
    STEP,
    as_array,
    check_arguments,
    check_picture,
    check_success,
    is_picture,
    kind,
    several,
)
from cog.envs.reading import UNKNOWN, Reading
from cog.errors import CogError, UsageError
from cog.signals.pictures import CAMERA_NAMES, is_camera_name, is_further_picture

ATTRIBUTES = ("starts", "signal_names")
"""What every scene has; an environment with none of them is a plain one."""
SUCCESS = ("success", "is_success")  # entries of an info that say so
WRAP = "register an environment that is wrapped, for example in gymnasium.wrappers."
WHOLE = ""  # name of the only entry of a space that is no Dict


def is_plain(env: Any) -> bool:
    """Whether an environment, or its class, has nothing of a scene."""
    return not any(hasattr(env, word) for word in ATTRIBUTES)


class Plain(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A plain environment as a scene with one start, `reset`, and the signals `reward` and `success`.

    `seen` is its last observation as the environment itself gave it, for policies written for it.
    """

    starts: ClassVar[tuple[str, ...]] = ("reset",)
    signal_names: ClassVar[tuple[str, ...]] = ("reward", "success")

    def __init__(
        self,
        env: Any,
        name: str,
        size: int | None = None,
        terminate_on_success: bool = True,
        reading: Reading = UNKNOWN,
    ) -> None:
        """Show the environment `name`: pictures of `size` x `size` pixels, or with None its numbers alone.

        Pictures of another size are stretched. An episode ends when the environment says so and, with
        `terminate_on_success`, at its first success. With a `reading`, observations are shown as those that a
        policy's data were read from.

        Raises:
            UsageError: its observations or actions do not fit.
        """
        self.env, self.name, self.size = env, name, size
        self.metadata, self.render_mode = env.metadata, env.render_mode
        self.terminate_on_success = terminate_on_success
        self.seen: Any = None
        check_arguments(env.unwrapped, name, "reset", "seed", "options")
        pictures, numbers = entries(env.observation_space, name)
        self._reading = reading
        self._numbers = self._ordered(numbers)
        first, further = next(iter(pictures), None), list(pictures)[1:]
        self._cameras: dict[str, str | None] = {"image": first, **{word: word for word in further}}
        """Name of each picture -> its entry in the environment's own observation; None: what is drawn."""
        if size is not None and pictures and self._reading.cameras:
            self._cameras = {**self._reading.pictures(list(pictures), name)}
        turned = "" if size is None else reading.turned_note(name, drawn=None in self._cameras.values())
        ordered = reading.order_note(name) if list(self._numbers) != list(numbers) else ""
        self.notes = tuple(note for note in (turned, ordered) if note)
        """What is done to observations so that they are as in a policy's data."""
        self._entries = (*self._numbers, *(word for word in self._cameras.values() if word is not None))
        self._sizes: dict[str | None, Any] = {word: part.shape for word, part in pictures.items()}
        width = sum(int(np.prod(part.shape)) for part in self._numbers.values())
        self.low, self.high = _bounds(env.action_space, name)
        self.action_space = spaces.Box(-1.0, 1.0, self.low.shape, np.float32)
        self.has_pose = width > 0
        """Whether its proprio are numbers of the environment, not a constant."""
        if size is None and not self.has_pose:
            what = "a picture and no numbers" if pictures else "no numbers"
            raise UsageError(f"{name} observes {what}", remedy="record images")
        pose = spaces.Box(-np.inf, np.inf, (max(width, 1),), np.float32)
        shown: dict[str, spaces.Space[Any]] = {"state": pose}
        if size is not None:
            self._shapes = self._reading.shapes() or dict.fromkeys(self._cameras, (size, size))
            shown = {"proprio": pose}
            for camera, entry in self._cameras.items():
                if camera != "image" and not is_camera_name(camera):
                    rule = f"{name} observes a further picture called {camera!r}"
                    raise UsageError(
                        rule, remedy=f"{WRAP}TransformObservation that names it by {CAMERA_NAMES}"
                    )
                channels = 3 if entry is None else pictures[entry].shape[2]
                shown[camera] = spaces.Box(0, 255, (*self._shapes[camera], channels), np.uint8)
        self.observation_space = spaces.Dict(shown)  # type: ignore[assignment]

    @property
    def scaled(self) -> bool:
        """Whether its own actions have other bounds than -1 and 1."""
        return bool(np.any(self.low != -1) or np.any(self.high != 1))

    def to_own(self, action: np.ndarray) -> np.ndarray:
        """An action in [-1, 1] in the environment's own units."""
        if not self.scaled:
            return np.asarray(action, self.env.action_space.dtype)
        own = self.low + (np.asarray(action, np.float64) + 1) / 2 * (self.high - self.low)
        return np.clip(own, self.low, self.high).astype(self.env.action_space.dtype)

    def to_unit(self, own: Any) -> np.ndarray:
        """An action in the environment's own units as one in [-1, 1]; what exceeds its bounds is clipped."""
        action = np.asarray(own, np.float64)
        with np.errstate(over="ignore"):  # what exceeds all bounds is clipped as well
            unit = (action - self.low) / (self.high - self.low) * 2 - 1 if self.scaled else action
        return np.clip(unit, -1, 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reset the environment; its only start needs no options."""
        self.seen, info = several(self.env.reset(seed=seed), 2, RESET)
        return self._shown(), self._info(info, 0.0)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Step the environment with an action in [-1, 1]."""
        returned = several(self.env.step(self.to_own(action)), 5, STEP)
        self.seen, reward, terminated, truncated, info = returned
        told = self._info(info, reward)
        if self.terminate_on_success and told["signals"]["success"] == 1:
            terminated = True
        return self._shown(), reward, terminated, truncated, told

    def render(self) -> Any:
        """The environment's own picture; None where it was built without."""
        return None if self.env.render_mode is None else self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _shown(self) -> dict[str, np.ndarray]:
        """The last observation as a scene's."""
        own = self.seen if isinstance(self.env.observation_space, spaces.Dict) else {WHOLE: self.seen}
        if not isinstance(own, Mapping):
            rule = f"it observes {kind(own)}, but its space is {self.env.observation_space}"
            raise CogError(rule, remedy=ALWAYS)
        if missing := [name for name in self._entries if name not in own]:
            have = f"it has {', '.join(map(repr, own)) or 'nothing'}"
            raise CogError(f"the observation lacks {', '.join(map(repr, missing))}; {have}", remedy=ALWAYS)
        values = [self._row(own[name], name) for name in self._numbers]
        pose = np.concatenate(values) if values else np.zeros(1)
        with np.errstate(over="ignore"):  # what is too large is refused as not finite
            pose = pose.astype(np.float32)
        if self.size is None:
            return {"state": pose}
        pictures = {camera: self._seen(own, camera, entry) for camera, entry in self._cameras.items()}
        return {**pictures, "proprio": pose}

    def _seen(self, own: Mapping[str, Any], camera: str, entry: str | None) -> np.ndarray:
        """A picture as a policy's data have it."""
        picture = self._picture(own, entry)
        if entry is not None:
            picture = self._reading.turned(picture)
        wanted = self._shapes[camera]
        if self._reading.keeps_size and picture.shape[:2] != wanted:
            found = f"{picture.shape[0]}x{picture.shape[1]}"
            raise CogError(
                f"the picture {entry or 'of render()'} is {found}, but the policy's data kept their size of "
                f"{wanted[0]}x{wanted[1]}",
                remedy="let the environment draw pictures of that size",
            )
        grows = bool(self._reading.cameras) and max(wanted) > min(picture.shape[:2])
        return _stretched(picture, wanted, cv2.INTER_LINEAR if grows else cv2.INTER_AREA)

    def _ordered(self, numbers: dict[str, spaces.Box]) -> dict[str, spaces.Box]:
        """The entries that are numbers, those of a policy's data in their order."""
        sizes = {word: int(np.prod(part.shape)) for word, part in numbers.items()}
        return {word: numbers[word] for word in self._reading.parts(sizes, self.name)}

    def _row(self, value: Any, name: str) -> np.ndarray:
        """The numbers of one entry, of the shape that its space has."""
        wanted, what = self._numbers[name].shape, f"the observation {name!r}" if name else "the observation"
        found = as_array(value, what)
        if found.shape != wanted:
            rule = f"{what} has shape {found.shape}, but its space has {wanted}"
            raise CogError(rule, remedy=ALWAYS)
        if found.dtype.kind not in REAL + "b":  # flags are 0 and 1
            raise CogError(f"{what} must hold real numbers, found type {found.dtype}", remedy=ALWAYS)
        return found.ravel()

    def _picture(self, own: Mapping[str, Any], entry: str | None) -> np.ndarray:
        """The picture that is this entry of an observation, or the one that is drawn."""
        picture = self.render() if entry is None else own[entry]
        if picture is None:
            rule = "it observes no picture, and render() draws none"
            raise CogError(
                rule, remedy="record its state, or list 'rgb_array' in its metadata['render_modes']"
            )
        name = "render()" if entry is None else entry or "its observation"
        check_picture(picture, name, self._sizes.get(entry))
        found = np.asarray(picture)
        self._sizes[entry] = found.shape  # of what is drawn, the first picture says it
        return found

    def _info(self, info: Any, reward: Any) -> dict[str, Any]:
        """The info of a frame, as a scene's."""
        if not isinstance(info, Mapping):
            raise CogError(f"its info is {kind(info)}", remedy="return a dict")
        said = [info[word] for word in SUCCESS if word in info]
        for one in said:
            check_success(one)
        if len({bool(one) for one in said}) > 1:
            raise CogError("its info says success and is_success, and they differ", remedy="give one of them")
        success = said[0] if said else False
        return {"signals": {"reward": reward, "success": success}, "success": success}


def entries(space: Any, name: str) -> tuple[dict[str, spaces.Box], dict[str, spaces.Box]]:
    """The entries of an observation space that are pictures and those that are numbers, in order.

    The first picture is the one called "image", or else the first in colour; grey ones only follow it.

    Raises:
        UsageError: an entry is neither.
    """
    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {WHOLE: space}
    boxes: dict[str, Any] = {word: part for word, part in parts.items() if isinstance(part, spaces.Box)}
    coloured = [word for word, box in boxes.items() if is_picture(box.dtype, box.shape)]
    first = ["image"] if "image" in coloured else coloured[:1]
    others = [word for word, box in boxes.items() if first and is_further_picture(box.dtype, box.shape)]
    pictures = {word: boxes[word] for word in (*first, *others)}
    numbers = {}
    for word, part in parts.items():
        if word in pictures:
            continue
        if isinstance(part, spaces.Box) and len(part.shape) <= 1 and part.dtype.kind in "fiu":
            numbers[word] = part
        else:
            what = f"the observation {word!r}" if word else "the observation"
            wrapper = "FilterObservation" if word else "FlattenObservation"
            if isinstance(part, spaces.Dict):
                wrapper = "TransformObservation that puts its entries beside the others"
            raise UsageError(
                f"{what} of {name} is {part}, neither a picture (H, W, 3) uint8 nor a row of numbers",
                remedy=WRAP + wrapper,
            )
    return pictures, numbers


def _bounds(space: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action, (A,) float64 each.

    Raises:
        UsageError: the actions are no numbers with finite bounds.
    """
    fits = isinstance(space, spaces.Box) and len(space.shape) == 1 and space.shape[0] > 0
    if not (fits and space.dtype.kind == "f"):
        raise UsageError(
            f"{name} takes actions from {space}",
            remedy="give it a Box(low, high, (A,)) of floats",
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if not np.isfinite([low, high]).all():
        raise UsageError(
            f"{name} takes actions without finite bounds: {space}",
            remedy=f"{WRAP}TransformAction with bounds",
        )
    if (still := np.flatnonzero(low >= high)).size:
        lowest, highest = low[still[0]], high[still[0]]
        how = "equal bounds" if lowest == highest else "a lower bound above its upper one,"
        raise UsageError(
            f"{name} takes actions whose component {still[0]} has {how} {lowest:g} and {highest:g}; "
            "it has no range to choose from",
            remedy=f"{WRAP}TransformAction that takes the other components and adds this one",
        )
    return low, high


def _stretched(picture: np.ndarray, size: tuple[int, int], method: int) -> np.ndarray:
    """A picture at `size`, height and width, by OpenCV's `method`; one of that size is copied."""
    if picture.shape[:2] == size:
        return picture.copy()
    small: np.ndarray = cv2.resize(picture, size[::-1], interpolation=method)
    return small.reshape(*size, picture.shape[2])  # OpenCV leaves out the axis of a single channel
