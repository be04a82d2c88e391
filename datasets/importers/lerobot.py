"""LeRobot folders of formats v2 and v3 as a source: tables in Parquet, images in videos or in the tables."""

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from cog.datasets.importers.folders.lerobot import ACTION, INFO, PICTURES, Entry, Folder
from cog.datasets.importers.folders.tables import ANOTHER, ROWS, ROWS_OF_PICTURES, EpisodeTables, numbers
from cog.datasets.importers.folders.video import VideoReader
from cog.datasets.importers.foreign.actions import continuous
from cog.datasets.importers.foreign.cameras import IMAGE, Conversions
from cog.datasets.importers.pictures import Observed, UnfitError, Verdict, judge
from cog.datasets.importers.source import (
    OTHER_MARK,
    LastFrame,
    ObservationOptions,
    Recording,
    choose,
    ended_last,
    exported_bounds,
    robot_facts,
    unsaid_ends,
    untaken,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError, missing_extra
from cog.signals.pictures import encoding

BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
REWARD = "next.reward"
ENDS = DONE, _ = ("next.done", "next.truncated")
RATE_TOLERANCE = 0.1  # share by which timestamps may differ from the declared rate
GAP_TOLERANCE = 0.5  # share by which one step may differ from the others of its episode
NUMBERS = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))}
NUMBERS |= {"float16", "float32", "float64"}


@dataclass(frozen=True)
class LeRobotOptions(ObservationOptions):
    """What to take from a LeRobot folder."""

    format: ClassVar[str] = "lerobot"

    last_frame: LastFrame = "next"
    """Last actions that no observation follows in the source: drop them, or repeat the frame before them."""
    terminated: str | None = None
    """Key of flags, 1 where the environment ended the episode. Default: next.done beside next.truncated."""

    def open(self, path: Path) -> "LeRobotSource":
        return LeRobotSource(path, self)


