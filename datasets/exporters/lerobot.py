"""LeRobot's dataset folder, version 3, with images as PNG in its tables: no video, nothing lost.

    meta/info.json, meta/stats.json      features and counts; statistics of each feature
    meta/tasks.parquet, meta/episodes/   task descriptions; a row for every episode
    data/chunk-000/file-000.parquet      a row for every step; a new file after 100 MB
      observation.images.image           (H, W, 3) uint8; of each further camera observation.images.NAME,
                                         grey ones with their channel three times, as LeRobot takes them
      observation.state                  (P,) float32, proprio; or observation.environment_state (N,)
                                         as a number where P or N is 1, which is how LeRobot reads it
      action, next.reward                (A,) and a number, float32
      next.done, next.truncated          whether a step is terminal, or the last of a cut-off episode

The task of an episode is its behaviour. `cog` in info.json holds the origin of the data. As in everything
that LeRobot records, an episode has no frame after its last step.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from cog.core.bounds import refuse_below
from cog.core.files import write_folder_atomically, write_json
from cog.datasets.exporters.contents import ORIGIN, Contents, Numbered
from cog.datasets.exporters.run import ExportOptions
from cog.datasets.exporters.statistics import Statistics, as_lists, of_values, together
from cog.errors import missing_extra

VERSION = "v3.0"
MEGABYTES_PER_FILE = 100
FILES_PER_CHUNK = 1000
EPISODES_PER_GROUP = 100
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
VECTORS = {"proprio": "observation.state", "state": "observation.environment_state"}
PICTURES = "observation.images."
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
FLAGS = ("next.done", "next.truncated")

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class LeRobotExport(ExportOptions):
    """How a LeRobot folder is written."""

    format: ClassVar[str] = "lerobot"

    fps: int
    """Steps per second."""

    def __post_init__(self) -> None:
        """Refuse fewer than one step per second.

        Raises:
            UsageError: naming it.
        """
        refuse_below(self, 1, "fps")

    def write(self, contents: Contents, out: Path) -> int:
        if contents.grey:
            names = ", ".join(contents.grey)
            contents.notes.append(f"{names}: the grey channel is written three times, as LeRobot needs it")
        write_folder_atomically(out, lambda folder: write(folder, contents, self.fps))
        return contents.step_count


def write(folder: Path, contents: Contents, fps: int) -> None:
    """Fill an existing folder; `fps` is the number of steps per second.

    Raises:
        CogError: the data cannot be read, or pyarrow is not installed.
        OSError: the files cannot be written.
    """
    try:
        import pyarrow  # noqa: F401 - missing packages are reported before any work is done
    except ImportError as error:
        raise missing_extra("pyarrow", "lerobot") from error
    data, episodes = _Data(folder), _Table(folder / EPISODES_PATH)
    tasks: dict[str, int] = {}
    overall: dict[str, Statistics] = {}
    entries: list[dict[str, Any]] = []
    row = 0
    try:
        for item in contents.episodes(whole=False):
            task = item.episode.behaviour or "unnamed"
            columns = _columns(item, row, tasks.setdefault(task, len(tasks)), fps)
            found = {name: of_values(values) for name, values in columns.items()}
            overall = (
                {name: together(overall[name], one) for name, one in found.items()} if overall else found
            )
            entries.append(_entry(item, task, row, data.append(columns), found))
            row += len(item.episode)
            if len(entries) == EPISODES_PER_GROUP:
                episodes.append_rows(entries)
                entries = []
        if entries:
            episodes.append_rows(entries)
    finally:
        data.close()
        episodes.close()
    _write_tasks(folder / "meta/tasks.parquet", list(tasks))
    write_json(folder / "meta/stats.json", {name: as_lists(one) for name, one in overall.items()})
    counts = {"total_episodes": contents.episode_count, "total_frames": row, "total_tasks": len(tasks)}
    write_json(folder / "meta/info.json", {**_info(contents, fps), **counts})


def _columns(item: Numbered, row: int, task: int, fps: int) -> Columns:
    """The rows of an episode as arrays (T, ...)."""
    episode, steps = item.episode, np.arange(len(item.episode))
    return {
        **{_feature(name): _coloured(values[:-1]) for name, values in item.observations().items()},
        "action": episode.actions,
        "next.reward": np.asarray(episode.rewards, np.float32),
        "next.done": np.asarray(episode.terminals, bool),
        "next.truncated": (steps == steps[-1]) & item.truncated(),
        "timestamp": (steps / fps).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full_like(steps, item.number),
        "index": row + steps,
        "task_index": np.full_like(steps, task),
    }


def _entry(
    item: Numbered, task: str, row: int, place: tuple[int, int], found: dict[str, Statistics]
) -> dict[str, Any]:
    """An episode's row in the table of episodes."""
    return {
        "episode_index": item.number,
        "tasks": [task],
        "length": len(item.episode),
        "data/chunk_index": place[0],
        "data/file_index": place[1],
        "dataset_from_index": row,
        "dataset_to_index": row + len(item.episode),
        **{
            f"stats/{name}/{key}": value
            for name, one in found.items()
            for key, value in as_lists(one).items()
        },
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }


