"""What an import takes of a source's observations: cameras, converted exactly, and vectors joined."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from cog.datasets.importers.foreign.cameras import IMAGE, Conversions
from cog.datasets.importers.held import Held
from cog.datasets.importers.pictures import Declared, UnfitError, sort_observations
from cog.datasets.importers.source import ObservationOptions, robot_facts
from cog.datasets.storage.problem import DataError, Problem

Read = Callable[[str], np.ndarray]
"""Reads the rows (T, ...) of a key in one episode."""


class Taken:
    """The chosen cameras and vectors of a source; one conversion for each camera serves all episodes."""

    def __init__(
        self,
        path: Path,
        choice: ObservationOptions,
        held: Held,
        declared: Mapping[str, Declared] | None = None,
    ) -> None:
        """Choose among the observations that are held, by key; `declared` is what the format says of some.

        Raises:
            UsageError: a chosen key does not exist or is no picture, or there are several and none is chosen.
            DataError: an episode lacks a key that others hold.
        """
        arrays = {key: (_number(kind, shape), shape) for key, (kind, shape) in held.arrays.items()}
        found = sort_observations(arrays, declared)
        images, vectors = found.images(path, choice.image), found.vectors or found.numbers
        self.cameras, self.vectors = held.choose(choice, images, vectors, found.numbers, found.notes(()))
        self.keys = (*self.vectors, *self.cameras.values())
        self.robot = robot_facts(self.cameras, {key: arrays[key][1] for key in self.vectors})
        """The environment's fact of what a robot must know."""
        self._path = path
        self._notes = [*held.untaken(self.keys), *found.notes(self.keys)]
        self._conversions = Conversions(self.cameras, declared)

    @property
    def notes(self) -> list[str]:
        """What was not taken, and how the pictures read so far were converted."""
        return [*self._notes, *self._conversions.notes]

    def pictures(self, read: Read) -> np.ndarray | None:
        """The pictures (T, H, W, 3) uint8 of an episode, of the camera called image; None if there is none.

        Raises:
            DataError: they cannot be converted without loss or doubt.
        """
        return self._converted(IMAGE, read) if self.cameras else None

    def further(self, read: Read) -> dict[str, np.ndarray]:
        """The pictures (T, H, W, 3 or 1) uint8 of an episode, of every further camera by name.

        Raises:
            DataError: they cannot be converted without loss or doubt.
        """
        return {name: self._converted(name, read) for name in self.cameras if name != IMAGE}

    def _converted(self, name: str, read: Read) -> np.ndarray:
        key = self.cameras[name]
        try:
            return self._conversions(name, read(key))
        except UnfitError as error:
            rule, remedy = error.args
            raise DataError(Problem(self._path, key, rule, remedy)) from error

    def joined(self, read: Read) -> np.ndarray | None:
        """The vectors (T, P) of an episode, joined; None if none are taken."""
        columns = [as_columns(read(key)) for key in self.vectors]
        return np.concatenate(columns, axis=1) if columns else None


def as_columns(rows: np.ndarray) -> np.ndarray:
    """Vectors (T, P); single numbers (T,) are vectors of one."""
    return rows[:, None] if rows.ndim == 1 else rows


def _number(kind: np.dtype, shape: tuple[int, ...]) -> np.dtype:
    """The type of an array (T, ...); flags (T,) are numbers, 0 and 1."""
    return np.dtype(np.uint8) if kind.kind == "b" and len(shape) == 1 else kind
