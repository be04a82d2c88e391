"""Foreign HDF5 files: arrays are read only if they are stored in the file itself and are plain numbers."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from cog.datasets.storage.memory import refuse_shortage
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.storage.shard import LARGEST_RATIO

ELSEWHERE = "copy the data into one plain file, for example with h5repack or h5copy"
ANOTHER = "check that this is the right file, or restore it from a copy"
UNLOCKED = "end that program, or set the environment variable HDF5_USE_FILE_LOCKING=FALSE"
SPARE = 2**26  # bytes, larger than most chunks


class ForeignFile:
    """An HDF5 file of another package, open for reading."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            DataError: it is missing or is not an HDF5 file.
        """
        self.path = path
        try:
            self._size = path.stat().st_size
            self._file = h5py.File(path, "r")
        except OSError as error:
            if "unable to lock" in str(error):
                rule = f"HDF5 cannot lock it ({error}): a program is writing it, or this disk grants no locks"
                raise DataError(Problem(path, "file", rule, UNLOCKED)) from error
            raise DataError(Problem(path, "file", f"cannot be read as HDF5 ({error})", ANOTHER)) from error

    def __enter__(self) -> "ForeignFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Let go of the file on an error inside, which may be kept longer than the file should be."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def __contains__(self, name: str) -> bool:
        """Whether there is a group or array of this name."""
        with self._reading(name):
            return self._find(name) is not None

    def names(self, group: str) -> list[str]:
        """Sorted names in a group; empty if there is no such group."""
        with self._reading(group):
            node = self._find(group)
            return sorted(node) if isinstance(node, h5py.Group) else []

    def arrays(self, group: str = "") -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Type and shape of every array below a group, by its path within the group."""
        found = {}
        for name in self.names(group):
            path = f"{group}/{name}" if group else name
            with self._reading(path):
                node = self._find(path)
                if isinstance(node, h5py.Dataset):
                    found[name] = (node.dtype, node.shape)
                    continue
                below = self.arrays(path)
            found |= {f"{name}/{key}": value for key, value in below.items()}
        return found

    def attribute(self, group: str, name: str) -> object:
        """An attribute of a group or array, or None."""
        with self._reading(f"{group}.attrs[{name}]"):
            node = self._find(group)
            return None if node is None else node.attrs.get(name)

    def length(self, name: str) -> int:
        """Number of rows of an array."""
        with self._reading(name):
            return int(self._array(name).shape[0])

    def read(self, name: str, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Rows `begin` to `end` of an array of numbers.

        Raises:
            DataError: there is no such array, it is stored in another file, or it is damaged.
        """
        with self._reading(name):
            return np.asarray(self._array(name)[begin:end])

    def texts(self, name: str) -> list[str]:
        """An array of strings, such as the names of episodes."""
        with self._reading(name):
            values = self._array(name, texts=True)[...].tolist()
            return [text.decode() if isinstance(text, bytes) else str(text) for text in values]

    @contextlib.contextmanager
    def _reading(self, field: str) -> Iterator[None]:
        """Turn whatever h5py raises over damaged bytes into an error that names the field."""
        try:
            yield
        except (DataError, MemoryError):
            raise
        except Exception as error:
            refuse_shortage(error, SPARE, f"to read {field} of {self.path}")
            rule = f"is damaged and cannot be read ({error})"
            raise DataError(Problem(self.path, field, rule, ANOTHER)) from error

    def _array(self, name: str, texts: bool = False) -> h5py.Dataset:
        """The array `name`, if it may be read."""
        node = self._find(name)
        if not isinstance(node, h5py.Dataset) or node.ndim == 0:
            raise DataError(Problem(self.path, name, "must be present, as an array", ANOTHER))
        if node.is_virtual or node.external is not None:
            raise DataError(Problem(self.path, name, "must be stored in this file, not in others", ELSEWHERE))
        text = node.dtype.kind == "S" or h5py.check_string_dtype(node.dtype) is not None
        if not (text if texts else node.dtype.kind in "fiub"):
            rule = f"must be plain {'strings' if texts else 'numbers'}, found type {node.dtype}"
            raise DataError(Problem(self.path, name, rule, "store it as an array of fixed size and type"))
        if node.nbytes > LARGEST_RATIO * self._size:
            rule = f"claims {node.nbytes} bytes, more than the file can hold"
            raise DataError(Problem(self.path, name, rule, ANOTHER))
        return node

    def _find(self, name: str) -> h5py.Group | h5py.Dataset | None:
        """The node at a path, found step by step so that no link is followed out of the file."""
        node: h5py.Group | h5py.Dataset = self._file
        for part in filter(None, name.split("/")):
            if not isinstance(node, h5py.Group):
                return None
            link = node.get(part, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise DataError(Problem(self.path, name, "must not be a link to elsewhere", ELSEWHERE))
            node = node[part]
        return node
