"""Tables of Parquet: the rows of one episode after another, in one pass over each file."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cog.core.files import read_remedy
from cog.datasets.storage.problem import DataError, Problem

ANOTHER = "check that the folder is complete, or restore it from a copy"
ROWS = 4096  # of numbers that are read at once
ROWS_OF_PICTURES = 32
BUFFER = 1 << 18  # bytes of a column that are read at once


class EpisodeTables:
    """Parquet files whose rows name their episode, read a batch of rows at a time.

    Episodes that follow each other in the file are read in one pass. Where one begins before the rows that
    were read last, the file is read from its beginning again.
    """

    def __init__(self, columns: Sequence[str], key: str = "episode_index", batch: int = ROWS) -> None:
        """Read these columns, `batch` rows at a time; `key` is the one that numbers the episodes."""
        self._columns, self._key, self._batch = list(dict.fromkeys(columns)), key, batch
        self._path: Path | None = None
        self._file: Any = None
        self._rows: dict[int, np.ndarray] = {}
        self._batches: Iterator[Any] = iter(())
        self._held: list[Any] = []
        self._begin = self._end = 0  # rows that are held

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
            self._hold(int(rows[0]), int(rows[-1]) + 1)
            table = pyarrow.Table.from_batches(self._held).select(self._columns)
            if rows[-1] - rows[0] + 1 == len(rows):
                return table.slice(int(rows[0]) - self._begin, len(rows))
            return table.take(pyarrow.array(rows - self._begin))
        except (pyarrow.ArrowException, OSError, KeyError) as error:
            raise unreadable(path, self._columns, error, episode) from error

    def close(self) -> None:
        """Let go of the file that was read last."""
        if self._file is not None:
            self._file.close()
        self._file, self._path = None, None
        self._batches, self._held, self._begin, self._end = iter(()), [], 0, 0

    def _open(self, path: Path) -> None:
        """Open a file and find the rows of every episode in it, in their order."""
        from pyarrow import parquet

        self.close()
        # Without buffering ahead, no more than some pages of a column are in memory.
        self._file = parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
        names = set(self._file.schema_arrow.names)
        if missing := [name for name in [*self._columns, self._key] if name not in names]:
            raise KeyError(f"there is no column {', '.join(missing)}")
        numbers = self._file.read(columns=[self._key]).column(0).to_numpy()
        order = np.argsort(numbers, kind="stable")
        values, begins = np.unique(numbers[order], return_index=True)
        self._rows = dict(zip(values.tolist(), np.split(order, begins[1:]), strict=True))
        self._batches = self._from_beginning()
        self._path = path

    def _from_beginning(self) -> Iterator[Any]:
        return iter(self._file.iter_batches(self._batch, columns=self._columns, use_threads=False))

    def _hold(self, begin: int, end: int) -> None:
        """Read on until the rows from `begin` to `end` are held, and let go of those before."""
        if begin < self._begin:
            self._batches, self._held, self._begin, self._end = self._from_beginning(), [], 0, 0
        while self._end < end:
            self._held.append(next(self._batches))
            self._end += self._held[-1].num_rows
            self._drop(begin)
        self._drop(begin)

    def _drop(self, begin: int) -> None:
        while self._held and self._begin + self._held[0].num_rows <= begin:
            self._begin += self._held.pop(0).num_rows


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
        raise DataError(
            Problem(path, "file", f"cannot be read ({error})", read_remedy(error, ANOTHER))
        ) from error
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
    return DataError(Problem(path, ", ".join(columns), rule, read_remedy(error, ANOTHER), episode))
