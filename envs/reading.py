"""How a policy's data were read from observations, so that an environment is shown to it in the same way.

Data of another recorder say what they call each picture and each part of the pose, and whether pictures were
turned over; a plain environment like the recorder's has them under these names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from cog.errors import UsageError

NAME_IT = (
    "register an environment that is wrapped in gymnasium.wrappers.TransformObservation and names them so"
)


@dataclass(frozen=True)
class Reading:
    """What data say of the observations that they were read from."""

    cameras: tuple[tuple[str, str], ...] = ()
    """Each picture of the data that a policy sees, and its recorder's name for it; empty if unknown."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Height and width of each in the data."""
    pose: tuple[tuple[str, int], ...] | None = None
    """Name and length of each part of the pose, or of the state, in the data's order; () if it has none."""
    flip: str = "none"
    """How the recorder's pictures were turned over, in a word."""
    axes: tuple[int, ...] = ()
    """The axes of a picture (H, W, C) of which that is the order reversed."""
    keeps_size: bool = False
    """Whether the recorder's pictures kept their size, so that no other may come."""

    def pictures(self, entries: Sequence[str], name: str) -> dict[str, str]:
        """Which entry of an environment's observation is which picture of the data.

        It is the entry that is called as the recorder called it, or by the last part of that name, or as the
        data call it; an only picture is the policy's only one, whatever its name.

        Raises:
            UsageError: none of the entries is called so.
        """
        found: dict[str, str] = {}
        for camera, recorded in self.cameras:
            last = re.split(r"[./]", recorded)[-1]
            fitting = [word for word in (recorded, last, camera) if word in entries]
            if not fitting and len(entries) == len(self.cameras) == 1:
                fitting = [*entries]
            if not fitting:
                raise UsageError(
                    f"the policy sees the picture {recorded!r}, but {name} observes {_listed(entries)}",
                    remedy=NAME_IT,
                )
            found[camera] = fitting[0]
        if len(set(found.values())) < len(found):
            raise UsageError(
                f"the policy sees {len(found)} pictures, of which {name} observes only {_listed(entries)}",
                remedy=NAME_IT,
            )
        return found

    def parts(self, sizes: Mapping[str, int], name: str) -> tuple[str, ...]:
        """The parts of an environment's pose that are the data's, in their order.

        Raises:
            UsageError: its parts have other names or lengths, so that their order is unknown.
        """
        if self.pose is None or len(sizes) == len(self.pose) == 1:
            return tuple(sizes)
        if all(sizes.get(part) == size for part, size in self.pose):
            return tuple(part for part, _ in self.pose)
        if len(sizes) < 2:  # one row, in the recorder's order
            return tuple(sizes)
        raise UsageError(
            f"the policy's pose is {_sized(self.pose)}, but {name} observes {_sized(tuple(sizes.items()))}",
            remedy=NAME_IT,
        )

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Height and width of each picture of the data; empty if they do not say what is which."""
        return dict(zip((camera for camera, _ in self.cameras), self.sizes, strict=False))

    def turned(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, C), turned over as those of the data were."""
        return np.ascontiguousarray(np.flip(picture, self.axes))

    def turned_note(self, name: str, drawn: bool = False) -> str:
        """What is done to an environment's pictures, which render() may have `drawn`; empty if nothing."""
        if not self.axes:
            return ""
        done = "drawn by render() and not turned over" if drawn else f"turned over ({self.flip})"
        return f"pictures of {name} are {done}; those of the policy's data were turned over"

    def order_note(self, name: str) -> str:
        """That the parts of an environment's pose are put into the data's order."""
        return f"the pose of {name} is {_sized(self.pose or ())}, in the order of the policy's data"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _sized(parts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({size})" for name, size in parts)


class Turned(gymnasium.ObservationWrapper[Any, Any, Any]):
    """A scene whose pictures are turned over as those of a policy's data were."""

    def __init__(self, env: Any, reading: Reading) -> None:
        super().__init__(env)
        self._reading = reading

    def observation(self, observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The observation with its pictures (H, W, C) turned over."""
        return {
            name: self._reading.turned(value) if np.ndim(value) == 3 else value
            for name, value in observation.items()
        }


UNKNOWN = Reading()
"""Nothing is known of it."""
