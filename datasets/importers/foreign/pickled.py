"""Object arrays of NumPy (`.npy`), read by a restricted reader: arrays, numbers, text, lists and dicts only.

A pickle is a program. Here the names that it may use stand for objects of this file, which build plain arrays
from bytes. It is refused for any other name, and NumPy's own routines, which trust what they are given, never
see it.
"""

import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from cog.core.files import read_remedy
from cog.datasets.importers.foreign.hdf5 import ANOTHER
from cog.datasets.storage.problem import DataError, Problem

PLAIN = frozenset("biufSU")
"""Kinds of types whose elements are bytes that mean nothing but themselves."""


class RefusedNameError(pickle.UnpicklingError):
    """The pickle names something that no data need."""


def read_objects(path: Path) -> list[Any]:
    """The elements of a one-dimensional object array in an npy file, with their arrays as NumPy's.

    Raises:
        DataError: it is not such a file, cannot be read, or names anything but what plain data need.
    """
    try:
        with path.open("rb") as file:
            _check_header(path, file)
            begin, size = file.tell(), path.stat().st_size
            _check_places(file, size)
            file.seek(begin)
            found = _Unpickler(file).load()
    except RefusedNameError as error:
        rule = f"{error}; only arrays, numbers, text, lists and dictionaries are read"
        raise DataError(Problem(path, "", rule, "save the data again with nothing else in them")) from error
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            Problem(path, "", f"cannot be read ({error})", read_remedy(error, ANOTHER))
        ) from error
    except MemoryError as error:
        raise DataError(
            Problem(path, "", "does not fit into memory", "split the file, or use a larger machine")
        ) from error
    except Exception as error:  # a pickle is a program, and may fail in any way
        raise DataError(Problem(path, "", f"cannot be read ({error})", ANOTHER)) from error
    values = plain(found)
    if not isinstance(values, list):
        rule = "must be an array of objects with one axis, an episode each"
        raise DataError(Problem(path, "", rule, ANOTHER))
    return values


def plain(value: Any) -> Any:
    """An array as NumPy's, an array of objects as a list; anything else as it is."""
    return value.values if isinstance(value, _Array) else value


def _check_header(path: Path, file: Any) -> None:
    """Refuse a file that is no array of objects; the pickle begins after its header."""
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"its version is {version}")
    _, _, dtype = read(file)
    if not dtype.hasobject:
        rule = f"must be an array of objects, one episode each, found numbers of type {dtype}"
        raise DataError(Problem(path, "", rule, "write plain arrays with cog.DatasetWriter"))


def _check_places(file: Any, size: int) -> None:
    """Refuse a pickle that keeps a value at a place beyond the file's size in bytes.

    Places are counted from 0, each with an instruction of its own, and Python allots memory up to the last.
    """
    for instruction, place, _ in pickletools.genops(file):
        if instruction.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(place or 0) <= size:
            raise pickle.UnpicklingError(f"it keeps a value at place {place}, in a file of {size} bytes")


class _Type:
    """What stands for a NumPy type."""

    __slots__ = ("name", "order")

    def __init__(self, name: str, align: bool = False, copy: bool = False) -> None:
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the byte order; a type with fields, or made of another, is no plain number."""
        _, order, part, names, fields, *_ = state
        if order not in ("<", ">", "|", "=") or (part, names, fields) != (None, None, None):
            raise RefusedNameError("it holds an array with fields")
        self.order = order

    @property
    def objects(self) -> bool:
        """Whether elements are objects."""
        return self.name in ("O", "O8")

    def numpy(self) -> np.dtype:
        """The type, if it is plain."""
        if self.objects or not isinstance(self.name, str) or self.name[:1] not in PLAIN:
            raise RefusedNameError(f"it holds an array of type {self.name!r}")
        return np.dtype(self.order + self.name)


class _Array:
    """What stands for an array: a NumPy array of plain numbers or text, or a list of objects."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, content = state
        if not isinstance(kind, _Type):
            raise pickle.UnpicklingError("an array has no type")
        if not kind.objects:
            self.values = _from_bytes(content, kind, shape, "F" if columns_first else "C")
        elif isinstance(content, list) and len(shape) == 1 and len(content) == shape[0]:
            self.values = content
        else:
            raise pickle.UnpicklingError(f"an array of objects has shape {shape}")


def _from_bytes(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """A plain array, which shares the bytes it is given."""
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("an array is not made of bytes")
    dtype = kind.numpy()
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        raise pickle.UnpicklingError(f"an array has shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise pickle.UnpicklingError(f"an array of shape {shape} has {len(content)} bytes")
    if not content:
        return np.zeros(shape, dtype)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


def _empty(*_: Any) -> _Array:
    """An array before it is given its content."""
    return _Array()


def _scalar(kind: Any, content: Any = b"") -> Any:
    """A number of NumPy as Python's."""
    return _from_bytes(content, kind, (), "C").item()


def _bytes(text: Any, encoding: Any) -> bytes:
    """Bytes that an old pickle holds as text."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"bytes are in the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Empty bytes of an old pickle."""
    return b""


class _Routine:
    """A routine under a name; unlike a function, it cannot be given attributes."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a routine is given a state")


class _Unpickler(pickle.Unpickler):
    """An unpickler whose only names are those that NumPy gives to plain arrays."""

    def find_class(self, module: str, name: str) -> Any:
        own = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        found = {
            ("numpy", "dtype"): _Routine(_Type),
            ("numpy", "ndarray"): None,  # only ever an argument of the next
            ("numpy.core.multiarray", "_reconstruct"): _Routine(_empty),
            ("numpy.core.multiarray", "scalar"): _Routine(_scalar),
            ("numpy.core.numeric", "_frombuffer"): _Routine(_from_bytes),
            ("_codecs", "encode"): _Routine(_bytes),  # how old pickles hold bytes
            ("builtins", "bytes"): _Routine(_no_bytes),
        }
        if (own, name) not in found:
            raise RefusedNameError(f"it names {module}.{name}")
        return found[own, name]
