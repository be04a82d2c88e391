"""OGBench npz files as a source: as published, or as its loader returns them, regular or compact."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cog.datasets.importers.foreign.cameras import IMAGE
from cog.datasets.importers.foreign.hdf5 import ANOTHER
from cog.datasets.importers.foreign.npz import NpzFile
from cog.datasets.importers.foreign.observed import as_columns
from cog.datasets.importers.pictures import Conversion, Declared, UnfitError
from cog.datasets.importers.source import (
    OTHER_MARK,
    ImportOptions,
    Recording,
    as_flags,
    check_following,
    robot_facts,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

OBSERVATIONS, ACTIONS, TERMINALS = "observations", "actions", "terminals"
FOLLOWING, VALIDS, REWARDS, MASKS = "next_observations", "valids", "rewards", "masks"
TAKEN = {OBSERVATIONS, ACTIONS, TERMINALS, FOLLOWING, VALIDS, REWARDS}
UNFIT = "save the loader's arrays unchanged, or write the episodes with cog.DatasetWriter"
SHIFTED = (
    "OGBench rewards the state before an action; here every step has the reward of the state that it leads to"
)


@dataclass(frozen=True)
class OGBenchOptions(ImportOptions):
    """What to take from an OGBench file."""

    format: ClassVar[str] = "ogbench"

    success: str | None = None
    """What marks success: reward>NUMBER, masks (0 at the goal), or an array that is positive at success."""

    def open(self, path: Path) -> "OGBenchSource":
        return OGBenchSource(path, self)


class OGBenchSource:
    """An OGBench file, open.

    As published and in the compact form, an episode of T steps has T + 1 rows, and the action of the last is
    never taken. The regular form has T rows with `next_observations`, and so no reward for the last state.
    """

    def __init__(self, path: Path, choice: OGBenchOptions) -> None:
        """Open the file and find its episodes.

        Raises:
            UsageError: the array that marks success does not exist.
            DataError: this is not an OGBench file.
        """
        self.path, self.files = path, [path]
        self._file, self._choice = NpzFile(path), choice
        try:
            arrays = self._file.arrays()
            missing = [name for name in (OBSERVATIONS, ACTIONS, TERMINALS) if name not in arrays]
            if missing:
                rule = f"must hold {', '.join(missing)}; it has {', '.join(arrays) or 'no arrays'}"
                raise DataError(Problem(path, "", rule, ANOTHER))
            self._check_shapes()
            self._key = None if choice.success is None or ">" in choice.success else choice.success
            if self._key is not None and self._key not in arrays:
                have = ", ".join(arrays)
                what = f"there is no array '{self._key}' that marks success; there are: {have}"
                raise UsageError(what, where=path, remedy=OTHER_MARK)
            shape = arrays[OBSERVATIONS][1]
            seen = len(shape) == 4
            self.cameras = {IMAGE: OBSERVATIONS} if seen else {}
            robot = robot_facts(self.cameras, {} if seen else {OBSERVATIONS: shape})
            self.environment = {"id": "unknown", **robot}
            self._notes: list[str] = []
            self._conversion = Conversion(Declared(channels="last"))
            self._regular = FOLLOWING in arrays
            self._rewarded = REWARDS in arrays
            self._of_states = [name for name in (REWARDS, self._key) if name is not None and name in arrays]
            self._episodes = self._find_episodes()
            extra = sorted(arrays.keys() - TAKEN - {str(self._key)})
            if extra:
                self._notes.append(f"arrays not taken: {', '.join(extra)}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._episodes)

    def actions(self, episode: int) -> np.ndarray:
        begin, steps = self._episodes[episode]
        return self._file.read(ACTIONS, begin, begin + steps)

    def read(self, episode: int) -> Recording:
        begin, steps = self._episodes[episode]
        rows = self._file.read(OBSERVATIONS, begin, begin + steps + (not self._appended))
        if self._regular and steps:
            following = self._file.read(FOLLOWING, begin, begin + steps)
            check_following(self.path, FOLLOWING, rows[:steps], following, episode, remedy=UNFIT)
            rows = np.concatenate([rows, following[-1:]]) if self._appended else rows
        pictures = self._pictures(rows) if rows.ndim == 4 else None
        success = None if self._key is None else self._reached(self._key, begin, steps)
        return Recording(
            name=f"rows {begin} to {begin + steps}",
            actions=self.actions(episode),
            closed=True,
            images=pictures,
            vectors=as_columns(rows) if pictures is None else None,
            rewards=self._reached(REWARDS, begin, steps) if self._rewarded else None,
            success=success
            if success is None or self._key != MASKS
            else ~as_flags(self.path, MASKS, success),
            truncated=True,  # `terminals` are where recordings end, not where the task does
        )

    @property
    def notes(self) -> list[str]:
        return [*self._notes, *self._conversion.rules]

    @property
    def _appended(self) -> bool:
        """Whether the last observation comes from `next_observations`, and not from a row of its own."""
        return self._regular and not self._of_states

    def _reached(self, name: str, begin: int, steps: int) -> np.ndarray:
        """(T,) what an array says of the states that the steps lead to."""
        return self._file.read(name, begin + 1, begin + 1 + steps).reshape(-1)

    def _pictures(self, rows: np.ndarray) -> np.ndarray:
        """Pictures of any exact form as (T, H, W, 3) uint8."""
        try:
            return self._conversion(rows)
        except UnfitError as error:
            rule, remedy = error.args
            raise DataError(Problem(self.path, OBSERVATIONS, rule, remedy)) from error

    def _check_shapes(self) -> None:
        """Refuse arrays that are no rows of one file, or of types that no robot has."""
        arrays = self._file.arrays()
        count = self._file.length(OBSERVATIONS)
        for name in sorted(TAKEN & arrays.keys()):
            rows = self._file.length(name)
            if rows != count:
                rule = f"must have one row for each of {count} observations, found {rows}"
                raise DataError(Problem(self.path, name, rule, ANOTHER))
        kind, shape = arrays[ACTIONS]
        if kind.kind != "f" or len(shape) != 2:
            rule = f"must be continuous vectors (rows, A), found {kind} of shape {shape}"
            remedy = "import a dataset with continuous actions"
            if kind.kind == "f" and len(shape) == 1:
                remedy = "store single numbers as (rows, 1): actions[:, None]"
            raise DataError(Problem(self.path, ACTIONS, rule, remedy))
        kind, shape = arrays[OBSERVATIONS]
        if len(shape) != 4 and (len(shape) > 2 or kind.kind not in "fiu"):
            rule = f"must be states (rows, S) or pictures (rows, H, W, 3), found {kind} of shape {shape}"
            raise DataError(Problem(self.path, OBSERVATIONS, rule, "write them with cog.DatasetWriter"))

    def _find_episodes(self) -> list[tuple[int, int]]:
        """First row and number of steps of every episode; those without a step are left out."""
        flagged = as_flags(self.path, TERMINALS, self._file.read(TERMINALS))
        if not flagged.any():
            rule = "must mark where episodes end, found no mark"
            raise DataError(Problem(self.path, TERMINALS, rule, "write the episodes with cog.DatasetWriter"))
        last = flagged.copy()
        if VALIDS in self._file and not self._regular:
            last = ~as_flags(self.path, VALIDS, self._file.read(VALIDS))
            self._check_agreed(flagged, last)
        elif not self._regular and _all_doubled(last):
            rule = "mark the last two rows of an episode, as the compact form does, but there are no 'valids'"
            raise DataError(Problem(self.path, TERMINALS, rule, "save the loader's 'valids' as well"))
        if len(last) and not last[-1]:
            last[-1] = True
            self._notes.append("the last episode has no end: it is taken up to the last row")
        ends = np.flatnonzero(last) + 1
        begins = np.concatenate([[0], ends[:-1]]).astype(int)
        lost = 0 if self._appended else 1
        found = [(int(b), int(e - b - lost)) for b, e in zip(begins, ends, strict=True)]
        if self._of_states:
            self._notes.append(SHIFTED)
        if self._of_states and self._regular:
            self._notes.append(
                f"{len(ends)} last actions were dropped: the regular form holds no reward of the states that "
                "they lead to; save the compact form (compact_dataset=True) to keep them"
            )
        return found

    def _check_agreed(self, flagged: np.ndarray, last: np.ndarray) -> None:
        """Refuse `valids` that end episodes, (N,) bool, elsewhere than the marks of `terminals` do."""
        apart = np.flatnonzero((last & ~flagged) | (_ends_of_runs(flagged) & ~last))
        if len(apart):
            rule = "must be 0 in the last row that terminals mark of an episode, and there alone; "
            rule += f"it is not so in row {apart[0]}"
            remedy = "save what the loader of OGBench returns, unchanged"
            raise DataError(Problem(self.path, VALIDS, rule, remedy))


def _ends_of_runs(marks: np.ndarray) -> np.ndarray:
    """Which of the marks (N,) no other mark follows."""
    return marks & ~np.concatenate([marks[1:], [False]])


def _all_doubled(marks: np.ndarray) -> bool:
    """Whether marks (N,) are there, and none stands alone."""
    padded = np.concatenate([[False], marks, [False]])
    alone = marks & ~padded[:-2] & ~padded[2:]
    return bool(marks.any()) and not alone.any()
