"""Foreign npz files: rows of their arrays are read as they are needed, and only if they are plain numbers."""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from cog.core.files import read_remedy
from cog.datasets.importers.foreign.hdf5 import ANOTHER
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.storage.shard import LARGEST_RATIO

BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError, RuntimeError)
MEMBER = ".npy"  # what NumPy adds to the name of an array


@dataclass
class _Member:
    """One array of the file, and how far it has been read."""

    info: zipfile.ZipInfo
    dtype: np.dtype
    shape: tuple[int, ...]
    columns_first: bool
    """Whether its elements are in Fortran's order, so that it can only be read as a whole."""
    stream: IO[bytes] | None = None
    row: int = 0
    """The row that the stream stands at."""


class NpzFile:
    """An npz file of another package, open for reading; its rows are best read in order."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            DataError: it is missing, or is not an npz file.
        """
        self.path = path
        self._members: dict[str, _Member] = {}
        try:
            self._size = path.stat().st_size
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                Problem(path, "", f"cannot be read as npz ({error})", read_remedy(error, ANOTHER))
            ) from error
        try:
            for info in self._zip.infolist():
                if info.filename.endswith(MEMBER):
                    name = info.filename.removesuffix(MEMBER)
                    self._members[name] = self._member(name, info)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        for member in self._members.values():
            if member.stream is not None:
                member.stream.close()
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def arrays(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Type and shape of every array, by its name."""
        return {name: (member.dtype, member.shape) for name, member in self._members.items()}

    def length(self, name: str) -> int:
        """Number of rows of an array."""
        return self._rows(name).shape[0]

    def read(self, name: str, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Rows `begin` to `end` of an array of numbers.

        Raises:
            DataError: there is no such array, it does not hold plain numbers, or cannot be read.
        """
        member = self._rows(name)
        count = member.shape[0]
        stop = count if end is None else min(end, count)
        begin = min(begin, stop)
        with self._reading(name):
            if member.columns_first:
                with self._zip.open(member.info) as stream:
                    stream.seek(member.info.file_size - math.prod(member.shape) * member.dtype.itemsize)
                    whole = np.frombuffer(stream.read(), member.dtype).reshape(member.shape[::-1]).T
                return np.ascontiguousarray(whole[begin:stop])
            stream = self._at(member, begin)
            row = member.dtype.itemsize * math.prod(member.shape[1:])
            data = stream.read((stop - begin) * row)
            if len(data) != (stop - begin) * row:
                raise EOFError("it ends early")
            if stop == count:
                stream.read(1)  # nothing is left, and so the checksum is compared
            member.row = stop
            return np.frombuffer(data, member.dtype).reshape(stop - begin, *member.shape[1:])

    def _member(self, name: str, info: zipfile.ZipInfo) -> _Member:
        """What the header of an array says."""
        with self._reading(name):
            if info.file_size > LARGEST_RATIO * self._size:
                raise ValueError(f"it claims {info.file_size} bytes, more than the file can hold")
            with self._zip.open(info) as stream:
                shape, columns_first, dtype = _header(stream)
                left = info.file_size - stream.tell()
            if not dtype.hasobject and left != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"it holds {left} bytes where its shape asks for others")
            return _Member(info, dtype, shape, columns_first and len(shape) > 1)

    def _rows(self, name: str) -> _Member:
        """The array `name`, if it may be read."""
        member = self._members.get(name)
        if member is None or not member.shape:
            raise DataError(Problem(self.path, name, "must be present, as an array", ANOTHER))
        if member.dtype.kind not in "fiub":
            rule = f"must be plain numbers, found type {member.dtype}"
            raise DataError(Problem(self.path, name, rule, "store it as an array of fixed size and type"))
        return member

    def _at(self, member: _Member, row: int) -> IO[bytes]:
        """The array's stream at a row; going back begins the stream again."""
        if member.stream is None or row < member.row:
            if member.stream is not None:
                member.stream.close()
            member.stream, member.row = self._zip.open(member.info), 0
            _header(member.stream)
        if row > member.row:
            member.stream.seek((row - member.row) * member.dtype.itemsize * math.prod(member.shape[1:]), 1)
            member.row = row
        return member.stream

    @contextlib.contextmanager
    def _reading(self, field: str) -> Iterator[None]:
        """Turn what unreadable bytes raise into an error that names the array."""
        try:
            yield
        except BROKEN as error:
            rule = f"cannot be read ({error})"
            raise DataError(Problem(self.path, field, rule, ANOTHER)) from error


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of an array, of whose file only the header has been read."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise ValueError(f"its version {version} is not one of plain numbers")
