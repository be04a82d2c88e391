"""A new HDF5 file on a disk that may fill up, where the library alone would later crash the interpreter.

It therefore writes through `PatientFile`, on which no write fails: the first failure is recorded, later data
stay in memory, and `check` raises the failure between episodes and at the end.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

Check = Callable[[], None]
"""Raises the `OSError` of the first write that failed, if one did; call it after every episode."""


@contextlib.contextmanager
def new_hdf5(path: Path) -> Iterator[tuple[h5py.File, Check]]:
    """A new file that any version of the library reads, and its check.

    Raises:
        OSError: it could not be written; the file is unusable.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        target = PatientFile(descriptor)
        with h5py.File(target, "w") as file:
            yield file, target.check
        target.check()
    finally:
        os.close(descriptor)


def images_in_chunks(group: h5py.Group, name: str, images: np.ndarray, frames: int) -> None:
    """Store images (T, H, W, C) without loss, `frames` of them per chunk."""
    chunks = (min(frames, len(images)), *images.shape[1:])
    group.create_dataset(name, data=images, chunks=chunks, compression="gzip", compression_opts=1)


class PatientFile:
    """A file for the library whose writes succeed even if the disk refuses them."""

    def __init__(self, descriptor: int) -> None:
        """Use an empty file that is open for reading and writing."""
        self._descriptor = descriptor
        self._position = self._size = 0
        self._pending: list[tuple[int, bytes]] = []
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one.

        Raises:
            OSError: as the system reported it.
        """
        if self._error is not None:
            raise self._error

    def write(self, data: memoryview) -> int:
        """Write at the position; data that cannot be written stay in memory."""
        rest = memoryview(data).cast("B")
        length, position = len(rest), self._position
        while len(rest) and self._error is None:
            try:
                written = os.pwrite(self._descriptor, rest, position)
            except OSError as error:
                self._error = error
                break
            rest, position = rest[written:], position + written
        if len(rest):
            self._pending.append((position, bytes(rest)))
        self._position += length
        self._size = max(self._size, self._position)
        return length

    def readinto(self, target: memoryview) -> int:
        """Read at the position; bytes that were never written are zero."""
        view = memoryview(target).cast("B")
        start, end = self._position, min(self._position + len(view), self._size)
        data = bytearray(
            os.pread(self._descriptor, max(end - start, 0), start).ljust(max(end - start, 0), b"\0")
        )
        for position, pending in self._pending:
            first, last = max(start, position), min(end, position + len(pending))
            if first < last:
                data[first - start : last - start] = pending[first - position : last - position]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes at the position, or all that follow."""
        data = bytearray(self._size - self._position if size < 0 else size)
        return bytes(data[: self.readinto(memoryview(data))])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def truncate(self, size: int) -> int:
        """Set the size of the file."""
        self._size = size
        if self._error is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""
