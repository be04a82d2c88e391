"""Dreamer's episodes as a source: npz files of one episode each, and V-D4RL's flat HDF5 files of many."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cog.datasets.importers.foreign.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.foreign.npz import NpzFile
from cog.datasets.importers.foreign.observed import Taken, as_columns
from cog.datasets.importers.held import Held
from cog.datasets.importers.pictures import Array
from cog.datasets.importers.source import OTHER_MARK, ObservationOptions, Recording, as_flags, ended_last
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

ACTION, REWARD, DISCOUNT, STEP_TYPE = "action", "reward", "discount", "step_type"
FIRST, LAST, TERMINAL = "is_first", "is_last", "is_terminal"
FACTS = {ACTION, REWARD, DISCOUNT, STEP_TYPE, FIRST, LAST, TERMINAL}
BEGINS = 0  # of dm_env's step types: the first of an episode
NPZ, HDF5 = (".npz",), (".hdf5", ".h5")
OPENERS: Mapping[str, Callable[[Path], "NpzFile | ForeignFile"]] = {
    **dict.fromkeys(NPZ, NpzFile),
    **dict.fromkeys(HDF5, ForeignFile),
}


@dataclass(frozen=True)
class DreamerOptions(ObservationOptions):
    """What to take from Dreamer's episodes."""

    format: ClassVar[str] = "dreamer"

    def open(self, path: Path) -> "DreamerSource":
        return DreamerSource(path, self)


@dataclass(frozen=True)
class _Place:
    """Where an episode is stored: rows of a file."""

    file: Path
    begin: int
    end: int


