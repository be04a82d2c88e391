"""Minari's storage: episodes in one HDF5 file, or each in a folder with a table of Arrow or Parquet."""

import contextlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from cog.core.files import read_json, read_remedy
from cog.datasets.importers.folders.tables import ANOTHER, numbers
from cog.datasets.importers.foreign.hdf5 import ForeignFile
from cog.datasets.importers.pictures import Array
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import missing_extra

METADATA, MAIN = "metadata.json", "main_data.hdf5"
SOLE = "observations"  # key of observations that are not a dictionary
ENCODED = np.dtype(object)  # type of an array of files, such as JPEGs


@dataclass(frozen=True)
class Box:
    """A space of arrays of one shape."""

    shape: tuple[int, ...]
    """Their shape."""
    high: float | None
    """The upper bound that all their entries share, if there is one."""


class Storage(Protocol):
    """The episodes of a Minari dataset."""

    files: list[Path]

    @property
    def episodes(self) -> list[str]:
        """Their names, in order."""

    def where(self, episode: int) -> Path:
        """The file that holds an episode."""

    def arrays(self, episode: int, group: str) -> dict[str, Array]:
        """Type and shape of every array in a group of an episode; encoded pictures have the type ENCODED."""

    def read(self, episode: int, field: str) -> np.ndarray:
        """An array of numbers."""

    def encoded(self, episode: int, field: str) -> Iterator[np.ndarray]:
        """The files (L,) uint8 in an array of encoded pictures."""

    def seed(self, episode: int) -> object:
        """The seed of an episode, if it has one."""

    def is_empty(self, episode: int) -> bool:
        """Whether an episode has no step."""

    def close(self) -> None:
        """Let go of the files."""


def open_storage(folder: Path, metadata: Mapping[str, Any], spaces: Mapping[str, Box]) -> Storage:
    """The storage in a folder, by the format that its metadata name.

    Raises:
        CogError: pyarrow is needed and not installed.
        DataError: the format is none of Minari's, or episodes are missing.
    """
    form = metadata.get("data_format")
    if form == "hdf5":
        return HDF5Storage(folder, metadata)
    if form in ("arrow", "parquet"):
        if importlib.util.find_spec("pyarrow") is None:
            raise missing_extra("pyarrow", "minari")
        return ArrowStorage(folder, metadata, spaces, str(form))
    rule = f"must be 'hdf5', 'arrow' or 'parquet', found {form!r}"
    remedy = "write the dataset again with data_format='hdf5'"
    raise DataError(Problem(folder / METADATA, "data_format", rule, remedy))


