"""D4RL-style flat HDF5 files as a source: rows of `observations` and `actions`, cut where episodes end."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cog.core.bounds import refuse_below
from cog.datasets.importers.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.source import (
    ImportOptions,
    LastFrame,
    Recording,
    check_following,
    robot_facts,
    with_last,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

TAKEN = {"observations", "next_observations", "actions", "rewards", "terminals", "timeouts"}
ROWS_AT_ONCE = 65536


@dataclass(frozen=True)
class D4RLOptions(ImportOptions):
    """What to take from a flat file."""

    format: ClassVar[str] = "d4rl"

    last_frame: LastFrame = "next"
    """After the last action: the source's next observation, or drop that action, or repeat the last frame."""
    episode_steps: int | None = None
    """Steps of a full episode, for files that do not mark time limits."""

    def __post_init__(self) -> None:
        """Refuse a number of steps below 1.

        Raises:
            UsageError: naming it.
        """
        refuse_below(self, 1, "episode_steps")

    def open(self, path: Path) -> "D4RLSource":
        return D4RLSource(path, self)


class D4RLSource:
    """A flat file, open."""

    def __init__(self, path: Path, choice: D4RLOptions) -> None:
        """Open the file and find where its episodes begin and end.

        Raises:
            UsageError: the array that marks success does not exist, or nothing marks where episodes end.
            DataError: this is not a flat file.
        """
        self.path, self.files = path, [path]
        self._file, self._choice = ForeignFile(path), choice
        with self._file.closed_on_error():
            arrays = self._file.arrays()
            self._steps = self._file.length("actions")
            self._follows = "next_observations" in arrays
            for field in sorted((TAKEN - {"actions"}) & arrays.keys() | {"observations"}):
                rows = self._file.length(field)
                if rows != self._steps:
                    rule = f"must have one row for each of {self._steps} actions, found {rows}"
                    raise DataError(Problem(path, field, rule, ANOTHER))
            kind, shape = arrays["observations"]
            if len(shape) != 2 or kind.kind not in "fiu":
                rule = f"must be states (rows, S) of numbers, found {kind} of shape {shape}"
                raise DataError(Problem(path, "observations", rule, "write images with cog.datasets.writer"))
            key = choice.success
            if key is not None and ">" not in key and key not in arrays:
                have = ", ".join(arrays)
                raise UsageError(
                    f"there is no array '{key}' that marks success; there are: {have}", where=path
                )
            self.environment = {"id": "unknown", **robot_facts(None, {"observations": shape})}
            self._rewarded = "rewards" in arrays
            self._terminals = self._flags("terminals")
            self._timeouts = self._flags("timeouts")
            extra = sorted(arrays.keys() - TAKEN - {str(choice.success)})
            self.notes = [f"arrays not taken: {', '.join(extra)}"] if extra else []
            self._ends = self._find_ends("timeouts" in arrays)
            self._begins = np.concatenate([[0], self._ends[:-1]])

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends)

    def actions(self, episode: int) -> np.ndarray:
        return self._part("actions", episode)

    def read(self, episode: int) -> Recording:
        last = self._choice.last_frame
        rows, following = self._part("observations", episode), None
        if self._follows and last == "next":
            following = self._part("next_observations", episode)
            check_following(self.path, "next_observations", rows, following, episode)
        success, end = self._choice.success, int(self._ends[episode]) - 1
        return Recording(
            name=f"rows {self._begins[episode]} to {end}",
            actions=self.actions(episode),
            closed=last == "repeat" or following is not None,
            vectors=with_last(rows, following, last),
            rewards=self._part("rewards", episode).reshape(-1) if self._rewarded else None,
            success=None if success is None or ">" in success else self._part(success, episode).reshape(-1),
            terminated=bool(self._terminals[end]),
            truncated=not self._terminals[end],
        )

    def _part(self, field: str, episode: int) -> np.ndarray:
        """The rows of one episode."""
        return self._file.read(field, int(self._begins[episode]), int(self._ends[episode]))

    def _flags(self, field: str) -> np.ndarray:
        if field not in self._file:
            return np.zeros(self._steps, bool)
        return self._file.read(field).reshape(-1) > 0

    def _find_ends(self, marked: bool) -> np.ndarray:
        """The row after each episode."""
        over = self._terminals | self._timeouts
        if self._choice.episode_steps is not None:
            count = 0
            for row in range(self._steps):
                count += 1
                over[row] |= count == self._choice.episode_steps
                count = 0 if over[row] else count
        elif not marked and self._follows:
            over |= self._jumps()
            self.notes.append("time limits are not marked: episodes end where the observations jump")
        elif not marked:
            raise UsageError(
                "there are neither timeouts nor next_observations that show where episodes end",
                where=self.path,
                remedy="pass the number of steps of a full episode with --episode-steps",
            )
        over[-1] = True
        return np.flatnonzero(over) + 1

    def _jumps(self) -> np.ndarray:
        """(N,) bool: rows whose next observation differs from the observation of the next row."""
        result = np.zeros(self._steps, bool)
        for begin in range(0, self._steps - 1, ROWS_AT_ONCE):
            end = min(begin + ROWS_AT_ONCE, self._steps - 1)
            following = self._file.read("next_observations", begin, end)
            rows = self._file.read("observations", begin + 1, end + 1)
            result[begin:end] = ~np.isclose(following, rows, rtol=1e-5, atol=1e-6).all(axis=1)
        return result
