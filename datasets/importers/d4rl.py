"""D4RL-style flat HDF5 files as a source: rows of `observations` and `actions`, cut where episodes end.

An episode ends at a row that `terminals` or `timeouts` mark, and where `next_observations` show that the next
row is another one's first. Timeouts that mark nothing are none. After the last step of an episode is seen

- its next observation, unless that is the next episode's first row: then a reset was recorded, not an end;
- the next row, where a terminal step does not end the trajectory, as in files that mark every step at a goal;
- nothing otherwise.

An environment that resets itself may record, as the first row of an episode, how it got from the last state
of the one before to a new start. Such rows are no steps; a note counts those that look so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cog.core.bounds import refuse_below
from cog.datasets.importers.foreign.actions import continuous
from cog.datasets.importers.foreign.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.source import (
    OTHER_MARK,
    Following,
    ImportOptions,
    LastFrame,
    Recording,
    as_flags,
    check_finite,
    check_following,
    robot_facts,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

TAKEN = {"observations", "next_observations", "actions", "rewards", "terminals", "timeouts"}
ROWS_AT_ONCE = 65536
USUAL = 0.95  # quantile of the changes from row to row
JUMP = 5.0  # times the usual change, in half of all components: no step, but another episode
STEP = 2.0  # times the largest change within episodes, in any component: beyond it lies another episode
GUESS = "pass the number of steps of a full episode with --episode-steps"


@dataclass(frozen=True)
class D4RLOptions(ImportOptions):
    """What to take from a flat file."""

    format: ClassVar[str] = "d4rl"

    last_frame: LastFrame = "next"
    """Last actions that no observation follows in the source: drop them, or repeat the frame before them."""
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
        self._following = Following(choice.last_frame)
        with self._file.closed_on_error():
            arrays = self._file.arrays()
            self._steps = self._file.length("actions")
            if self._steps == 0:
                raise DataError(Problem(path, "actions", "must hold at least one step, found none", ANOTHER))
            self._follows = "next_observations" in arrays
            self._file.length("observations")  # refuses a file without them
            kind, shape = arrays["observations"]
            for field in sorted((TAKEN - {"actions", "observations"}) & arrays.keys()):
                self._check_rows(field, self._file.length(field))
            if len(shape) not in (1, 2) or kind.kind not in "fiu":
                rule = f"must be states (rows, S) of numbers, found {kind} of shape {shape}"
                raise DataError(Problem(path, "observations", rule, "write images with cog.DatasetWriter"))
            key = choice.success
            if key is not None and ">" not in key and key not in arrays:
                have = ", ".join(arrays)
                raise UsageError(
                    f"there is no array '{key}' that marks success; there are: {have}",
                    where=path,
                    remedy=OTHER_MARK,
                )
            self.cameras: dict[str, str] = {}
            self.environment = {"id": "unknown", **robot_facts(self.cameras, {"observations": shape})}
            self._rewarded = "rewards" in arrays
            self._terminals = self._flags("terminals")
            self._timeouts = self._flags("timeouts")
            extra = sorted(arrays.keys() - TAKEN - {str(choice.success)})
            self._notes = [f"arrays not taken: {', '.join(extra)}"] if extra else []
            self._whole = shape[0] != self._steps  # T + 1 observations an episode
            self._ends = np.flatnonzero(self._over()) + 1
            self._begins = np.concatenate([[0], self._ends[:-1]])
            if self._whole:
                self._check_rows("observations", shape[0], len(self._ends))
            self._goes_on = self._going_on()
            joined = self._joined()
            self._reset = joined & ~self._goes_on
            self._tell_of_resets(np.flatnonzero(joined) + 1)
            if self._reset.any():
                self._notes.append(
                    f"{self._reset.sum()} last next observations were not taken: they are the next episode's "
                    "first"
                )

    @property
    def notes(self) -> list[str]:
        return [*self._notes, *self._following.notes()]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends)

    def actions(self, episode: int) -> np.ndarray:
        return continuous(self.path, "actions", self._part("actions", episode), episode)

    def read(self, episode: int) -> Recording:
        success, end = self._choice.success, int(self._ends[episode]) - 1
        rows, last = self._observations(episode)
        return Recording(
            name=f"rows {self._begins[episode]} to {end}",
            actions=self.actions(episode),
            closed=last is not None,
            vectors=rows if last is None else np.concatenate([rows, last]),
            rewards=self._part("rewards", episode).reshape(-1) if self._rewarded else None,
            success=None if success is None or ">" in success else self._part(success, episode).reshape(-1),
            terminated=bool(self._terminals[end]),
            truncated=not self._terminals[end],
        )

    def _observations(self, episode: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The observations (T, S) before each step, and the one after the last, (1, S), if there is one."""
        begin, end = int(self._begins[episode]), int(self._ends[episode])
        if self._whole:
            rows = self._rows("observations", begin + episode, end + episode + 1)
            return rows[:-1], rows[-1:]
        rows = self._rows("observations", begin, end)
        if self._follows:
            following, field = self._rows("next_observations", begin, end), "next_observations"
            fits = self._following.fits(
                episode, lambda: check_following(self.path, field, rows, following, episode)
            )
            if fits and not self._reset[episode]:
                return rows, following[-1:]
        if self._goes_on[episode]:
            return rows, self._rows("observations", end, end + 1)
        return rows, None

    def _check_rows(self, field: str, found: int, episodes: int = 0) -> None:
        """Refuse an array that has not one row for each action, and one more for each of `episodes`."""
        if found != self._steps + episodes:
            each = f", or {self._steps + episodes} with those after the last actions" if episodes else ""
            rule = f"must have one row for each of {self._steps} actions{each}, found {found}"
            raise DataError(Problem(self.path, field, rule, ANOTHER))

    def _part(self, field: str, episode: int) -> np.ndarray:
        """The rows of one episode."""
        return self._file.read(field, int(self._begins[episode]), int(self._ends[episode]))

    def _rows(self, field: str, begin: int, end: int) -> np.ndarray:
        """Rows of observations, (rows, S); one number each is S = 1."""
        rows = self._file.read(field, begin, end)
        return rows[:, None] if rows.ndim == 1 else rows

    def _flags(self, field: str) -> np.ndarray:
        if field not in self._file:
            return np.zeros(self._steps, bool)
        return as_flags(self.path, field, self._file.read(field))

    def _over(self) -> np.ndarray:
        """(N,) bool: the last row of each episode.

        Raises:
            UsageError: nothing marks the ends, or not all of them.
        """
        over = self._terminals | self._timeouts
        if self._choice.episode_steps is not None:
            count = 0
            for row in range(self._steps):
                count += 1
                over[row] |= count == self._choice.episode_steps
                count = 0 if over[row] else count
        else:
            if self._follows and not self._whole:
                over |= self._unmarked(over)
            elif not (self._timeouts.any() or self._terminals[-1]):
                what = (
                    "there are no timeouts that mark where episodes end, and no next_observations to show it"
                )
                raise UsageError(what, where=self.path, remedy=GUESS)
            if not (self._whole or (self._follows and over.any())):
                self._refuse_jumps(over)
        over[-1] = True
        return over

    def _unmarked(self, over: np.ndarray) -> np.ndarray:
        """(N,) bool: rows that no flag marks and whose next observation is not the next row.

        Raises:
            DataError: they are more than half of the rows, so that the two do not belong together.
        """
        result = np.zeros(self._steps, bool)
        for begin in range(0, self._steps - 1, ROWS_AT_ONCE):
            end = min(begin + ROWS_AT_ONCE, self._steps - 1)
            following = self._rows("next_observations", begin, end)
            rows = self._rows("observations", begin + 1, end + 1)
            if following.shape != rows.shape:
                check_following(self.path, "next_observations", rows, following, 0)
            check_finite(self.path, "next_observations", following, None, begin)
            check_finite(self.path, "observations", rows, None, begin + 1)
            result[begin:end] = ~np.isclose(following, rows, rtol=1e-5, atol=1e-6).all(axis=1)
        result &= ~over
        found = int(result.sum())
        if 2 * found > np.count_nonzero(~over):
            first = int(np.argmax(result))
            rule = f"must be the observation of the step after; it is not at {found} rows, row {first} first"
            number = int(np.count_nonzero(over[:first]))
            remedy = f"{GUESS}, and --last-frame drop or repeat"
            raise DataError(Problem(self.path, "next_observations", rule, remedy, number))
        if found:
            self._notes.append(f"{found} ends are not marked: episodes end where the observations jump")
        return result

    def _changes(self) -> Iterator[tuple[int, np.ndarray]]:
        """Blocks of rows: the first row, and what changes from each row to the next, (rows, S)."""
        for begin in range(0, self._steps - 1, ROWS_AT_ONCE):
            rows = self._rows("observations", begin, min(begin + ROWS_AT_ONCE, self._steps - 1) + 1)
            yield begin, np.abs(np.diff(rows.astype(np.float64), axis=0))

    def _refuse_jumps(self, over: np.ndarray) -> None:
        """Refuse a file in which observations jump at rows that no flag marks.

        Raises:
            UsageError: naming the first such row.
        """
        usual: np.ndarray | None = None
        found, first = 0, 0
        for begin, changes in self._changes():
            unmarked = ~over[begin : begin + len(changes)]
            if not unmarked.any():
                continue
            usual = np.quantile(changes[unmarked], USUAL, axis=0) if usual is None else usual
            moving = usual > 0
            if not moving.any():
                return
            apart = (changes[:, moving] > JUMP * usual[moving]).mean(axis=1) >= 0.5
            rows = begin + np.flatnonzero(apart & unmarked)
            first = int(rows[0]) if len(rows) and not found else first
            found += len(rows)
        if found:
            what = f"the observations jump after {found} rows that no flag marks as an end, row {first} first"
            raise UsageError(
                what, where=self.path, remedy=f"{GUESS}; any larger number keeps the flags alone"
            )

    def _going_on(self) -> np.ndarray:
        """(E,) bool: whether an episode ends at a terminal row after which the trajectory goes on.

        It does so only in files whose timeouts mark the ends of trajectories, and by a change that is much
        larger in no component than those within episodes.
        """
        last = self._ends - 1
        result = self._terminals[last] & ~self._timeouts[last] & (self._ends < self._steps)
        if self._whole or not (self._timeouts.any() and result.any()):
            return np.zeros(len(last), bool)
        inside = np.ones(self._steps, bool)
        inside[last] = False
        reach, after = np.zeros(0), {}
        for begin, changes in self._changes():
            within = inside[begin : begin + len(changes)]
            most = changes.max(axis=0, where=within[:, None], initial=0.0)
            reach = np.maximum(reach, most) if len(reach) else most
            for row in last[result & (begin <= last) & (last < begin + len(changes))].tolist():
                after[row] = changes[row - begin]
        result &= [row in after and bool((after[row] <= STEP * reach).all()) for row in last.tolist()]
        if result.any():
            self._notes.append(
                f"{result.sum()} terminal rows do not end their trajectory: it goes on as another episode"
            )
        return result

    def _joined(self) -> np.ndarray:
        """(E,) bool: whether the last next observation is the first row of the next episode."""
        result = np.zeros(len(self._ends), bool)
        if not self._follows or self._whole:
            return result
        for number, end in enumerate(self._ends[:-1].tolist()):
            following = self._rows("next_observations", end - 1, end)
            result[number] = np.array_equal(following, self._rows("observations", end, end + 1))
        return result

    def _tell_of_resets(self, joined: np.ndarray) -> None:
        """Note first rows that look as if they lead from the last state of the episode before to a new start.

        `joined` (n,) are the episodes that may begin so.
        Their observation is the last next observation before, they earn nothing, and their change lies beyond
        `STEP` times the largest other one in some component. They may be steps as well, and are kept.
        """
        if not len(joined):
            return
        firsts = self._begins[joined]
        outside = np.zeros(self._steps, bool)
        outside[firsts] = outside[self._ends - 1] = True
        own: dict[int, np.ndarray] = {}
        reach: np.ndarray | float = 0.0
        for begin in range(0, self._steps, ROWS_AT_ONCE):
            end = min(begin + ROWS_AT_ONCE, self._steps)
            rows, following = (
                self._rows("observations", begin, end),
                self._rows("next_observations", begin, end),
            )
            changes = np.abs(following.astype(np.float64) - rows)
            reach = np.maximum(reach, changes.max(0, where=~outside[begin:end, None], initial=0.0))
            own |= {row: changes[row - begin] for row in firsts[(begin <= firsts) & (firsts < end)].tolist()}
        alike = 0
        for number, row in zip(joined.tolist(), firsts.tolist(), strict=True):
            paid = self._rewarded and bool(np.any(self._file.read("rewards", row, row + 1)))
            alone = self._ends[number] - row == 1
            alike += not paid and not alone and bool((own[row] > STEP * reach).any()) and bool(np.any(reach))
        if alike:
            self._notes.append(
                f"{alike} first rows of episodes begin where the one before ended and change further than "
                "any other row: if an environment that resets itself recorded them, they are no steps; leave "
                "them out of the file"
            )
