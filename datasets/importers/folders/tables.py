"""Tables of Parquet: the rows of one episode after another, each group of rows read once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cog.datasets.storage.problem import DataError, Problem

ANOTHER = "check that the folder is complete, or restore it from a copy"


class EpisodeTables:
    """Parquet files whose rows name their episode; the group of rows that was read last is kept."""

    def __init__(self, columns: Sequence[str], key: str = "episode_index") -> None:
        """Read these columns; `key` is the one that numbers the episodes."""
        self._columns, self._key = list(dict.fromkeys(columns)), key
        self._path: Path | None = None
        self._file: Any = None
        self._ends = np.zeros(0, np.int64)  # row after each group
        self._rows: dict[int, np.ndarray] = {}
        self._kept: dict[int, Any] = {}

    def read(self, path: Path, episode: int) -> Any:
        """The rows of an episode, as an Arrow table.

        Raises:
            DataError: the file is damaged, or lacks a column.
        """
        import pyarrow

        try:
            if path != self._path:
                self._open(path)
            rows = self._rows.get(episode, np.zeros(0, np.int64))
            if len(rows) == 0:
                return self._file.schema_arrow.empty_table().select(self._columns)
            first, last = np.searchsorted(self._ends, [rows[0], rows[-1]], side="right").tolist()
            begin = int(self._ends[first - 1]) if first else 0
            self._kept = {group: self._group(group) for group in range(first, last + 1)}
            table = pyarrow.concat_tables(self._kept.values()).select(self._columns)
            if rows[-1] - rows[0] + 1 == len(rows):
                return table.slice(int(rows[0]) - begin, len(rows))
            return table.take(pyarrow.array(rows - begin))
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise unreadable(path, self._columns, error, episode) from error

    def _group(self, number: int) -> Any:
        """A group of rows, read unless it was needed for the episode before."""
        if number in self._kept:
            return self._kept[number]
        return self._file.read_row_group(number, columns=self._columns)

    def close(self) -> None:
        """Let go of the file that was read last."""
        if self._file is not None:
            self._file.close()
        self._file, self._path, self._kept = None, None, {}

    def _open(self, path: Path) -> None:
        """Open a file and find the rows of every episode in it, in their order."""
        from pyarrow import parquet

        self.close()
        self._file = parquet.ParquetFile(path)
        names = set(self._file.schema_arrow.names)
        if missing := [name for name in [*self._columns, self._key] if name not in names]:
            raise KeyError(f"there is no column {', '.join(missing)}")
        counts = [self._file.metadata.row_group(k).num_rows for k in range(self._file.num_row_groups)]
        self._ends = np.cumsum(counts, dtype=np.int64)
        numbers = self._file.read(columns=[self._key]).column(0).to_numpy()
        order = np.argsort(numbers, kind="stable")
        values, begins = np.unique(numbers[order], return_index=True)
        self._rows = dict(zip(values.tolist(), np.split(order, begins[1:]), strict=True))
        self._path = path


def read_table(path: Path, columns: Sequence[str]) -> Any:
    """The named columns of a whole Parquet file.

    Raises:
        DataError: the file is damaged, or lacks one of them.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path, columns=list(columns), partitioning=None)
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        raise unreadable(path, columns, error) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines.

    Raises:
        DataError: the file is missing, or a line is no JSON object.
    """
    found = []
    try:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            entry = json.loads(line) if line.strip() else {}
            if not isinstance(entry, dict):
                raise ValueError(f"line {number} is no JSON object")
            found += [entry] if entry else []
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(Problem(path, "file", f"cannot be read ({error})", ANOTHER)) from error
    return found


def numbers(column: Any) -> np.ndarray:
    """A column of numbers or booleans, (T,), or of lists of one length, (T, N).

    Raises:
        ValueError: it holds other things, gaps, or lists of several lengths.
    """
    import pyarrow
    from pyarrow import types

    array = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    if array.null_count:
        raise ValueError("must not have gaps")
    kind, rows = array.type, len(array)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = numbers(array.flatten())
        lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False)) if rows else [0]
        if len(lengths) != 1:
            raise ValueError(f"must have rows of one length, found {lengths[0]} to {lengths[-1]}")
        return inner.reshape(rows, int(lengths[0]), *inner.shape[1:])
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise ValueError(f"must be numbers, found type {kind}")
    return np.asarray(array.to_numpy(zero_copy_only=False))


def unreadable(path: Path, columns: Sequence[str], error: Exception, episode: int | None = None) -> DataError:
    """The error for a table that cannot be read."""
    said = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    rule = f"cannot be read ({(said.splitlines() or ['no reason given'])[0]})"
    return DataError(Problem(path, ", ".join(columns), rule, ANOTHER, episode))
