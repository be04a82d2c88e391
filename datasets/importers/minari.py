"""Minari datasets as a source: a folder with `metadata.json`, and episodes in HDF5, Arrow or Parquet."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from cog.core.files import read_json
from cog.datasets.importers.folders.minari import (
    ENCODED,
    MAIN,
    METADATA,
    SOLE,
    Box,
    declared_bounds,
    open_storage,
    read_spaces,
)
from cog.datasets.importers.foreign.cameras import IMAGE, Conversions
from cog.datasets.importers.foreign.hdf5 import ANOTHER
from cog.datasets.importers.held import Held, counted
from cog.datasets.importers.pictures import Array, Declared, Observed, UnfitError, Verdict
from cog.datasets.importers.pictures import sort_observations as sort
from cog.datasets.importers.source import (
    OTHER_MARK,
    OURS,
    ObservationOptions,
    Recording,
    ended_last,
    exported_bounds,
    robot_facts,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, UsageError
from cog.signals.pictures import encoding

LOSSLESS = "write the dataset again with jpeg_encoding=False; JPEG keeps neither classes nor distances"


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
            UsageError: a chosen key does not exist, or holds no colour pictures.
            CogError: pyarrow is needed and not installed.
            DataError: this is not a Minari dataset, or it is stored in an unsupported form.
        """
        self.path, self._choice = path, choice
        folder = path / "data" if (path / "data").is_dir() else path
        if (folder / MAIN).is_file() and not (folder / METADATA).exists():
            rule = f"is missing: Minari before 0.5 kept the description in {MAIN}, a layout that is not read"
            remedy = "download it again with a newer Minari, or write its episodes with cog.DatasetWriter"
            raise DataError(Problem(folder, METADATA, rule, remedy))
        try:
            metadata = read_json(folder / METADATA, "the metadata of a Minari dataset")
        except CogError as error:
            raise DataError(Problem(path, METADATA, str(error), ANOTHER)) from error
        self._spaces = read_spaces(metadata)
        self._storage = open_storage(folder, metadata, self._spaces)
        self.files = self._storage.files
        try:
            self._choose(choice)
        except BaseException:
            self.close()
            raise
        if (declared := declared_bounds(metadata)) is not None:
            told = f"the action space declares bounds of {declared} (--action-low and --action-high)"
            self._notes.append(told)
        else:
            self._notes += exported_bounds(metadata.get(OURS))
        self.environment = {"id": str(metadata.get("dataset_id", "unknown")), **self._facts}

    @property
    def notes(self) -> list[str]:
        """What was not taken, and what was done to the pictures that were read so far."""
        return self._notes + self._conversions.notes

    def close(self) -> None:
        """Let go of the files."""
        self._storage.close()

    def __len__(self) -> int:
        return len(self._episodes)

    def actions(self, episode: int) -> np.ndarray:
        number = self._episodes[episode]
        actions = self._storage.read(number, "actions")
        if actions.dtype.kind == "f" and actions.ndim == 1:
            actions = actions[:, None]
        if actions.ndim != 2 or actions.dtype.kind != "f":
            field = f"{self._storage.episodes[number]}/actions"
            rule = f"must be continuous vectors (T, A), found {actions.dtype} of shape {actions.shape}"
            remedy = "import data with a Box of one axis as its action space"
            raise DataError(Problem(self._storage.where(number), field, rule, remedy, episode))
        return actions

    def read(self, episode: int) -> Recording:
        number, storage = self._episodes[episode], self._storage
        actions = self.actions(episode)
        columns = [storage.read(number, f"{SOLE}/{key}") for key in self._vectors]
        columns = [column.reshape(len(column), -1) for column in columns]
        seed = storage.seed(number)
        shown = {name: self._pictures(number, name) for name in self.cameras}
        return Recording(
            name=storage.episodes[number],
            actions=actions,
            closed=True,
            images=shown.pop(IMAGE, None),
            cameras=shown,
            vectors=np.concatenate(columns, axis=1) if columns else None,
            rewards=storage.read(number, "rewards").reshape(-1),
            success=self._success(number, len(actions)),
            terminated=ended_last(
                storage.where(number),
                f"{storage.episodes[number]}/terminations",
                storage.read(number, "terminations"),
                episode,
            ),
            truncated=ended_last(
                storage.where(number),
                f"{storage.episodes[number]}/truncations",
                storage.read(number, "truncations"),
                episode,
            ),
            seed=int(seed) if isinstance(seed, int | np.integer) and 0 <= seed < 2**63 else 0,
        )

    def _choose(self, choice: MinariOptions) -> None:
        """Decide which episodes and which arrays to take, and note what is left out."""
        storage = self._storage
        every = range(len(storage.episodes))
        self._episodes = [k for k in every if not storage.is_empty(k)]
        if not self._episodes:
            rule = "no episode has a step"
            raise DataError(Problem(self.path, "episodes", rule, "check that this is the right dataset"))
        observations = {storage.episodes[k]: storage.arrays(k, SOLE) for k in self._episodes}
        held = Held(self.path, observations, label=_label, said=list(self._spaces))
        observed = self._sort(held)
        images = observed.images(self.path, choice.image)
        self.cameras, self._vectors = held.choose(
            choice, images, observed.vectors, observed.numbers, observed.notes(())
        )
        self._facts = robot_facts(self.cameras, {key: held.arrays[key][1] for key in self._vectors})
        taken = [*self._vectors, *self.cameras.values()]
        self._notes = held.untaken(taken) + observed.notes(taken)
        names = {
            storage.episodes[k]: [f"infos/{key}" for key in storage.arrays(k, "infos")]
            for k in self._episodes
        }
        infos = [key for key in dict.fromkeys(chain.from_iterable(names.values())) if key != choice.success]
        if infos:
            self._notes.append(f"arrays not taken: {', '.join(counted(infos, names))}")
        if len(self._episodes) < len(every):
            left = len(every) - len(self._episodes)
            self._notes.append(f"{left} episodes without a step were left out")
        for key in self.cameras.values():
            if key in self._coded:
                how = "decoded from JPEG, which keeps the recorded pictures approximately"
                self._notes.append(f"{key}: {how} (Minari's default; jpeg_encoding=False keeps them)")
        self._conversions = Conversions(
            self.cameras, {key: self._declared(key) for key in self.cameras.values()}
        )

    def _sort(self, held: Held) -> Observed:
        """The observations by what they are; encoded pictures by what the first frame decodes to."""
        arrays = held.arrays
        first = {key: self._storage.episodes.index(name) for key, name in held.first.items()}
        self._coded = {key for key, array in arrays.items() if self._is_coded(first[key], key, array)}
        raw = {key: array for key, array in arrays.items() if key not in self._coded}
        found = sort(raw, {key: self._declared(key) for key in raw})
        pictures = dict(found.pictures)
        for key in arrays:
            if key in self._coded:
                picture = _decoded(self._first_file(first[key], key))
                plane = picture is not None and picture.ndim == 2
                what = "a plane without colour, coded as JPEG" if plane else "colour pictures as JPEG"
                pictures[key] = Verdict("unfit" if plane else "picture", what, LOSSLESS)
        return Observed(pictures, found.vectors, found.numbers, found.others)

    def _is_coded(self, first: int, key: str, array: Array) -> bool:
        """Whether a key holds files of pictures; those of one length lie in an array of two axes."""
        kind, shape = array
        if kind != np.uint8 or len(shape) != 2:
            return kind == ENCODED
        box: Box | None = self._spaces.get(key)
        if box is not None:
            return len(box.shape) in (2, 3)
        return encoding(self._first_file(first, key)) is not None

    def _first_file(self, first: int, key: str) -> np.ndarray:
        """The bytes (L,) of the first frame."""
        return next(self._storage.encoded(first, f"{SOLE}/{key}"), np.zeros(0, np.uint8))

    def _declared(self, key: str) -> Declared:
        box = self._spaces.get(key)
        return Declared() if box is None else Declared(high=box.high)

    def _pictures(self, number: int, camera: str) -> Iterator[np.ndarray]:
        """The pictures (H, W, 3) uint8 of an episode, of a camera by its name; further ones may be grey."""
        key = self.cameras[camera]
        field = f"{SOLE}/{key}"
        if key in self._coded:
            for data in self._storage.encoded(number, field):
                picture = _decoded(data)
                if picture is None or picture.ndim != 3:
                    raise self._problem(number, field, "must hold a colour JPEG for every frame", ANOTHER)
                yield picture
            return
        try:
            yield from self._conversions(camera, self._storage.read(number, field))
        except UnfitError as error:
            rule, remedy = error.args
            raise self._problem(number, field, rule, remedy) from error

    def _problem(self, number: int, field: str, rule: str, remedy: str) -> DataError:
        name = f"{self._storage.episodes[number]}/{field}"
        return DataError(Problem(self._storage.where(number), name, rule, remedy))

    def _success(self, number: int, steps: int) -> np.ndarray | None:
        """The chosen success entries after each step; those of `infos` may begin at the reset."""
        key = self._choice.success
        if key is None or ">" in key:
            return None
        arrays = self._storage.arrays(number, "")
        if key not in arrays:
            have = ", ".join(arrays)
            name = self._storage.episodes[number]
            raise UsageError(
                f"{name} has no array '{key}' that marks success; it has: {have}",
                where=self.path,
                remedy=OTHER_MARK,
            )
        values = self._storage.read(number, key).reshape(-1)
        return values[1:] if len(values) == steps + 1 else values


def _label(key: str) -> str:
    """Path of an observation within its episode."""
    return SOLE if key == SOLE else f"{SOLE}/{key}"


def _decoded(data: np.ndarray) -> np.ndarray | None:
    """A picture from the bytes of its file: RGB (H, W, 3), or grey (H, W); None if they are none."""
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if encoding(data) else None
    return picture if picture is None or picture.ndim == 2 else picture[:, :, ::-1]