def _info(contents: Contents, fps: int) -> dict[str, Any]:
    """Content of info.json except the counts."""
    shapes = {_feature(name): shape for name, shape in contents.shapes.items()} | {
        "action": contents.action_shape
    }
    features: dict[str, dict[str, Any]] = {
        name: {"dtype": "float32", "shape": list(shape), "names": None} for name, shape in shapes.items()
    }
    for name in contents.cameras:
        sizes = [*contents.shapes[name][:2], 3]
        names = ["height", "width", "channels"]
        features[_feature(name)] = {"dtype": "image", "shape": sizes, "names": names}
    kinds = {"next.reward": "float32", **dict.fromkeys(FLAGS, "bool"), "timestamp": "float32"}
    for name, kind in {**kinds, **dict.fromkeys(COUNTERS, "int64")}.items():
        features[name] = {"dtype": kind, "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": None,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": MEGABYTES_PER_FILE,
        "video_files_size_in_mb": MEGABYTES_PER_FILE,
        "fps": fps,
        "splits": {"train": f"0:{contents.episode_count}"},
        "data_path": DATA_PATH,
        "video_path": None,
        "features": features,
        ORIGIN: contents.origin(),
    }


def _feature(name: str) -> str:
    """LeRobot's name of an observation."""
    return VECTORS.get(name, PICTURES + name)


def _coloured(values: np.ndarray) -> np.ndarray:
    """Pictures (T, H, W, 1) in grey as (T, H, W, 3); all else as it is."""
    return np.repeat(values, 3, axis=3) if values.ndim == 4 and values.shape[3] == 1 else values


def _write_tasks(path: Path, tasks: list[str]) -> None:
    """The task descriptions, as an index that pandas restores."""
    import pyarrow

    index = {"name": None, "field_name": "index", "pandas_type": "unicode", "numpy_type": "object"}
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    pandas = {
        "index_columns": ["index"],
        "column_indexes": [],
        "columns": [{**number, "metadata": None}, {**index, "metadata": None}],
        "pandas_version": "2.0.0",
    }
    table = pyarrow.table({"task_index": list(range(len(tasks))), "index": tasks})
    writer = _Table(path)
    try:
        writer.append(table.replace_schema_metadata({"pandas": json.dumps(pandas)}))
    finally:
        writer.close()


class _Table:
    """A Parquet file that takes its columns from the first rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def append(self, table: Any) -> None:
        from pyarrow import parquet

        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def append_rows(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow

        self.append(pyarrow.Table.from_pylist(rows))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Data:
    """The numbered Parquet files of all steps; each episode is in one of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self._room = 0
        self._table: _Table | None = None

    def append(self, columns: Columns) -> tuple[int, int]:
        """Write an episode; returns the numbers of chunk and file that hold it."""
        import pyarrow

        table = pyarrow.table({name: _column(values) for name, values in columns.items()})
        if self._table is None or table.nbytes > self._room:
            self.close()
            self._file += 1
            self._room = MEGABYTES_PER_FILE * 2**20
        place = divmod(self._file, FILES_PER_CHUNK)
        if self._table is None:
            self._table = _Table(self._folder / DATA_PATH.format(chunk_index=place[0], file_index=place[1]))
        self._table.append(table)
        self._room -= table.nbytes
        return place

    def close(self) -> None:
        if self._table is not None:
            self._table.close()
        self._table = None


def _column(values: np.ndarray) -> Any:
    """An array (T, ...) as a column: images as PNG, vectors as lists, and those of one number as numbers."""
    import pyarrow

    if values.ndim == 4:
        return pyarrow.array([{"bytes": _png(image), "path": None} for image in values], _image_type())
    if values.ndim == 2 and values.shape[1] > 1:
        flat = pyarrow.array(values.reshape(-1))
        return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pyarrow.array(values.reshape(-1))


def _image_type() -> Any:
    import pyarrow

    return pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def _png(image: np.ndarray) -> bytes:
    """An image (H, W, 3) in RGB, without loss."""
    encoded: bytes = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    return encoded