def read_spaces(metadata: Mapping[str, Any]) -> dict[str, Box]:
    """Every box of the observations, by its path; none where the metadata name an environment instead."""
    found: dict[str, Box] = {}
    in_hdf5 = metadata.get("data_format") == "hdf5"

    def visit(space: object, key: str) -> None:
        if not isinstance(space, dict):
            return
        below = space.get("subspaces")
        if isinstance(below, list):  # a tuple's parts, named as the storage names them
            below = {f"_index_{k}" if in_hdf5 else str(k): part for k, part in enumerate(below)}
        named = (below or {}).items()
        for name, subspace in named:
            visit(subspace, f"{key}/{name}" if key else str(name))
        shape = space.get("shape")
        if space.get("type") == "Box" and isinstance(shape, list):
            found[key or SOLE] = Box(tuple(map(int, shape)), _only(space.get("high")))

    try:
        visit(json.loads(str(metadata.get("observation_space"))), "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return found


def _only(bounds: object) -> float | None:
    """The bound that all entries share, if there is one."""
    values = np.unique(np.asarray(bounds, np.float64))
    return float(values[0]) if len(values) == 1 else None


def declared_bounds(metadata: Mapping[str, Any]) -> str | None:
    """The bounds of actions as declared, in words; None where they are -1 to 1, infinite or not declared."""
    try:
        space = json.loads(str(metadata.get("action_space")))
        pair = np.broadcast_arrays(*(np.asarray(space[name], np.float64) for name in ("low", "high")))
        low, high = (bounds.reshape(-1) for bounds in pair)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not low.size or not np.isfinite([low, high]).all() or ((low == -1) & (high == 1)).all():
        return None
    pairs = [f"{least:g} to {most:g}" for least, most in zip(low, high, strict=True)]
    return pairs[0] if len(set(pairs)) == 1 else ", ".join(f"{k}: {pair}" for k, pair in enumerate(pairs))


class HDF5Storage:
    """`main_data.hdf5` with one group per episode."""

    def __init__(self, folder: Path, metadata: Mapping[str, Any]) -> None:
        self.files = [folder / METADATA, folder / MAIN]
        self._file = ForeignFile(folder / MAIN)
        with self._file.closed_on_error():
            names = [name for name in self._file.names("") if re.fullmatch(r"episode_[0-9]+", name)]
            _check_total(folder / MAIN, "episode_*", len(names), metadata)
            self.episodes = sorted(names, key=lambda name: int(name.removeprefix("episode_")))

    def where(self, episode: int) -> Path:
        return self.files[1]

    def arrays(self, episode: int, group: str) -> dict[str, Array]:
        name = self.episodes[episode]
        found = self._file.arrays(f"{name}/{group}" if group else name)
        if not found and group == SOLE:
            whole = self._file.arrays(name)
            found = {SOLE: whole[SOLE]} if SOLE in whole else {}
        return {key: (_stored(kind), shape) for key, (kind, shape) in found.items()}

    def read(self, episode: int, field: str) -> np.ndarray:
        return self._file.read(self._place(episode, field))

    def encoded(self, episode: int, field: str) -> Iterator[np.ndarray]:
        yield from self._file.byte_rows(self._place(episode, field))

    def seed(self, episode: int) -> object:
        return self._file.attribute(self.episodes[episode], "seed")

    def is_empty(self, episode: int) -> bool:
        rewards = f"{self.episodes[episode]}/rewards"
        return rewards in self._file and self._file.length(rewards) == 0

    def close(self) -> None:
        self._file.close()

    def _place(self, episode: int, field: str) -> str:
        sole = field == f"{SOLE}/{SOLE}"
        return f"{self.episodes[episode]}/{SOLE if sole else field}"


class ArrowStorage:
    """Folders `0`, `1`, ... with `part-0.arrow` or `part-0.parquet`, whose last row holds no step."""

    def __init__(
        self, folder: Path, metadata: Mapping[str, Any], spaces: Mapping[str, Box], form: str
    ) -> None:
        self._folder, self._spaces, self._form = folder, spaces, form
        numbers_found = [int(path.name) for path in folder.iterdir() if re.fullmatch(r"[0-9]+", path.name)]
        _check_total(folder, "folders 0, 1, ...", len(numbers_found), metadata)
        self._numbers = sorted(numbers_found)
        self.episodes = [f"episode_{number}" for number in self._numbers]
        self.files = [folder / METADATA, *(self.where(k) for k in range(len(self.episodes)))]
        for file in self.files:
            if not file.is_file():
                raise DataError(Problem(file, "", "is missing", ANOTHER))
        for episode in range(len(self.episodes)):
            self._check_whole(episode)
        self._open: tuple[int, dict[str, Any]] | None = None

    def _check_whole(self, episode: int) -> None:
        """Refuse an episode in several parts, of which the first alone would be read, or of other length."""
        place = self.where(episode)
        parts = sorted(file.name for file in place.parent.glob(f"part-*.{self._form}"))
        if len(parts) > 1:
            rule = f"must be the only part of its episode, found {', '.join(parts)}"
            raise DataError(Problem(place, "", rule, "write the dataset again, each episode in one part"))
        told, rows = self._facts(episode).get("total_steps"), self._schema(episode)[1]
        if isinstance(told, int) and rows != told + 1:
            rule = f"must have {told + 1} rows for the {told} steps of {METADATA}, found {rows}"
            raise DataError(Problem(place, "", rule, ANOTHER))

    def where(self, episode: int) -> Path:
        return self._folder / str(self._numbers[episode]) / f"part-0.{self._form}"

    def arrays(self, episode: int, group: str) -> dict[str, Array]:
        kinds, rows = self._schema(episode)
        found = {}
        for path, kind in kinds.items():
            if group and path != group and not path.startswith(f"{group}/"):
                continue
            key = path.removeprefix(f"{group}/") if group else path
            found[key] = self._described(path, kind, rows)
        return found

    def read(self, episode: int, field: str) -> np.ndarray:
        field, column = self._column(episode, field)
        try:
            values = numbers(column)
        except ValueError as error:
            raise DataError(Problem(self.where(episode), field, str(error), ANOTHER, episode)) from error
        values = values.reshape(len(values), *self._described(field, column.type, len(column))[1][1:])
        return values if field.partition("/")[0] in (SOLE, "infos") else values[:-1]

    def encoded(self, episode: int, field: str) -> Iterator[np.ndarray]:
        for cell in self._column(episode, field)[1]:
            data = cell.as_py()
            yield np.frombuffer(data if isinstance(data, bytes) else b"", np.uint8)

    def seed(self, episode: int) -> object:
        return self._facts(episode).get("seed")

    def is_empty(self, episode: int) -> bool:
        return self._facts(episode).get("total_steps") == 0

    def close(self) -> None:
        self._open = None

    def _facts(self, episode: int) -> dict[str, Any]:
        """The metadata of an episode, if it has any."""
        place = self.where(episode).with_name(METADATA)
        return read_json(place, "the metadata of an episode") if place.exists() else {}

    def _column(self, episode: int, field: str) -> tuple[str, Any]:
        """The path of an array and its column."""
        path = SOLE if field == f"{SOLE}/{SOLE}" else field
        columns = self._columns(episode)
        if path not in columns:
            raise DataError(Problem(self.where(episode), path, "must be present", ANOTHER, episode))
        return path, columns[path]

    def _described(self, path: str, kind: Any, rows: int) -> Array:
        """Type and shape of a column; boxes of several axes are stored flat."""
        from pyarrow import types

        if types.is_binary(kind) or types.is_large_binary(kind):
            return ENCODED, (rows,)
        if types.is_fixed_size_list(kind):
            box = self._spaces.get(path.removeprefix(f"{SOLE}/"))
            size = kind.list_size
            shape = box.shape if box is not None and int(np.prod(box.shape)) == size else (size,)
            return np.dtype(kind.value_type.to_pandas_dtype()), (rows, *shape)
        plain = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        return np.dtype(kind.to_pandas_dtype()) if plain else np.dtype("U"), (rows,)

    def _columns(self, episode: int) -> dict[str, Any]:
        """The columns of an episode by their paths; of the episode read last they are kept."""
        if self._open is None or self._open[0] != episode:
            self._open = (episode, self._read(episode))
        return self._open[1]

    def _schema(self, episode: int) -> tuple[dict[str, Any], int]:
        """The types of an episode's columns by their paths, and the number of rows; no data are read."""
        import pyarrow
        from pyarrow import parquet

        path = self.where(episode)
        with self._reading(episode):
            if self._form == "parquet":
                about = parquet.read_metadata(path)
                schema, rows = about.schema.to_arrow_schema(), about.num_rows
            else:
                with pyarrow.memory_map(str(path)) as file:
                    table = pyarrow.ipc.open_file(file)
                    schema = table.schema
                    rows = sum(table.get_batch(k).num_rows for k in range(table.num_record_batches))
            found: dict[str, Any] = {}
            for field in schema:
                found |= _types(field.name, field.type)
            return found, rows

    def _read(self, episode: int) -> dict[str, Any]:
        import pyarrow
        from pyarrow import parquet

        path = self.where(episode)
        with self._reading(episode):
            if self._form == "parquet":
                table = parquet.read_table(path, partitioning=None)
            else:
                with pyarrow.OSFile(str(path)) as file:
                    table = pyarrow.ipc.open_file(file).read_all()
            table.validate(full=True)
            found: dict[str, Any] = {}
            for name in table.column_names:
                found |= _flattened(name, table.column(name).combine_chunks())
            return found

    @contextlib.contextmanager
    def _reading(self, episode: int) -> Iterator[None]:
        """Turn what pyarrow raises over a file that it cannot read into an error that names it."""
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError) as error:
            rule = f"cannot be read ({(str(error).splitlines() or ['no reason given'])[0]})"
            raise DataError(
                Problem(self.where(episode), "", rule, read_remedy(error, ANOTHER), episode)
            ) from error


def _stored(kind: np.dtype) -> np.dtype:
    """The type of an HDF5 array, where rows of bytes are files and texts are texts."""
    if kind.kind != "O":
        return kind
    return ENCODED if h5py.check_vlen_dtype(kind) == np.uint8 else np.dtype("U")


def _types(path: str, kind: Any) -> dict[str, Any]:
    """The types inside a type of structures, by their paths."""
    from pyarrow import types

    if not types.is_struct(kind):
        return {path: kind}
    found: dict[str, Any] = {}
    for field in kind:
        found |= _types(f"{path}/{field.name}", field.type)
    return found


def _flattened(path: str, column: Any) -> dict[str, Any]:
    """The columns inside a column of structures, by their paths."""
    from pyarrow import types

    if not types.is_struct(column.type):
        return {path: column}
    found: dict[str, Any] = {}
    for field in column.type:
        found |= _flattened(f"{path}/{field.name}", column.field(field.name))
    return found


def _check_total(path: Path, field: str, found: int, metadata: Mapping[str, Any]) -> None:
    total = metadata.get("total_episodes")
    if found == 0 or found != total:
        rule = f"must contain the {total} episodes of {METADATA}, found {found}"
        raise DataError(Problem(path, field, rule, ANOTHER))
