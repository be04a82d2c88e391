"""Diffusion Policy's replay buffers as a source: a Zarr store with `data/...` and `meta/episode_ends`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cog.datasets.importers.foreign.actions import continuous
from cog.datasets.importers.foreign.chunks import ZarrStore
from cog.datasets.importers.foreign.hdf5 import ANOTHER
from cog.datasets.importers.foreign.observed import Taken, as_columns
from cog.datasets.importers.held import Held
from cog.datasets.importers.source import OTHER_MARK, LastFrame, ObservationOptions, Recording, ended_last
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

DATA, ENDS, REWARD = "data", "meta/episode_ends", "reward"


@dataclass(frozen=True)
class DiffusionPolicyOptions(ObservationOptions):
    """What to take from a replay buffer of Diffusion Policy."""

    format: ClassVar[str] = "diffusion_policy"

    action: str = "action"
    """Key of the actions."""
    last_frame: LastFrame = "next"
    """After the last action, which no observation follows here: drop it, or repeat the last frame."""
    terminated: str | None = None
    """Key of flags that are 1 where the environment ended the episode. Default: none did."""

    def open(self, path: Path) -> "DiffusionPolicySource":
        return DiffusionPolicySource(path, self)


class DiffusionPolicySource:
    """A replay buffer, open; each row holds an observation and the action that was taken there."""

    def __init__(self, path: Path, choice: DiffusionPolicyOptions) -> None:
        """Open the store and choose what to take.

        Raises:
            UsageError: a chosen key does not exist.
            DataError: this is not a replay buffer.
            CogError: the package `zarr` is not installed.
        """
        self.path, self._choice = path, choice
        self.environment = {"id": "unknown"}
        self._store = ZarrStore(path, ENDS)
        try:
            arrays = self._store.arrays(DATA)
            have = ", ".join(arrays) or "none"
            marks = ("actions", choice.action), ("success", self._mark), ("ends", choice.terminated)
            for what, key in marks:
                if key is not None and key not in arrays:
                    rule = f"there is no array '{key}' of {what}; there are: {have}"
                    raise UsageError(rule, where=path, remedy=OTHER_MARK if what == "success" else None)
            self._notes: list[str] = []
            self._ends = self._read_ends()
            facts = {choice.action, REWARD, self._mark, choice.terminated}
            observed = {key: value for key, value in arrays.items() if key not in facts}
            self._taken = Taken(path, choice, Held(path, {DATA: observed}))
            self.cameras = self._taken.cameras
            self.environment |= self._taken.robot
            self._rewarded = REWARD in arrays
            kept = [choice.action, *self._taken.keys, *([REWARD] if self._rewarded else [])]
            kept += [] if choice.terminated is None else [choice.terminated]
            fields = [f"{DATA}/{key}" for key in kept]
            self.files = self._store.files([*fields, ENDS])
            for field in fields:
                self._check(field)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def notes(self) -> list[str]:
        return [*self._notes, *self._taken.notes]

    def actions(self, episode: int) -> np.ndarray:
        key = self._choice.action
        return continuous(self.path, f"{DATA}/{key}", as_columns(self._rows(key, episode)), episode)

    def read(self, episode: int) -> Recording:
        def rows(key: str) -> np.ndarray:
            return self._rows(key, episode)

        named, ended = self._choice.terminated, False
        if named is not None:
            ended = ended_last(self.path, f"{DATA}/{named}", rows(named), episode)
        return Recording(
            name=f"rows {self._ends[episode]} to {self._ends[episode + 1] - 1}",
            actions=self.actions(episode),
            closed=False,
            images=self._taken.pictures(rows),
            cameras=self._taken.further(rows),
            vectors=self._taken.joined(rows),
            rewards=rows(REWARD).reshape(-1) if self._rewarded else None,
            success=None if self._mark is None else rows(self._mark).reshape(-1),
            terminated=ended,
            truncated=not ended,  # the store itself does not say why an episode ends
        )

    @property
    def _mark(self) -> str | None:
        """Key of the array that marks success, if one does."""
        key = self._choice.success
        return None if key is None or ">" in key else key

    def _rows(self, key: str, episode: int) -> np.ndarray:
        return self._store.read(f"{DATA}/{key}", int(self._ends[episode]), int(self._ends[episode + 1]))

    def _read_ends(self) -> np.ndarray:
        """The first row of every episode, and the row after the last."""
        ends = self._store.read(ENDS)
        if ends.ndim != 1 or ends.dtype.kind not in "iu" or not len(ends):
            rule = f"must be the row after every episode, found {ends.dtype} of shape {ends.shape}"
            raise DataError(Problem(self.path, ENDS, rule, ANOTHER))
        found = np.concatenate([[0], ends.astype(np.int64)])
        falls = np.flatnonzero(np.diff(found) < 0)
        if len(falls):
            rule = f"must not fall, found {found[falls[0] + 1]} after {found[falls[0]]}"
            raise DataError(Problem(self.path, ENDS, rule, ANOTHER, int(falls[0])))
        return found

    def _check(self, field: str) -> None:
        """Refuse an array with fewer rows than the episodes; say what a partly stored one reads as."""
        rows, wanted = self._store.length(field), int(self._ends[-1])
        if rows < wanted:
            rule = f"must have the {wanted} rows of the episodes, found {rows}"
            raise DataError(Problem(self.path, field, rule, ANOTHER))
        if rows > wanted and field == f"{DATA}/{self._choice.action}":
            self._notes.append(
                f"{rows - wanted} rows after the last episode belong to none and were left out"
            )
        missing = self._store.unstored(field)
        if missing:
            self._notes.append(
                f"{missing} chunks of {field} are not stored: they read as one constant, which is right only "
                "if the copy of the store is complete"
            )
