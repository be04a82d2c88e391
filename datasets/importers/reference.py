"""The files of the original COG code as a source: an npy file of pickled dictionaries, one per trajectory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cog.datasets.importers.foreign.actions import continuous
from cog.datasets.importers.foreign.hdf5 import ANOTHER
from cog.datasets.importers.foreign.observed import Taken, as_columns
from cog.datasets.importers.foreign.pickled import plain, read_objects
from cog.datasets.importers.held import Held
from cog.datasets.importers.pictures import Array, Declared
from cog.datasets.importers.source import (
    OTHER_MARK,
    Following,
    LastFrame,
    ObservationOptions,
    Recording,
    check_following,
    ended_last,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

OBSERVATIONS, FOLLOWING, ACTIONS = "observations", "next_observations", "actions"
REWARDS, TERMINALS, INFOS = "rewards", "terminals", "env_infos"
PICTURES = "image"
FLAT: Array = (np.dtype(float), ())
NEEDED = (OBSERVATIONS, ACTIONS)
TAKEN = {OBSERVATIONS, FOLLOWING, ACTIONS, REWARDS, TERMINALS}


@dataclass(frozen=True)
class ReferenceOptions(ObservationOptions):
    """What to take from a file of the original code."""

    format: ClassVar[str] = "reference"

    success: str | None = None
    """What marks success: reward>NUMBER, or env_infos/KEY, a number that is positive at success."""
    last_frame: LastFrame = "next"
    """Last actions that no observation follows in the source: drop them, or repeat the frame before them."""

    def open(self, path: Path) -> "ReferenceSource":
        return ReferenceSource(path, self)


class ReferenceSource:
    """A file of the original code, in memory as a whole, since a pickle cannot be read in parts."""

    def __init__(self, path: Path, choice: ReferenceOptions) -> None:
        """Read the file and choose what to take.

        Raises:
            UsageError: a chosen key does not exist.
            DataError: this is no such file, or it names more than plain data need.
        """
        self.path, self.files, self._choice = path, [path], choice
        self._following = Following(choice.last_frame)
        self._episodes = [self._trajectory(number, value) for number, value in enumerate(read_objects(path))]
        observed = {
            _name(k): _shapes(one[OBSERVATIONS]) for k, one in enumerate(self._episodes) if one[ACTIONS]
        }
        if not observed:
            raise DataError(Problem(path, ACTIONS, "no trajectory has a step", ANOTHER))
        held = Held(path, observed, label=lambda key: f"{OBSERVATIONS}/{key}")
        row = held.arrays.get(PICTURES, FLAT)[1]
        flat = {PICTURES: Declared("a flattened picture")} if len(row) == 2 else {}
        self._taken = Taken(path, choice, held, flat)
        self.cameras = self._taken.cameras
        self.environment = {"id": "unknown", **self._taken.robot}
        rewarded = sum(bool(np.any(self._column(REWARDS, one) != 0)) for one in self._episodes)
        self._notes: list[str] = []
        if rewarded:
            self._notes.append(
                f"{rewarded} of {len(self._episodes)} episodes hold rewards; if this is prior data, they are "
                "of another task, and `cog relabel --rule zero` does to them what the original code does"
            )

    def close(self) -> None:
        """Nothing stays open."""

    def __len__(self) -> int:
        return len(self._episodes)

    @property
    def notes(self) -> list[str]:
        return [*self._notes, *self._following.notes(), *self._taken.notes]

    def actions(self, episode: int) -> np.ndarray:
        rows = [plain(value) for value in self._episodes[episode][ACTIONS]]
        if not rows:
            return np.zeros((0, 0))
        return continuous(self.path, ACTIONS, as_columns(self._stack(episode, ACTIONS, rows)), episode)

    def read(self, episode: int) -> Recording:
        one = self._episodes[episode]
        follows = FOLLOWING in one and self._following.fits(
            episode, lambda: [self._observed(episode, one, key, True) for key in self._taken.keys]
        )

        def observed(key: str) -> np.ndarray:
            return self._observed(episode, one, key, follows)

        flags = self._column(TERMINALS, one)  # zeros where there are none
        terminal = ended_last(self.path, TERMINALS, flags, episode)
        return Recording(
            name=_name(episode),
            actions=self.actions(episode),
            closed=follows,
            images=self._taken.pictures(observed),
            cameras=self._taken.further(observed),
            vectors=self._taken.joined(observed),
            rewards=self._column(REWARDS, one) if REWARDS in one else None,
            success=self._success(episode, one),
            terminated=terminal,
            truncated=not terminal,
        )

    def _trajectory(self, number: int, value: Any) -> dict[str, list[Any]]:
        """One trajectory: lists of one length by name."""
        if not isinstance(value, dict) or any(name not in value for name in NEEDED):
            rule = "must be a dictionary with observations and actions, as the original code saves them"
            raise DataError(Problem(self.path, "", rule, ANOTHER, number))
        found = {}
        for name in (*sorted(TAKEN & value.keys()), *({INFOS} & value.keys())):
            rows = plain(value[name])
            if not isinstance(rows, list | tuple | np.ndarray) or len(rows) != len(plain(value[ACTIONS])):
                rule = f"must be a list with one entry for each of {len(plain(value[ACTIONS]))} actions"
                raise DataError(Problem(self.path, name, rule, ANOTHER, number))
            found[name] = list(rows)
        for name in {OBSERVATIONS, FOLLOWING} & found.keys():
            if not all(isinstance(row, dict) for row in found[name]):
                rule = "must hold a dictionary for every step"
                raise DataError(Problem(self.path, name, rule, ANOTHER, number))
        return found

    def _observed(self, number: int, one: dict[str, list[Any]], key: str, follows: bool) -> np.ndarray:
        """What one key observed, (T, ...), or (T + 1, ...) with what follows the last action."""
        rows = self._stack(number, f"{OBSERVATIONS}/{key}", list(_entries(one[OBSERVATIONS], key)))
        if not follows:
            return rows
        name = f"{FOLLOWING}/{key}"
        following = self._stack(number, name, list(_entries(one[FOLLOWING], key)))
        check_following(self.path, name, rows, following, number)
        return np.concatenate([rows, following[-1:]])

    def _success(self, number: int, one: dict[str, list[Any]]) -> np.ndarray | None:
        """The chosen success entries (T,)."""
        key = self._choice.success
        if key is None or ">" in key:
            return None
        group, _, name = key.partition("/")
        infos = one.get(INFOS, [])
        known = sorted({f"{INFOS}/{key}" for info in infos if isinstance(info, dict) for key in info})
        if group != INFOS or key not in known:
            have = ", ".join(known) or "none"
            what = f"{_name(number)} has no '{key}' that marks success; it has: {have}"
            raise UsageError(what, where=self.path, remedy=OTHER_MARK)
        entries = [info.get(name, 0) if isinstance(info, dict) else 0 for info in infos]
        return self._stack(number, key, [plain(entry) for entry in entries]).reshape(len(infos))

    def _column(self, name: str, one: dict[str, list[Any]]) -> np.ndarray:
        """One number a step (T,); zeros where the file has none."""
        values = [np.asarray(plain(value), np.float64).reshape(-1) for value in one.get(name, [])]
        return np.concatenate(values) if values else np.zeros(len(one[ACTIONS]))

    def _stack(self, number: int, field: str, rows: list[Any]) -> np.ndarray:
        """Entries of one shape as an array.

        Raises:
            DataError: an entry is missing, is no number, or has a shape of its own.
        """
        try:
            stacked = np.stack([np.asarray(row) for row in rows])
        except (ValueError, TypeError) as error:
            rule = f"must be numbers of one shape at every step ({error})"
            raise DataError(Problem(self.path, field, rule, ANOTHER, number)) from error
        if stacked.dtype.kind not in "fiub":
            rule = f"must be numbers at every step, found type {stacked.dtype}"
            raise DataError(Problem(self.path, field, rule, ANOTHER, number))
        return stacked


def _name(number: int) -> str:
    """The name of a trajectory; it has none of its own."""
    return f"trajectory {number}"


def _shapes(rows: list[Any]) -> dict[str, Array]:
    """Type and shape (1, ...) of every key of some dictionaries, from the first that has it."""
    found: dict[str, Array] = {}
    for row in rows:
        for key in row.keys() - found.keys():
            value = np.asarray(plain(row[key]))
            found[key] = value.dtype, (1, *value.shape)
    return {key: found[key] for key in dict.fromkeys(chain.from_iterable(rows))}


def _entries(rows: list[Any], key: str) -> Iterator[Any]:
    """One key of every dictionary; None where it is missing."""
    for row in rows:
        yield plain(row.get(key))
