"""What an import takes of a source's observations: one camera, converted exactly, and vectors joined."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from cog.datasets.importers.held import Held
from cog.datasets.importers.pictures import Conversion, Declared, UnfitError, sort_observations
from cog.datasets.importers.source import ObservationOptions, robot_facts
from cog.datasets.storage.problem import DataError, Problem

Read = Callable[[str], np.ndarray]
"""Reads the rows (T, ...) of a key in one episode."""


class Taken:
    """The chosen camera and vectors of a source; one conversion serves all episodes."""

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
        self.image, self.vectors = held.choose(choice, images, vectors, found.numbers, found.notes(()))
        self.keys = (*self.vectors, *(() if self.image is None else (self.image,)))
        self.robot = robot_facts(self.image, {key: arrays[key][1] for key in self.vectors})
        """The environment's fact of what a robot must know."""
        self._path = path
        self._notes = [*held.untaken(self.keys), *found.notes(self.keys)]
        self._conversion = Conversion((declared or {}).get(self.image or "", Declared()))

    @property
    def notes(self) -> list[str]:
        """What was not taken, and how the pictures read so far were converted."""
        return [*self._notes, *(f"{self.image}: {rule}" for rule in self._conversion.rules)]

    def pictures(self, read: Read) -> np.ndarray | None:
        """The pictures (T, H, W, 3) uint8 of an episode; None if no camera is taken.

        Raises:
            DataError: they cannot be converted without loss or doubt.
        """
        if self.image is None:
            return None
        try:
            return self._conversion(read(self.image))
        except UnfitError as error:
            rule, remedy = error.args
            raise DataError(Problem(self._path, self.image, rule, remedy)) from error

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