class DreamerSource:
    """A file or a folder of them, in the order of their names.

    Every row holds an observation with the action and the reward that led to it: an episode of T steps has
    T + 1 rows, and the action and reward of the first are placeholders.
    """

    def __init__(self, path: Path, choice: DreamerOptions) -> None:
        """Find the episodes and choose what to take.

        Raises:
            UsageError: a chosen key does not exist.
            DataError: these are not Dreamer's episodes.
        """
        self.path, self._choice = path, choice
        self.files = _files(path)
        self._opened: NpzFile | ForeignFile | None = None
        self._unearned: dict[int, float] = {}
        self._unled: set[int] = set()
        self.environment = {"id": "unknown"}
        try:
            self._places: list[_Place] = []
            found = {file: self._list(file) for file in self.files}
            stepped = {place.file for place in self._places if place.end - place.begin > 1}
            chosen = {file.name: arrays for file, arrays in found.items() if file in stepped or not stepped}
            self._taken = Taken(path, choice, Held(path, chosen, unit="files"))
            self.cameras = self._taken.cameras
            self.environment |= self._taken.robot
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file that is open."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __len__(self) -> int:
        return len(self._places)

    @property
    def notes(self) -> list[str]:
        notes = list(self._taken.notes)
        several = sum(count > 1 for count in Counter(place.file for place in self._places).values())
        if several:
            notes.append(
                f"{several} files hold several episodes, and were cut where a row is marked as a first"
            )
        if self._unled:
            notes.append(
                f"{len(self._unled)} episodes have an action in their first row, which leads to no frame and "
                "was left out; where actions are stored with the frame before, this is no Dreamer file"
            )
        if not self._unearned:
            return notes
        count, total = len(self._unearned), sum(self._unearned.values())
        lost = (
            f"{count} episodes have a reward in their first row, of {total:g} in all, which no action earned"
        )
        return [*notes, f"{lost}; it was not taken"]

    def actions(self, episode: int) -> np.ndarray:
        place = self._places[episode]
        actions = as_columns(self._rows(place, ACTION)[1:])
        if actions.dtype.kind != "f" or actions.ndim != 2:
            rule = f"must be continuous vectors, found {actions.dtype} of shape {actions.shape}"
            remedy = "import episodes of an environment with continuous actions"
            raise DataError(Problem(place.file, ACTION, rule, remedy))
        if actions.shape[1] > 1 and len(actions) > 1 and _one_hot(actions):
            rule = "must be continuous, found one choice of several at every step (one-hot)"
            remedy = "import episodes of an environment with continuous actions"
            raise DataError(Problem(place.file, ACTION, rule, remedy))
        return actions

    def read(self, episode: int) -> Recording:
        place = self._places[episode]
        actions = self.actions(episode)
        file = self._file(place.file)

        def rows(key: str) -> np.ndarray:
            return self._rows(place, key)

        rewards = self._rows(place, REWARD).reshape(-1) if REWARD in file else None
        if rewards is not None and rewards[0]:
            self._unearned[episode] = float(rewards[0])
        if np.any(rows(ACTION)[:1] != 0):
            self._unled.add(episode)
        terminal = self._ends_for_good(place, episode)
        return Recording(
            name=place.file.name if len(self.files) > 1 else f"rows {place.begin} to {place.end - 1}",
            actions=actions,
            closed=True,
            images=self._taken.pictures(rows),
            cameras=self._taken.further(rows),
            vectors=self._taken.joined(rows),
            rewards=None if rewards is None else rewards[1:],
            success=self._success(place),
            terminated=terminal,
            truncated=not terminal,
        )

    def _list(self, path: Path) -> dict[str, Array]:
        """Add the episodes of a file; type and shape of its observations."""
        self._places += self._episodes(path)
        return {key: array for key, array in self._file(path).arrays().items() if _observes(key)}

    def _episodes(self, path: Path) -> list[_Place]:
        """The episodes of one file."""
        file = self._file(path)
        if ACTION not in file:
            rule = f"must hold Dreamer's '{ACTION}'; it has {', '.join(file.arrays()) or 'no arrays'}"
            raise DataError(Problem(path, "", rule, ANOTHER))
        count = file.length(ACTION)
        for name, (kind, shape) in sorted(file.arrays().items()):
            rows = shape[0] if shape and kind.kind in "fiub" else count
            if rows != count:
                rule = f"must have one row for each of {count} rows of '{ACTION}', found {rows}"
                raise DataError(Problem(path, name, rule, ANOTHER))
        if STEP_TYPE in file:
            starts = file.read(STEP_TYPE).reshape(-1) == BEGINS
        elif FIRST in file:
            starts = as_flags(path, FIRST, file.read(FIRST))
        else:
            starts = np.arange(count) == 0
        if not count or not starts[0]:
            field = STEP_TYPE if STEP_TYPE in file else FIRST
            rule = "must mark the first row as the first of an episode"
            remedy = "give whole episodes; chunks of DreamerV3's replay may begin anywhere"
            raise DataError(Problem(path, field, rule, remedy))
        begins = np.flatnonzero(starts)
        ends = [*begins[1:], count]
        return [_Place(path, int(begin), int(end)) for begin, end in zip(begins, ends, strict=True)]

    def _ends_for_good(self, place: _Place, episode: int) -> bool:
        """Whether nothing can follow the last row: `is_terminal`, or in files without it a discount of 0."""
        file = self._file(place.file)
        if LAST in file:  # a row so marked within an episode would be passed over
            ended_last(place.file, LAST, self._rows(place, LAST)[1:], episode)
        if TERMINAL in file:
            return ended_last(place.file, TERMINAL, self._rows(place, TERMINAL)[1:], episode)
        if DISCOUNT not in file:
            return False
        found = self._rows(place, DISCOUNT).reshape(-1)
        if len(broken := np.flatnonzero(~np.isfinite(found))):
            rule = f"must be finite, found {found[broken[0]]} in row {broken[0]}"
            raise DataError(Problem(place.file, DISCOUNT, rule, ANOTHER, episode))
        return ended_last(place.file, DISCOUNT, found[1:] == 0, episode)

    def _success(self, place: _Place) -> np.ndarray | None:
        """The chosen success entries of the steps."""
        key = self._choice.success
        if key is None or ">" in key:
            return None
        if key not in self._file(place.file):
            have = ", ".join(self._file(place.file).arrays())
            what = f"there is no array '{key}' that marks success; there are: {have}"
            raise UsageError(what, where=place.file, remedy=OTHER_MARK)
        return self._rows(place, key).reshape(-1)[1:]

    def _rows(self, place: _Place, name: str) -> np.ndarray:
        return self._file(place.file).read(name, place.begin, place.end)

    def _file(self, path: Path) -> NpzFile | ForeignFile:
        """The file, open; only one is at a time."""
        if self._opened is None or self._opened.path != path:
            self.close()
            self._opened = OPENERS[path.suffix.lower()](path)
        return self._opened


def _files(path: Path) -> list[Path]:
    """The files of a source; those of a folder in the order of their names, which begin with the time."""
    if not path.is_dir():
        if path.suffix.lower() in OPENERS:
            return [path]
        raise DataError(Problem(path, "", "must be an npz or HDF5 file, or a folder of them", ANOTHER))
    for endings in (NPZ, HDF5):
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in endings)
        found = [file for file in found if not file.name.startswith(".")]
        if found:
            return found
    raise DataError(Problem(path, "", "holds no npz or HDF5 files", ANOTHER))


def _observes(key: str) -> bool:
    """Whether an array is an observation: not a fact of the episode, nor a number kept for a log."""
    return key not in FACTS and not key.startswith("log_")


def _one_hot(actions: np.ndarray) -> bool:
    return bool(np.isin(actions, (0, 1)).all() and (actions.sum(axis=1) == 1).all())
