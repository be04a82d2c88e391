"""robomimic HDF5 files as a source: `data/demo_N` with `actions`, `obs`, often `next_obs` and `rewards`."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cog.datasets.importers.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.source import (
    LastFrame,
    ObservationOptions,
    Recording,
    check_following,
    choose,
    robot_facts,
    untaken,
    with_last,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

TAKEN = {"actions", "obs", "next_obs", "rewards"}


@dataclass(frozen=True)
class RobomimicOptions(ObservationOptions):
    """What to take from a robomimic file."""

    format: ClassVar[str] = "robomimic"

    last_frame: LastFrame = "next"
    """After the last action: the source's next observation, or drop that action, or repeat the last frame."""
    mask: str | None = None
    """Name of a subset of the episodes. Default: all episodes."""

    def open(self, path: Path) -> "RobomimicSource":
        return RobomimicSource(path, self)


class RobomimicSource:
    """A robomimic file, open; its episodes in the order of their numbers."""

    def __init__(self, path: Path, choice: RobomimicOptions) -> None:
        """Open the file and choose what to take.

        Raises:
            UsageError: a chosen key or mask does not exist.
            DataError: this is not a robomimic file.
        """
        self.path, self.files = path, [path]
        self._file, self._choice = ForeignFile(path), choice
        with self._file.closed_on_error():
            self._demos = self._list()
            first = f"data/{self._demos[0]}"
            images, vectors = [], []
            observed = self._file.arrays(f"{first}/obs")
            for key, (kind, shape) in observed.items():
                if kind == np.uint8 and len(shape) == 4 and shape[3] == 3:
                    images.append(key)
                elif kind.kind in "fiu" and len(shape) == 2:
                    vectors.append(key)
            self._image, self._vectors = choose(path, choice, images, vectors)
            arguments = self._arguments()
            self.environment = {
                "id": str(arguments.get("env_name", "unknown")),
                "env_args": arguments,
                **robot_facts(self._image, {key: observed[key][1] for key in self._vectors}),
            }
            self.notes = untaken(observed, [*self._vectors, *([self._image] if self._image else [])])
            extra = sorted(set(self._file.names(first)) - TAKEN - {str(choice.success)})
            if extra:
                self.notes.append(f"arrays not taken: {', '.join(extra)}")
            masks = [name for name in self._file.names("mask") if name != choice.mask]
            if masks:
                self.notes.append(f"masks not taken (--mask): {', '.join(masks)}")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._demos)

    def actions(self, episode: int) -> np.ndarray:
        return self._file.read(f"data/{self._demos[episode]}/actions")

    def read(self, episode: int) -> Recording:
        name = self._demos[episode]
        place = f"data/{name}"
        actions = self.actions(episode)
        closed = self._choice.last_frame == "repeat" or (
            self._choice.last_frame == "next" and f"{place}/next_obs" in self._file
        )
        columns = [self._rows(place, key, len(actions), episode) for key in self._vectors]
        images = None if self._image is None else self._pictures(place, self._image, len(actions), episode)
        rewards = f"{place}/rewards"
        success = self._choice.success
        return Recording(
            name=name,
            actions=actions,
            closed=closed,
            images=images,
            vectors=np.concatenate(columns, axis=1) if columns else None,
            rewards=self._file.read(rewards).reshape(-1) if rewards in self._file else None,
            success=None if success is None or ">" in success else self._steps(place, success),
            truncated=True,  # the file does not say why an episode ends
        )

    def _list(self) -> list[str]:
        """Names of the chosen episodes."""
        demos = [name for name in self._file.names("data") if re.fullmatch(r"demo_\d+", name)]
        if self._choice.mask is not None:
            masks = self._file.names("mask")
            if self._choice.mask not in masks:
                have = ", ".join(masks) or "none"
                raise UsageError(
                    f"there is no mask '{self._choice.mask}'; there are: {have}", where=self.path
                )
            chosen = self._file.texts(f"mask/{self._choice.mask}")
            for name in chosen:
                if name not in demos:
                    rule = f"names '{name}', which is not in the file"
                    raise DataError(Problem(self.path, f"mask/{self._choice.mask}", rule, ANOTHER))
            demos = chosen
        if not demos:
            rule = "must contain episodes demo_0, demo_1, ...; this is not a robomimic file"
            raise DataError(Problem(self.path, "data", rule, ANOTHER))
        return sorted(demos, key=lambda name: int(name.removeprefix("demo_")))

    def _arguments(self) -> dict[str, Any]:
        """The file's description of its environment, as JSON."""
        text = self._file.attribute("data", "env_args")
        try:
            value = json.loads(text) if isinstance(text, str | bytes) else {}
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            rule = f"must be JSON ({error})"
            raise DataError(Problem(self.path, "data.attrs[env_args]", rule, ANOTHER)) from error
        return value if isinstance(value, dict) else {}

    def _rows(self, place: str, key: str, steps: int, episode: int) -> np.ndarray:
        """A vector observation (T, P), or (T + 1, P) including the one after the last action."""
        rows = self._checked(f"{place}/obs/{key}", steps, episode)
        following = None
        if self._choice.last_frame == "next" and f"{place}/next_obs" in self._file:
            following = self._checked(f"{place}/next_obs/{key}", steps, episode)
            check_following(self.path, f"{place}/next_obs/{key}", rows, following, episode)
        return with_last(rows, following, self._choice.last_frame)

    def _pictures(self, place: str, key: str, steps: int, episode: int) -> Iterator[np.ndarray]:
        """The pictures of an episode; only the last one or two next observations are read."""
        rows = self._checked(f"{place}/obs/{key}", steps, episode)
        following = None
        if self._choice.last_frame == "next" and f"{place}/next_obs" in self._file:
            name = f"{place}/next_obs/{key}"
            following = self._file.read(name, max(0, steps - 2), None)
            if self._file.length(name) != steps:
                rule = f"must have one row for each of {steps} actions, found {self._file.length(name)}"
                raise DataError(Problem(self.path, name, rule, ANOTHER, episode))
            check_following(self.path, name, rows[max(0, steps - 2) :], following, episode)
        return iter(with_last(rows, following, self._choice.last_frame))

    def _checked(self, name: str, steps: int, episode: int) -> np.ndarray:
        """An array with one row for each action."""
        rows = self._file.read(name)
        if len(rows) != steps:
            rule = f"must have one row for each of {steps} actions, found {len(rows)}"
            raise DataError(Problem(self.path, name, rule, ANOTHER, episode))
        return rows

    def _steps(self, place: str, key: str) -> np.ndarray:
        """The chosen success entries."""
        if f"{place}/{key}" not in self._file:
            have = ", ".join(self._file.names(place))
            raise UsageError(
                f"{place} has no array '{key}' that marks success; it has: {have}", where=self.path
            )
        return self._file.read(f"{place}/{key}").reshape(-1)
