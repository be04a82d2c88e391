"""Minari datasets as a source: a folder with `metadata.json` and `main_data.hdf5`, one group per episode."""

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cog.core.files import read_json
from cog.datasets.importers.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.source import ObservationOptions, Recording, choose, robot_facts, untaken
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, UsageError

METADATA, MAIN = "metadata.json", "main_data.hdf5"
SOLE = "observations"  # key of observations that are not a dictionary
LOSSLESS = "write it again with jpeg_encoding=False; JPEG does not preserve the recorded images"


@dataclass(frozen=True)
class MinariOptions(ObservationOptions):
    """What to take from a Minari dataset."""

    format: ClassVar[str] = "minari"

    def open(self, path: Path) -> "MinariSource":
        return MinariSource(path, self)


class MinariSource:
    """A Minari dataset, open; it keeps T + 1 observations and the reason why each episode ended."""

    def __init__(self, path: Path, choice: MinariOptions) -> None:
        """Open the folder (the dataset's, or its `data`) and choose what to take.

        Raises:
            UsageError: a chosen key does not exist.
            DataError: this is not a Minari dataset, or it is stored in an unsupported form.
        """
        self.path = path
        folder = path / "data" if (path / "data").is_dir() else path
        try:
            metadata = read_json(folder / METADATA, "the metadata of a Minari dataset")
        except CogError as error:
            raise DataError(Problem(path, METADATA, str(error), ANOTHER)) from error
        form = metadata.get("data_format")
        if form != "hdf5":
            rule = f"must be 'hdf5', found {form!r}"
            remedy = "write it again with data_format='hdf5'"
            raise DataError(Problem(folder / METADATA, "data_format", rule, remedy))
        self.files = [folder / METADATA, folder / MAIN]
        self._file, self._choice = ForeignFile(folder / MAIN), choice
        with self._file.closed_on_error():
            self._episodes = self._list(metadata)
            first = self._episodes[0]
            images, vectors, encoded, others = self._classify(first, _picture_keys(metadata))
            if choice.image in encoded or (choice.image is None and encoded and not images):
                rule = "holds images as JPEG"
                key = choice.image or encoded[0]
                raise DataError(Problem(folder / MAIN, f"{first}/{self._place(key)}", rule, LOSSLESS))
            self._image, self._vectors = choose(path, choice, images, vectors)
            names = [*images, *vectors, *encoded, *others]
            self.notes = untaken(names, [*self._vectors, *([self._image] if self._image else [])])
            infos = [f"infos/{key}" for key in self._file.arrays(f"{first}/infos")]
            infos = [key for key in infos if key != choice.success]
            if infos:
                self.notes.append(f"arrays not taken: {', '.join(infos)}")
            shapes = {
                key: self._file.read(f"{first}/{self._place(key)}", 0, 1).shape for key in self._vectors
            }
            self.environment = {
                "id": str(metadata.get("dataset_id", "unknown")),
                **robot_facts(self._image, shapes),
            }

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._episodes)

    def actions(self, episode: int) -> np.ndarray:
        field = f"{self._episodes[episode]}/actions"
        actions = self._file.read(field)
        if actions.ndim != 2 or actions.dtype.kind != "f":
            rule = f"must be continuous vectors (T, A), found {actions.dtype} of shape {actions.shape}"
            remedy = "import data with a Box of one axis as its action space"
            raise DataError(Problem(self.files[1], field, rule, remedy, episode))
        return actions

    def read(self, episode: int) -> Recording:
        name = self._episodes[episode]
        actions = self.actions(episode)
        columns = [self._file.read(f"{name}/{self._place(key)}") for key in self._vectors]
        images = None if self._image is None else self._file.read(f"{name}/{self._place(self._image)}")
        seed = self._file.attribute(name, "seed")
        return Recording(
            name=name,
            actions=actions,
            closed=True,
            images=images,
            vectors=np.concatenate(columns, axis=1) if columns else None,
            rewards=self._file.read(f"{name}/rewards").reshape(-1),
            success=self._success(name, len(actions)),
            terminated=bool(self._file.read(f"{name}/terminations")[-1]),
            truncated=bool(self._file.read(f"{name}/truncations")[-1]),
            seed=int(seed) if isinstance(seed, int | np.integer) and 0 <= seed < 2**63 else 0,
        )

    def _list(self, metadata: Mapping[str, object]) -> list[str]:
        names = [name for name in self._file.names("") if re.fullmatch(r"episode_\d+", name)]
        total = metadata.get("total_episodes")
        if not names or len(names) != total:
            rule = f"must contain the {total} episodes of {METADATA}, found {len(names)}"
            raise DataError(Problem(self._file.path, "episode_*", rule, ANOTHER))
        return sorted(names, key=lambda name: int(name.removeprefix("episode_")))

    def _classify(self, episode: str, pictures: set[str]) -> tuple[list[str], ...]:
        """Keys of the observations that are images, vectors, encoded images and others."""
        kinds: tuple[list[str], ...] = ([], [], [], [])
        arrays = self._file.arrays(f"{episode}/{SOLE}")
        if not arrays:
            arrays = {key: value for key, value in self._file.arrays(episode).items() if key == SOLE}
        for key, (kind, shape) in arrays.items():
            if kind == np.uint8 and len(shape) == 4 and shape[3] == 3:
                kinds[0].append(key)
            elif key in pictures and (kind.kind == "O" or (kind == np.uint8 and len(shape) == 2)):
                kinds[2].append(key)
            elif kind.kind in "fiu" and len(shape) == 2:
                kinds[1].append(key)
            else:
                kinds[3].append(key)
        return kinds

    def _place(self, key: str) -> str:
        """Path, within an episode, of the observations of a key."""
        alone = key == SOLE and not self._file.names(f"{self._episodes[0]}/{SOLE}")
        return SOLE if alone else f"{SOLE}/{key}"

    def _success(self, name: str, steps: int) -> np.ndarray | None:
        """The chosen success entries after each step; those of `infos` may begin at the reset."""
        key = self._choice.success
        if key is None or ">" in key:
            return None
        if f"{name}/{key}" not in self._file:
            have = ", ".join(self._file.arrays(name))
            raise UsageError(
                f"{name} has no array '{key}' that marks success; it has: {have}", where=self.path
            )
        values = self._file.read(f"{name}/{key}").reshape(-1)
        return values[1:] if len(values) == steps + 1 else values


def _picture_keys(metadata: Mapping[str, object]) -> set[str]:
    """Keys of the observations that the metadata describe as pictures: bytes on three axes."""
    found: set[str] = set()

    def visit(space: object, key: str) -> None:
        if not isinstance(space, dict):
            return
        below = space.get("subspaces")
        for name, subspace in below.items() if isinstance(below, dict) else ():
            visit(subspace, f"{key}/{name}" if key else name)
        shape = space.get("shape")
        if space.get("dtype") == "uint8" and isinstance(shape, list) and len(shape) == 3:
            found.add(key or SOLE)

    with contextlib.suppress(ValueError, RecursionError):  # when the metadata name an environment instead
        visit(json.loads(str(metadata.get("observation_space"))), "")
    return found
