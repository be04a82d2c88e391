"""LeRobot folders: what versions 2 and 3 describe, and where they keep each episode."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cog.core.files import read_json
from cog.datasets.importers.folders.tables import ANOTHER, read_lines, read_table
from cog.datasets.importers.pictures import Declared, Verdict, judge
from cog.datasets.importers.source import OURS
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError

INFO = "meta/info.json"
ACTION = "action"
PATHS = {
    3: (
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    ),
    2: (
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    ),
}
"""Of each version, the places of tables and of videos."""
PICTURES = ("video", "image")
_CHANNELS = ("channel", "channels")


@dataclass(frozen=True)
class Video:
    """Where a video shows an episode."""

    file: Path
    """The file."""
    begin: float
    """When the episode begins there, in seconds."""


@dataclass(frozen=True)
class Entry:
    """One episode of a folder."""

    number: int
    """Its number."""
    length: int
    """Number of frames."""
    tasks: tuple[str, ...]
    """What it was recorded for."""
    table: Path
    """File that holds its rows."""
    videos: Mapping[str, Video]
    """Where it is shown, by the keys of the videos that are read."""


@dataclass(frozen=True)
class Folder:
    """A LeRobot folder by its description."""

    path: Path
    """The folder."""
    version: int
    """2 or 3."""
    features: Mapping[str, Mapping[str, Any]]
    """Every feature: its `dtype`, `shape` and further facts."""
    rate: float
    """Frames per second."""
    robot: str
    """Type of the robot, or "unknown"."""
    chunk: int
    """Episodes in one folder of version 2."""
    told: int | None
    """Number of episodes that the description tells, if it does."""
    origin: object = None
    """Where an export of cog records its origin."""

    @staticmethod
    def read(path: Path) -> "Folder":
        """The description of a folder.

        Raises:
            DataError: this is not a LeRobot folder of version 2 or 3.
        """
        try:
            info = read_json(path / INFO, "the description of a LeRobot folder")
        except CogError as error:
            raise DataError(Problem(path, INFO, str(error), ANOTHER)) from error

        def refuse(field: str, rule: str, remedy: str = ANOTHER) -> DataError:
            return DataError(Problem(path / INFO, field, rule, remedy))

        said = str(info.get("codebase_version"))
        version = {"v2.": 2, "v3.": 3}.get(said[:3])
        if version is None:
            remedy = "convert the folder with LeRobot's own scripts"
            raise refuse("codebase_version", f"must be v2.x or v3.x, found {said}", remedy)
        # Other paths might lead out of the folder.
        for field, usual in zip(("data_path", "video_path"), PATHS[version], strict=True):
            if info.get(field) not in (usual, None):
                rule = f"must be {usual}, found {info[field]}"
                raise refuse(field, rule, "move the files to the usual places")
        features, rate, chunk = info.get("features"), info.get("fps"), info.get("chunks_size", 1000)
        whole = isinstance(features, dict) and all(
            isinstance(entry, dict) and isinstance(entry.get("dtype"), str) for entry in features.values()
        )
        if not whole or not isinstance(features, dict) or ACTION not in features:
            raise refuse("features", f"must describe every feature, '{ACTION}' among them")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
            raise refuse("fps", f"must be positive, found {rate}")
        if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
            raise refuse("chunks_size", f"must be a positive whole number, found {chunk}")
        robot, told = str(info.get("robot_type") or "unknown"), info.get("total_episodes")
        told = told if isinstance(told, int) else None
        return Folder(path, version, features, float(rate), robot, chunk, told, info.get(OURS))

    def pictures(self) -> dict[str, Verdict]:
        """The verdict on every camera, by what is declared of it."""
        return {
            key: _verdict(feature) for key, feature in self.features.items() if feature["dtype"] in PICTURES
        }

    def entries(self, videos: Sequence[str]) -> list[Entry]:
        """All episodes in order; `videos` are the keys of those that are read.

        Raises:
            DataError: the table of episodes is missing, damaged or incomplete.
        """
        place = self.path / ("meta/episodes" if self.version == 3 else "meta/episodes.jsonl")
        rows = self._rows_3(place, videos) if self.version == 3 else read_lines(place)
        try:
            found = [self._entry(row, videos) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            rule = f"must give number, length and place of every episode ({type(error).__name__}: {error})"
            raise DataError(Problem(place, "episode_index", rule, ANOTHER)) from error
        found.sort(key=lambda entry: entry.number)
        if not found or [entry.number for entry in found] != list(range(len(found))):
            rule = "must number the episodes 0, 1, ..., each once"
            remedy = ANOTHER
            if not found:
                remedy = "call finalize() where the folder is recorded, or " + ANOTHER
            raise DataError(Problem(place, "episode_index", rule, remedy))
        return found

    def files(self, entries: list[Entry]) -> list[Path]:
        """The files that are read for these episodes, each once.

        Raises:
            DataError: one is missing.
        """
        if self.version == 3:
            meta = sorted((self.path / "meta/episodes").glob("chunk-*/file-*.parquet"))
        else:
            meta = [self.path / "meta/episodes.jsonl"]
        read = [
            file
            for entry in entries
            for file in (entry.table, *(video.file for video in entry.videos.values()))
        ]
        files = list(dict.fromkeys([self.path / INFO, *meta, *read]))
        for file in files:
            if not file.is_file():
                raise DataError(Problem(self.path, str(file.relative_to(self.path)), "is missing", ANOTHER))
        return files

    def _rows_3(self, place: Path, videos: Sequence[str]) -> list[dict[str, Any]]:
        needed = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index"]
        for video in videos:
            needed += [f"videos/{video}/{part}" for part in ("chunk_index", "file_index", "from_timestamp")]
        rows: list[dict[str, Any]] = []
        for file in sorted(place.glob("chunk-*/file-*.parquet")):
            rows += read_table(file, needed).to_pylist()
        return rows

    def _entry(self, row: dict[str, Any], videos: Sequence[str]) -> Entry:
        tables, films = PATHS[self.version]
        number, length = int(row["episode_index"]), int(row["length"])
        if number < 0 or length < 0:
            raise ValueError(f"episode {number} of {length} frames")
        place = {"episode_chunk": number // self.chunk, "episode_index": number}
        if self.version == 3:
            place = {name: int(row[f"data/{name}"]) for name in ("chunk_index", "file_index")}
        shown = {}
        for video in videos:
            begin, film = 0.0, place
            if self.version == 3:
                film = {name: int(row[f"videos/{video}/{name}"]) for name in ("chunk_index", "file_index")}
                begin = float(row[f"videos/{video}/from_timestamp"])
            shown[video] = Video(self.path / films.format(video_key=video, **film), begin)
        return Entry(
            number,
            length,
            tuple(str(task) for task in row.get("tasks") or []),
            self.path / tables.format(**place),
            shown,
        )


def _verdict(feature: Mapping[str, Any]) -> Verdict:
    """The verdict on a camera; pictures whose shape is not told are judged as they are read."""
    shape, names = feature.get("shape"), feature.get("names")
    facts: dict[str, Any] = {}
    for place in ("info", "video_info"):
        facts |= feature[place] if isinstance(feature.get(place), dict) else {}
    depth = any(facts.get(name) is True for name in ("is_depth_map", "video.is_depth_map"))
    if not isinstance(shape, list | tuple) or len(shape) not in (2, 3):
        shape = (1, 1, 3)
    sizes = [int(size) if isinstance(size, int) and size > 0 else 1 for size in shape]
    if isinstance(names, list) and len(names) == len(sizes) and names[0] in _CHANNELS:
        sizes = [*sizes[1:], sizes[0]]  # only the description is in that order: PNG and video are not
    elif len(sizes) == 3 and sizes[2] not in (1, 3, 4) and sizes[0] in (1, 3, 4):
        sizes = [*sizes[1:], sizes[0]]
    where = Declared(meaning="depth" if depth else None, channels="last" if len(sizes) == 3 else "none")
    return judge(np.dtype(np.uint8), tuple(sizes), where)
