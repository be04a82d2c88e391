"""Foreign HDF5 files: arrays are read only if they are stored in the file itself and are plain numbers.

Links within the file are followed, and so are virtual arrays of its own arrays; none leads out of it.
"""

import contextlib
import errno
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from cog.core.files import PERMIT, is_pointer, may_read
from cog.datasets.importers.foreign import virtual
from cog.datasets.storage.memory import refuse_shortage
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.storage.shard import LARGEST_RATIO

ANOTHER = "check that this is the right file, or restore it from a copy"
SPARE = 2**26  # bytes, larger than most chunks
ITSELF = "store the values themselves: with h5py, new[name] = file[name][()] writes them into another file"
MOST_LINKS = 16  # of one path; more lead in a circle
FILTERS = {
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}
"""Compressions that HDF5 loads from elsewhere, by their registered numbers."""


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
            raise DataError(Problem(path, "file", *_unopened(path, error))) from error

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
        return self._arrays(group, ())

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
            DataError: there is no such array, it is stored in another file, or it cannot be read.
            MemoryError: it does not fit.
        """
        with self._reading(name):
            return np.asarray(self._array(name)[begin:end])

    def texts(self, name: str) -> list[str]:
        """An array of strings, such as the names of episodes."""
        with self._reading(name):
            values = self._array(name, texts=True)[...].tolist()
            return [text.decode() if isinstance(text, bytes) else str(text) for text in values]

    def text(self, name: str) -> str | None:
        """A single text, or None if there is none of this name."""
        with self._reading(name):
            node = self._find(name)
            if not isinstance(node, h5py.Dataset) or node.shape != ():
                return None
            if h5py.check_string_dtype(node.dtype) is None:
                return None
            self._refuse_elsewhere(name, node)
            value = node[()]
            return value.decode() if isinstance(value, bytes) else str(value)

    def byte_rows(self, name: str) -> Iterator[np.ndarray]:
        """The rows (L,) uint8 of an array of bytes, of one length or of a length each."""
        with self._reading(name):
            node = self._find(name)
            if not isinstance(node, h5py.Dataset) or h5py.check_vlen_dtype(node.dtype) != np.uint8:
                node = self._array(name)
            self._refuse_elsewhere(name, node)
        for row in range(node.shape[0]):
            with self._reading(name):
                data = np.asarray(node[row], np.uint8)
            yield data

    @contextlib.contextmanager
    def _reading(self, field: str) -> Iterator[None]:
        """Turn whatever h5py raises over bytes that it cannot read into an error that names the field."""
        try:
            yield
        except (DataError, MemoryError):
            raise
        except Exception as error:
            refuse_shortage(error, SPARE, f"to read {field} of {self.path}")
            rule, remedy = self._missing_filter(field) or (f"cannot be read ({error})", ANOTHER)
            raise DataError(Problem(self.path, field, rule, remedy)) from error

    def _arrays(self, group: str, above: tuple[object, ...]) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        found: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        for name in self.names(group):
            path = f"{group}/{name}" if group else name
            with self._reading(path):
                node = self._find(path)
                if node in above:
                    rule = "is a link to a group that holds it, so that it has no end"
                    raise DataError(Problem(self.path, path, rule, "remove the link"))
                if isinstance(node, h5py.Dataset):
                    found[name] = (node.dtype, node.shape)
                    continue
                below = {} if node is None else self._arrays(path, (*above, node))
            found |= {f"{name}/{key}": value for key, value in below.items()}
        return found

    def _array(self, name: str, texts: bool = False) -> h5py.Dataset:
        """The array `name`, if it may be read."""
        node = self._find(name)
        if not isinstance(node, h5py.Dataset) or node.ndim == 0:
            found = "there is none" if node is None else "it is a group of arrays"
            found = "it is a single value" if isinstance(node, h5py.Dataset) else found
            raise DataError(Problem(self.path, name, f"must be present, as an array; {found}", ANOTHER))
        self._refuse_elsewhere(name, node)
        text = node.dtype.kind == "S" or h5py.check_string_dtype(node.dtype) is not None
        if not (text if texts else node.dtype.kind in "fiub"):
            rule = f"must be plain {'strings' if texts else 'numbers'}, found type {node.dtype}"
            raise DataError(Problem(self.path, name, rule, "store it as an array of fixed size and type"))
        if node.nbytes > LARGEST_RATIO * self._size:
            rule = f"claims {node.nbytes} bytes, more than the file can hold"
            raise DataError(Problem(self.path, name, rule, ANOTHER))
        if _missing_filters(node):
            with contextlib.suppress(ImportError):  # importing it makes its filters known to h5py
                importlib.import_module("hdf5plugin")
        return node

    def _refuse_elsewhere(self, name: str, node: h5py.Dataset, above: int = 0) -> None:
        """Refuse an array whose values do not all lie in this file; those of a virtual one may lie in others.

        Raises:
            DataError: naming the array.
        """
        parts = virtual.sources(node, self.path) if node.is_virtual else []
        if parts is None or node.external is not None:
            raise DataError(Problem(self.path, name, "must be stored in this file, not in others", ITSELF))
        if above > MOST_LINKS:
            rule = "is a virtual array that is made of itself, or of too many others in turn"
            raise DataError(Problem(self.path, name, rule, ITSELF))
        shapes = {}
        for part in dict.fromkeys(parts):
            held = self._find(part)
            if not isinstance(held, h5py.Dataset):
                rule = f"is a virtual array of {part}, which is not in this file"
                raise DataError(Problem(self.path, name, rule, ITSELF))
            self._refuse_elsewhere(part, held, above + 1)
            shapes[part] = held.shape
        if parts and (gap := virtual.gap(node, shapes)):
            raise DataError(Problem(self.path, name, gap, ITSELF))

    def _missing_filter(self, field: str) -> tuple[str, str] | None:
        """Rule and remedy where an array cannot be read because its compression is not installed."""
        with contextlib.suppress(Exception):
            node = self._find(field)
            if isinstance(node, h5py.Dataset) and (missing := _missing_filters(node)):
                named = " and ".join(f"{number} ({FILTERS.get(number, 'unknown')})" for number in missing)
                return (
                    f"is compressed by HDF5's filter {named}, which is not installed here",
                    "pip install hdf5plugin makes it known; or rewrite the file with gzip where it is known",
                )
        return None

    def _find(self, name: str) -> h5py.Group | h5py.Dataset | None:
        """The node at a path, found step by step: links within the file are followed, none out of it."""
        node: h5py.Group | h5py.Dataset = self._file
        ahead, links = [part for part in name.split("/") if part], 0
        named = 0  # steps ahead that a link names, which must be there
        while ahead:
            part, by_link = ahead.pop(0), named > 0
            named = max(0, named - 1)
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                if by_link:
                    rule = "leads through a link to what is not in this file"
                    raise DataError(Problem(self.path, name, rule, "remove the link, or add what it names"))
                return None
            if isinstance(link, h5py.SoftLink):
                links += 1
                if links > MOST_LINKS:
                    raise DataError(Problem(self.path, name, "its links lead in a circle", "remove them"))
                node = self._file if link.path.startswith("/") else node
                steps = [step for step in link.path.split("/") if step not in ("", ".")]
                ahead, named = steps + ahead, named + len(steps)
                continue
            if not isinstance(link, h5py.HardLink):
                other = link.filename if isinstance(link, h5py.ExternalLink) else "elsewhere"
                rule = f"must not be a link to another file ({other}), since only the named file is read"
                raise DataError(Problem(self.path, name, rule, _expanded(self.path, name)))
            node = node[part]
        return node


def _expanded(path: Path, name: str) -> str:
    """How to copy into one file what links to other files name."""
    top = name.split("/")[0]
    copy = f"h5copy -p -f ext -i {path.name} -o whole.hdf5 -s /{top} -d /{top}"
    return f"copy the data into one file: {copy} (and so for all that lies beside /{top})"


def _missing_filters(node: h5py.Dataset) -> list[int]:
    """Numbers of the filters of an array that this installation does not have."""
    plan = node.id.get_create_plist()
    numbers = [int(plan.get_filter(place)[0]) for place in range(plan.get_nfilters())]
    return [number for number in numbers if not h5py.h5z.filter_avail(number)]


def _unopened(path: Path, error: OSError) -> tuple[str, str]:
    """Rule and remedy for a file that cannot be opened."""
    text = str(error)
    if not may_read(path):
        return "cannot be read: permission is denied", PERMIT
    if not path.exists():
        return "cannot be read as HDF5: there is no such file", "check the path"
    if path.is_dir():
        return "cannot be read as HDF5: it is a folder", "pass the file, or another format for a folder"
    if "unable to lock file" in text and error.errno in (errno.EAGAIN, errno.EACCES):
        rule = "is being written by another process, which has locked it"
        return rule, "wait until that process has closed it"
    if "unable to lock file" in text:
        rule = f"cannot be locked: this file system grants no locks ({error.strerror or text})"
        return rule, "set HDF5_USE_FILE_LOCKING=FALSE in the environment, then run the same command again"
    if "truncated file" in text:
        return f"cannot be read as HDF5: it is cut off ({text})", "copy or download it again"
    if "file signature not found" in text:
        if is_pointer(path):
            return "cannot be read as HDF5: it is a pointer of Git LFS", "fetch the file with: git lfs pull"
        if not path.stat().st_size:
            return "cannot be read as HDF5: it is empty", "copy or download it again"
        remedy = "check the path and the format; data in other forms can be written with cog.DatasetWriter"
        return "cannot be read as HDF5: it is a file of another kind", remedy
    if "h5clear" in text or "already open for write" in text:
        remedy = f"close the program that writes it; if that has crashed, run: h5clear -s {path.name}"
        return f"cannot be read as HDF5: it was left open for writing ({text})", remedy
    return f"cannot be read as HDF5 ({text})", ANOTHER