class LeRobotSource:
    """A LeRobot folder, open; it keeps T observations for T actions, and every file is read once in order."""

    def __init__(self, path: Path, choice: LeRobotOptions) -> None:
        """Open the folder and choose what to take.

        Raises:
            UsageError: a chosen key does not exist, or holds no colour pictures.
            CogError: pyarrow or av is not installed.
            DataError: this is not a LeRobot folder of format v2 or v3.
        """
        for package in ("pyarrow", "av"):
            if importlib.util.find_spec(package) is None:
                raise missing_extra(package, "lerobot")
        self.path, self._choice = path, choice
        self._folder = folder = Folder.read(path)
        observed = Observed(self._seen(), tuple(_vectors(folder)), (), ())
        self.cameras, self._vectors = choose(
            path, choice, observed.images(path, choice.image), observed.vectors
        )
        kinds = {key: folder.features[key]["dtype"] for key in self.cameras.values()}
        self._videos = {key: VideoReader() for key, kind in kinds.items() if kind == "video"}
        self._embedded = [key for key in kinds if key not in self._videos]
        self._conversions = Conversions(self.cameras)
        self._lossy: dict[str, None] = {}
        self._key = None if choice.success is None or ">" in choice.success else choice.success
        for key, what, remedy in ((self._key, "success", OTHER_MARK), (choice.terminated, "ends", None)):
            if key is not None and key not in folder.features:
                have = ", ".join(folder.features)
                rule = f"there is no feature '{key}' that marks {what}; there are: {have}"
                raise UsageError(rule, where=path, remedy=remedy)
        self._marked = self._within = 0
        self._odd_rates: dict[str, None] = {}
        self._gaps: list[tuple[int, int, float]] = []  # episode, frame before, seconds
        self._actions = EpisodeTables([ACTION, "frame_index"])
        self._tables = EpisodeTables(self._needed(), batch=ROWS_OF_PICTURES if self._embedded else ROWS)
        listed = folder.entries(list(self._videos))
        self.files = folder.files(listed)
        self._entries = [entry for entry in listed if entry.length or self._has_rows(entry)]
        shapes = {key: (0, *folder.features[key]["shape"]) for key in self._vectors}
        names = _names(folder.features[ACTION])
        robot = robot_facts(self.cameras, shapes, names, folder.rate)
        self.environment = {"id": folder.robot, "fps": folder.rate, **robot}
        taken = {ACTION, REWARD, *self._vectors, *kinds, str(self._key), str(choice.terminated)}
        taken |= set(ENDS) if set(ENDS) <= folder.features.keys() else set()
        self._notes = untaken(folder.features.keys() - BOOKKEEPING, taken) + observed.notes(taken)
        self._notes += exported_bounds(folder.origin)
        if folder.told not in (None, len(listed)):
            self._notes.append(f"{INFO} tells of {folder.told} episodes, but the folder lists {len(listed)}")
        if len(self._entries) < len(listed):
            self._notes.append(f"{len(listed) - len(self._entries)} episodes without a step were left out")

    @property
    def notes(self) -> list[str]:
        """What was not taken, and what was done to the pictures that were read so far."""
        done = [*self._lossy, *self._conversions.notes]
        rate = f"{INFO} says {self._folder.rate:g} frames a second, which the dataset records"
        odd = [f"frames are {apart} s apart by their timestamps, but {rate}" for apart in self._odd_rates]
        ends = unsaid_ends(DONE, self._marked, self._within, len(self))
        return self._notes + ends + odd[:1] + self._irregular() + done

    def close(self) -> None:
        """Let go of the files that were read last."""
        self._actions.close()
        self._tables.close()
        for video in self._videos.values():
            video.close()

    def __len__(self) -> int:
        return len(self._entries)

    def actions(self, episode: int) -> np.ndarray:
        entry = self._entries[episode]
        actions = self._vector(ACTION, self._columns(entry, self._actions)[ACTION])
        return continuous(entry.table, ACTION, actions, entry.number)

    def read(self, episode: int) -> Recording:
        entry = self._entries[episode]
        columns = self._columns(entry, self._tables)
        parts = [self._vector(key, columns[key]) for key in self._vectors]
        ended = self._ended(entry, columns)
        self._clock(entry.number, columns["timestamp"].reshape(-1).astype(np.float64))
        shown = {name: self._pictures(entry, columns, name) for name in self.cameras}
        return Recording(
            name=f"episode {entry.number}",
            actions=self._vector(ACTION, columns[ACTION]),
            closed=False,
            images=shown.pop(IMAGE, None),
            cameras=shown,
            vectors=np.concatenate(parts, axis=1) if parts else None,
            rewards=columns[REWARD].reshape(-1) if REWARD in columns else None,
            success=None if self._key is None else columns[self._key].reshape(-1),
            terminated=ended,
            truncated=not ended,
            options={"tasks": list(entry.tasks)},
        )

    def _seen(self) -> dict[str, Verdict]:
        """The verdict on every camera by its description; on a plane in the tables by its first picture."""
        found = self._folder.pictures()
        for key in [key for key, one in found.items() if one.standing == "asked"]:
            found[key] = replace(found[key], found=f"{found[key].found} by its description")
            if self._folder.features[key]["dtype"] == "video":
                continue
            with contextlib.suppress(DataError), contextlib.closing(EpisodeTables([key], batch=1)) as tables:
                entry = next(entry for entry in self._folder.entries([]) if entry.length)
                cells = tables.read(entry.table, entry.number).column(key)
                picture = next(self._from_table(entry, cells, key))
                found[key] = judge(picture.dtype, picture.shape)
        return found

    def _ended(self, entry: Entry, columns: dict[str, Any]) -> bool:
        """Whether the environment ended an episode; one of the two flags alone does not say why it ends."""
        named = self._choice.terminated
        if named is not None:
            return ended_last(entry.table, named, columns[named].reshape(-1), entry.number)
        if DONE in columns:
            self._within += bool(np.any(columns[DONE].reshape(-1)[:-1]))
        flags = [bool(columns[key][-1]) for key in ENDS if key in columns]
        self._marked += flags == [True] and DONE in columns
        return flags == [True, False]

    def _needed(self) -> list[str]:
        """The columns that are read with the pictures."""
        rewards = [key for key in (REWARD, *ENDS) if key in self._folder.features]
        marks = [key for key in (self._key, self._choice.terminated) if key is not None]
        return [ACTION, "timestamp", "frame_index", *self._vectors, *self._embedded, *rewards, *marks]

    def _has_rows(self, entry: Entry) -> bool:
        """Whether there are frames of an episode that is said to have none."""
        return self._actions.read(entry.table, entry.number).num_rows > 0

    def _vector(self, key: str, values: np.ndarray) -> np.ndarray:
        """Values of a feature as vectors (T, N); LeRobot stores those of one number as numbers.

        Raises:
            DataError: there are others than declared.
        """
        declared = self._folder.features[key].get("shape")
        if values.ndim == 1 and declared in ([1], (1,), [], None):
            return values.reshape(len(values), 1)
        if declared is not None and list(values.shape[1:]) != list(declared):
            found = ", ".join(map(str, values.shape[1:])) or "single numbers"
            rule = f"must have the shape that {INFO} declares, {list(declared)}; found {found}"
            raise DataError(Problem(self.path, key, rule, f"correct {INFO}, or write the folder again"))
        return values

    def _clock(self, episode: int, times: np.ndarray) -> None:
        """Note timestamps (T,) apart by another time than the declared rate says, or once by another."""
        gaps = np.diff(times)
        apart, said = float(np.median(gaps)) if len(gaps) else 0.0, 1 / self._folder.rate
        if apart > 0 and abs(apart - said) > RATE_TOLERANCE * said:
            self._odd_rates.setdefault(f"{apart:.3g}")
        for frame in np.flatnonzero(np.abs(gaps - apart) > GAP_TOLERANCE * max(apart, 0.0)):
            self._gaps.append((episode, int(frame), float(gaps[frame])))

    def _irregular(self) -> list[str]:
        """The note on steps between timestamps that are not as long as the others, such as dropped frames."""
        if not self._gaps:
            return []
        episode, frame, seconds = self._gaps[0]
        within = len({gap[0] for gap in self._gaps})
        return [
            f"{len(self._gaps)} steps in {within} episodes are not as long as the others by their timestamps "
            f"(first: {seconds:.3g} s after frame {frame} of episode {episode}; frames dropped?): each was "
            "taken as one step"
        ]

    def _columns(self, entry: Entry, tables: EpisodeTables) -> dict[str, Any]:
        """The columns of an episode, one row per step: arrays, or Arrow's column of pictures."""
        table = tables.read(entry.table, entry.number)
        columns: dict[str, Any] = {}
        for name in table.column_names:
            column = table.column(name)
            try:
                columns[name] = column if name in self._embedded else numbers(column)
            except ValueError as error:
                raise DataError(Problem(entry.table, name, str(error), ANOTHER, entry.number)) from error
        if columns["frame_index"].tolist() != list(range(entry.length)):
            rule = f"must number the {entry.length} frames of the episode"
            raise DataError(Problem(entry.table, "frame_index", rule, ANOTHER, entry.number))
        return columns

    def _pictures(self, entry: Entry, columns: dict[str, Any], camera: str) -> Iterator[np.ndarray]:
        """The pictures of an episode, (H, W, 3) uint8, one by one, of a camera by its name."""
        key = self.cameras[camera]
        video, file = self._videos.get(key), entry.table
        if video is not None:
            film, times = entry.videos[key], columns["timestamp"].reshape(-1).astype(np.float64)
            file, times = film.file, film.begin + times
            if len(falls := np.flatnonzero(np.diff(times) <= 0)):
                rule = f"must rise from frame to frame, and does not after frame {falls[0]}"
                raise DataError(Problem(entry.table, "timestamp", rule, ANOTHER, entry.number))
            pictures = video.frames(file, times, 0.5 / self._folder.rate)
        else:
            pictures = self._from_table(entry, columns[key], key)
        for picture in pictures:
            try:
                yield self._conversions(camera, picture[None])[0]
            except UnfitError as error:
                rule, remedy = error.args
                raise DataError(Problem(file, key, rule, remedy, entry.number)) from error
            if video is not None:
                how = f"decoded from video ({video.codec}), which keeps the recorded pictures"
                self._lossy[f"{key}: {how} approximately"] = None

    def _from_table(self, entry: Entry, cells: Any, key: str) -> Iterator[np.ndarray]:
        """The pictures of an episode that are stored in its table, with all their channels."""
        for cell in cells:
            value = cell.as_py()
            data = value.get("bytes") if isinstance(value, dict) else None
            coded = np.frombuffer(data or b"", np.uint8)
            name = encoding(coded)
            picture = None if name is None else cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
            if picture is None:
                rule = "must contain every picture as PNG or JPEG, whole and in the table itself"
                remedy = "write the folder again with its pictures in the table"
                raise DataError(Problem(entry.table, key, rule, remedy, entry.number))
            if name == "JPEG":
                how = "decoded from JPEG, which keeps the recorded pictures approximately"
                self._lossy[f"{key}: {how}"] = None
            yield picture if picture.ndim == 2 else picture[:, :, [2, 1, 0, *range(3, picture.shape[2])]]


def _vectors(folder: Folder) -> Iterator[str]:
    """Keys of the features that are vectors of numbers: observations, not bookkeeping, results or texts."""
    for key, feature in folder.features.items():
        numeric = feature["dtype"] in NUMBERS and feature["dtype"] not in PICTURES
        shape = feature.get("shape", ())
        if not numeric or not isinstance(shape, list | tuple) or len(shape) != 1:
            continue
        if key not in BOOKKEEPING | {ACTION} and not key.startswith("next."):
            yield key


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a feature's components, as far as it has one for each: a list, or lists by their kind."""
    named, shape = feature.get("names"), feature.get("shape")
    lists = list(named.values()) if isinstance(named, dict) else [named]
    names = [name for one in lists if isinstance(one, list) for name in one]
    fitting = shape == [len(names)] and all(isinstance(name, str) for name in names)
    return tuple(names) if fitting and len(set(names)) == len(names) else ()
