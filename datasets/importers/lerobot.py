"""LeRobot folders of format v3 as a source: tables in parquet, images in videos or in the tables."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from cog.core.files import read_json
from cog.datasets.importers.source import (
    LastFrame,
    ObservationOptions,
    Recording,
    choose,
    robot_facts,
    untaken,
    with_last,
)
from cog.datasets.importers.video import VideoReader
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, UsageError, missing_extra

INFO = "meta/info.json"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
PNG = b"\x89PNG\r\n\x1a\n"
ACTION, REWARD = "action", "next.reward"
ANOTHER = "check that the folder is complete, or restore it from a copy"


@dataclass(frozen=True)
class LeRobotOptions(ObservationOptions):
    """What to take from a LeRobot folder."""

    format: ClassVar[str] = "lerobot"

    last_frame: LastFrame = "next"
    """After the last action: the source's next observation, or drop that action, or repeat the last frame."""

    def open(self, path: Path) -> "LeRobotSource":
        return LeRobotSource(path, self)


class LeRobotSource:
    """A LeRobot folder, open; it keeps T observations for T actions."""

    def __init__(self, path: Path, choice: LeRobotOptions) -> None:
        """Open the folder and choose what to take.

        Raises:
            UsageError: a chosen key does not exist.
            CogError: pyarrow or av is not installed.
            DataError: this is not a LeRobot folder of format v3.
        """
        for package in ("pyarrow", "av"):
            if importlib.util.find_spec(package) is None:
                raise missing_extra(package, "lerobot")
        self.path, self._choice = path, choice
        try:
            info = read_json(path / INFO, "the description of a LeRobot folder")
        except CogError as error:
            raise DataError(Problem(path, INFO, str(error), ANOTHER)) from error
        self._features = self._check_info(info)
        self._rate = float(info["fps"])
        images = [key for key, kind in self._features.items() if kind in ("video", "image")]
        vectors = [
            key
            for key, feature in info["features"].items()
            if self._features[key] not in ("video", "image", "string")
            and len(feature.get("shape", ())) == 1
            and key not in BOOKKEEPING | {ACTION}
            and not key.startswith("next.")
        ]
        self._image, self._vectors = choose(path, choice, images, vectors)
        self._video = VideoReader() if self._features.get(str(self._image)) == "video" else None
        self._key = None if choice.success is None or ">" in choice.success else choice.success
        if self._key is not None and self._key not in self._features:
            have = ", ".join(self._features)
            raise UsageError(
                f"there is no feature '{self._key}' that marks success; there are: {have}", where=path
            )
        self._episodes = self._read_episodes()
        self.files = self._list_files()
        shapes = {key: (0, *info["features"][key]["shape"]) for key in self._vectors}
        self.environment = {
            "id": str(info.get("robot_type") or "unknown"),
            "fps": self._rate,
            **robot_facts(self._image, shapes, _names(info["features"][ACTION]), self._rate),
        }
        taken = {ACTION, REWARD, *self._vectors, str(self._image), str(self._key)}
        self.notes = untaken(self._features.keys() - BOOKKEEPING, taken)

    def close(self) -> None:
        """Let go of the video that was read last."""
        if self._video is not None:
            self._video.close()

    def __len__(self) -> int:
        return len(self._episodes)

    def actions(self, episode: int) -> np.ndarray:
        return self._columns(episode, [ACTION])[ACTION]

    def read(self, episode: int) -> Recording:
        last, entry = self._choice.last_frame, self._episodes[episode]
        embedded = self._image is not None and self._video is None
        needed = [ACTION, "timestamp", *self._vectors, *([str(self._image)] if embedded else [])]
        needed += [REWARD] if REWARD in self._features else []
        needed += [self._key] if self._key is not None else []
        columns = self._columns(episode, needed)
        parts = [columns[key].reshape(len(columns[key]), -1) for key in self._vectors]
        images: Iterator[np.ndarray] | None = None
        if self._image is not None:
            images = self._from_video(entry, columns) if self._video else self._from_table(episode, columns)
        return Recording(
            name=f"episode {entry['episode_index']}",
            actions=columns[ACTION],
            closed=last == "repeat",
            images=_repeat_last(images) if images is not None and last == "repeat" else images,
            vectors=with_last(np.concatenate(parts, axis=1), None, last) if parts else None,
            rewards=columns[REWARD].reshape(-1) if REWARD in columns else None,
            success=None if self._key is None else columns[self._key].reshape(-1),
            truncated=True,  # the folder does not say why an episode ends
            options={"tasks": [str(task) for task in entry.get("tasks") or []]},
        )

    def _check_info(self, info: dict[str, Any]) -> dict[str, str]:
        """Type of every feature, by its key."""
        version = str(info.get("codebase_version"))
        if not version.startswith("v3."):
            rule, remedy = f"must be v3.x, found {version}", "convert the folder with LeRobot's own script"
            raise DataError(Problem(self.path / INFO, "codebase_version", rule, remedy))
        # Other paths might lead out of the folder.
        for field, usual in (("data_path", DATA_PATH), ("video_path", VIDEO_PATH)):
            if info.get(field) not in (usual, None):
                rule = f"must be {usual}, found {info[field]}"
                raise DataError(Problem(self.path / INFO, field, rule, "move the files to the usual places"))
        features, rate = info.get("features"), info.get("fps")
        whole = isinstance(features, dict) and all(
            isinstance(entry, dict) and isinstance(entry.get("dtype"), str) for entry in features.values()
        )
        if not whole or not isinstance(features, dict) or ACTION not in features:
            rule = f"must describe every feature, '{ACTION}' among them"
            raise DataError(Problem(self.path / INFO, "features", rule, ANOTHER))
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
            raise DataError(Problem(self.path / INFO, "fps", f"must be positive, found {rate}", ANOTHER))
        return {key: entry["dtype"] for key, entry in features.items()}

    def _read_episodes(self) -> list[dict[str, Any]]:
        """The entries of all episodes, in order."""
        needed = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index"]
        if self._video is not None:
            parts = ("chunk_index", "file_index", "from_timestamp")
            needed += [f"videos/{self._image}/{part}" for part in parts]
        entries: list[dict[str, Any]] = []
        for file in sorted((self.path / "meta/episodes").glob("chunk-*/file-*.parquet")):
            entries += _read_table(file, needed).to_pylist()
        entries.sort(key=lambda entry: entry["episode_index"])
        if not entries or [entry["episode_index"] for entry in entries] != list(range(len(entries))):
            rule = "must number the episodes 0, 1, ..., each once"
            raise DataError(Problem(self.path / "meta/episodes", "episode_index", rule, ANOTHER))
        return entries

    def _list_files(self) -> list[Path]:
        """The files that are read."""
        files = [self.path / INFO, *sorted((self.path / "meta/episodes").glob("chunk-*/file-*.parquet"))]
        for entry in self._episodes:
            files.append(self._data_file(entry))
            files += [self._video_file(entry)] if self._video is not None else []
        for file in files:
            if not file.is_file():
                raise DataError(Problem(self.path, str(file.relative_to(self.path)), "is missing", ANOTHER))
        return list(dict.fromkeys(files))

    def _data_file(self, entry: dict[str, Any]) -> Path:
        chunk, file = entry["data/chunk_index"], entry["data/file_index"]
        return self.path / DATA_PATH.format(chunk_index=chunk, file_index=file)

    def _video_file(self, entry: dict[str, Any]) -> Path:
        chunk, file = (entry[f"videos/{self._image}/{part}"] for part in ("chunk_index", "file_index"))
        return self.path / VIDEO_PATH.format(video_key=self._image, chunk_index=chunk, file_index=file)

    def _columns(self, episode: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The named columns of an episode, one row per step."""
        entry = self._episodes[episode]
        file = self._data_file(entry)
        needed = list(dict.fromkeys([*names, "frame_index"]))
        table = _read_table(file, needed, episode=entry["episode_index"])
        columns = {}
        for name in needed:
            values = table.column(name).to_pylist()
            kind = object if self._features.get(name) == "image" else None
            try:
                columns[name] = np.array(values, dtype=kind)
            except ValueError as error:
                rule = f"must have rows of one length ({error})"
                raise DataError(Problem(file, name, rule, ANOTHER, episode)) from error
        if columns["frame_index"].tolist() != list(range(entry["length"])):
            rule = f"must number the {entry['length']} frames of the episode"
            raise DataError(Problem(file, "frame_index", rule, ANOTHER, episode))
        return columns

    def _from_video(self, entry: dict[str, Any], columns: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
        """The pictures of an episode, decoded one by one."""
        assert self._video is not None
        begin = float(entry[f"videos/{self._image}/from_timestamp"])
        times = begin + columns["timestamp"].reshape(-1).astype(np.float64)
        yield from self._video.frames(self._video_file(entry), times, 0.5 / self._rate)

    def _from_table(self, episode: int, columns: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
        """The pictures of an episode that are stored in its table, as PNG."""
        for cell in columns[str(self._image)]:
            data = cell.get("bytes") if isinstance(cell, dict) else None
            picture = None
            if data is not None and data.startswith(PNG):
                picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                file = self._data_file(self._episodes[episode])
                rule = "must contain every picture as PNG; other forms are lossy or stored elsewhere"
                raise DataError(Problem(file, str(self._image), rule, "write the folder again", episode))
            yield picture[:, :, ::-1]


def _read_table(file: Path, columns: Sequence[str], episode: int | None = None) -> Any:
    """The named columns of a parquet file, of one episode if given.

    Raises:
        DataError: the file is damaged, or lacks one of them.
    """
    import pyarrow
    import pyarrow.parquet

    filters = None if episode is None else [("episode_index", "==", episode)]
    try:
        return pyarrow.parquet.read_table(file, columns=list(columns), filters=filters, partitioning=None)
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        rule = f"cannot be read ({str(error).splitlines()[0]})"
        raise DataError(Problem(file, ", ".join(columns), rule, ANOTHER, episode)) from error


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a feature's components, as far as it has one for each: a list, or lists by their kind."""
    named, shape = feature.get("names"), feature.get("shape")
    lists = list(named.values()) if isinstance(named, dict) else [named]
    names = [name for one in lists if isinstance(one, list) for name in one]
    fitting = shape == [len(names)] and all(isinstance(name, str) for name in names)
    return tuple(names) if fitting and len(set(names)) == len(names) else ()


def _repeat_last(pictures: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    picture = None
    for picture in pictures:
        yield picture
    if picture is not None:
        yield picture
