"""Foreign Zarr stores, as folders or zip files: arrays of plain numbers, in compressions that run no code.

The metadata are read here, before the package `zarr` sees them: its codecs include pickles. Formats 2 and 3.
"""

import contextlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cog.core.files import read_remedy
from cog.datasets.importers.foreign.hdf5 import ANOTHER
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import missing_extra

PACKED = ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma")
FILTERED = ("delta", "shuffle", "fixedscaleoffset", "astype", "quantize", "packbits", "bitround", "transpose")
CHECKED = ("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3")
ADMITTED = {*PACKED, *FILTERED, *CHECKED, "bytes", "sharding_indexed"}
"""Codecs that only ever compute numbers from bytes."""
BLOSC_HEADER = 16  # bytes, of which the last four say how long the whole chunk is
ARRAY_2, FILE_3 = ".zarray", "zarr.json"
UNREADABLE = "write it again with the compression of `blosc`, `zstd` or `gzip`"


class ZarrStore:
    """A Zarr store of another package, open for reading."""

    def __init__(self, path: Path, marker: str) -> None:
        """Open the store.

        Args:
            path: its folder or zip file.
            marker: an array that it must hold; in a zip file, it shows which folder is the store.

        Raises:
            DataError: it is no such store.
            CogError: the package `zarr` is not installed.
        """
        try:
            import zarr
            import zarr.storage
        except ImportError as error:
            raise missing_extra("zarr", "zarr") from error
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._prefix = ""
        self._texts: dict[str, Mapping[str, Any] | None] = {}
        self._store: Any = None
        self._whole: set[str] = set()  # arrays whose chunks were found complete
        try:
            if not path.is_dir():
                self._zip = zipfile.ZipFile(path)
                self._prefix = self._find(marker)
            if self._metadata(marker) is None:
                rule = f"must hold the array {marker}; this is not such a Zarr store"
                raise DataError(Problem(path, marker, rule, ANOTHER))
            self._store = str(path) if self._zip is None else zarr.storage.ZipStore(path, mode="r")
            self._group = self._open(zarr)
        except (OSError, zipfile.BadZipFile) as error:
            self.close()
            raise DataError(
                Problem(path, "", f"cannot be read as Zarr ({error})", read_remedy(error, ANOTHER))
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the zip file."""
        if self._zip is not None:
            self._zip.close()
            if hasattr(self._store, "close"):
                self._store.close()

    def arrays(self, group: str) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Type and shape of every array in a group, by name; of those that are plain numbers or text."""
        found = {}
        for name in self._names(group):
            described = self._metadata(f"{group}/{name}")
            if described is not None:
                with contextlib.suppress(TypeError, ValueError, KeyError):
                    kind = described.get("dtype", described.get("data_type"))
                    found[name] = (np.dtype(str(kind)), tuple(int(side) for side in described["shape"]))
        return found

    def files(self, names: list[str]) -> list[Path]:
        """The files that hold these arrays, of a folder with their metadata.

        Raises:
            DataError: one of them is a link to elsewhere.
        """
        if self._zip is not None:
            return [self.path]
        found = [file for name in names for file in sorted((self.path / name).rglob("*")) if file.is_file()]
        root = self.path.resolve()
        for file in found:
            if not file.resolve().is_relative_to(root):
                rule = "must not be a link to elsewhere"
                remedy = "copy the folder with what its links name: cp -rL"
                raise DataError(Problem(self.path, str(file.relative_to(self.path)), rule, remedy))
        return found

    def unstored(self, name: str) -> int:
        """Number of chunks of an array that are not stored, and read as one constant."""
        with self._reading(name):
            array = self._array(name)
            return int(array.nchunks) - int(array.nchunks_initialized)

    def length(self, name: str) -> int:
        """Number of rows of an array."""
        with self._reading(name):
            return int(self._array(name).shape[0])

    def read(self, name: str, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Rows `begin` to `end` of an array of numbers.

        Raises:
            DataError: there is no such array, it needs a codec that is not admitted, or cannot be read.
        """
        with self._reading(name):
            return np.asarray(self._array(name)[begin:end])

    def _array(self, name: str) -> Any:
        """The array `name`, if it may be read."""
        described = self._metadata(name)
        if described is None or not described.get("shape"):
            raise DataError(Problem(self.path, name, "must be present, as an array", ANOTHER))
        kind = np.dtype(str(described.get("dtype", described.get("data_type"))))
        if kind.kind not in "fiub":
            rule = f"must be plain numbers, found type {kind}"
            raise DataError(Problem(self.path, name, rule, "store it as an array of fixed size and type"))
        texts = [self._text(f"{name}/{file}") for file in (ARRAY_2, FILE_3)]  # the package may take either
        foreign = sorted({codec for text in texts for codec in _codecs(text)} - ADMITTED)
        if foreign:
            rule = f"is compressed with {', '.join(foreign)}, which is not read"
            raise DataError(Problem(self.path, name, rule, UNREADABLE))
        self._check_whole(name)
        return self._group[name]

    def _check_whole(self, name: str) -> None:
        """Refuse cut-off chunks in Blosc, which would decode to other values without an error.

        Other compressions notice it themselves, and zip files have a checksum of every member.
        """
        described = self._metadata(name) or {}
        last = (described.get("codecs") or [described.get("compressor")])[-1]
        if name in self._whole or self._zip is not None or next(_codecs({"compressor": last}), "") != "blosc":
            return
        for file in (self.path / name).rglob("*"):
            if not file.is_file() or file.name.startswith(".") or file.name == FILE_3:
                continue
            with file.open("rb") as opened:
                head = opened.read(BLOSC_HEADER)
            said, found = int.from_bytes(head[-4:], "little"), file.stat().st_size
            if len(head) < BLOSC_HEADER or found < said:
                wanted = f" of {said}" if len(head) == BLOSC_HEADER else ""
                rule = f"is cut off: it holds {found} bytes{wanted}"
                field = file.relative_to(self.path).as_posix()
                raise DataError(
                    Problem(self.path, field, rule, "copy the store again from where it is whole")
                )
        self._whole.add(name)

    def _open(self, zarr: Any) -> Any:
        """The store's root, opened by the package."""
        try:
            own = {} if zarr.__version__.startswith("2.") else {"use_consolidated": False}
            path = self._prefix.rstrip("/") or None
            return zarr.open_group(store=self._store, path=path, mode="r", **own)
        except Exception as error:
            remedy = ANOTHER
            if zarr.__version__.startswith("2.") and self._text(FILE_3) is not None:
                remedy = "install zarr 3 to read Zarr format 3"
            raise DataError(Problem(self.path, "", f"cannot be read as Zarr ({error})", remedy)) from error

    def _find(self, marker: str) -> str:
        """The folder within the zip file in which the store lies, ending in `/`, or nothing."""
        assert self._zip is not None
        for name in self._zip.namelist():
            for ending in (f"{marker}/{ARRAY_2}", f"{marker}/{FILE_3}"):
                if name == ending or name.endswith(f"/{ending}"):
                    return name.removesuffix(ending)
        return ""

    def _names(self, group: str) -> list[str]:
        """Sorted names in a group."""
        if self._zip is None:
            folder = self.path / group
            return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        begin = f"{self._prefix}{group}/"
        below = (name.removeprefix(begin) for name in self._zip.namelist() if name.startswith(begin))
        return sorted({name.split("/")[0] for name in below if "/" in name})

    def _metadata(self, name: str) -> Mapping[str, Any] | None:
        """What the store says of an array; None if there is none of this name."""
        for file in (ARRAY_2, FILE_3):
            described = self._text(f"{name}/{file}")
            if described is not None and described.get("node_type", "array") == "array":
                return described
        return None

    def _text(self, file: str) -> Mapping[str, Any] | None:
        """A JSON file of the store; None if it does not exist.

        Raises:
            DataError: it is not a JSON object.
        """
        if file in self._texts:
            return self._texts[file]
        try:
            if self._zip is None:
                data = (self.path / file).read_bytes()
            else:
                data = self._zip.read(self._prefix + file)
            value = json.loads(data)
        except (FileNotFoundError, NotADirectoryError, KeyError):
            value = None
        except (OSError, ValueError, RecursionError, zipfile.BadZipFile) as error:
            raise DataError(
                Problem(self.path, file, f"cannot be read ({error})", read_remedy(error, ANOTHER))
            ) from error
        if value is not None and not isinstance(value, dict):
            raise DataError(Problem(self.path, file, "must be a JSON object", ANOTHER))
        self._texts[file] = value
        return value

    @contextlib.contextmanager
    def _reading(self, field: str) -> Iterator[None]:
        """Turn whatever the package raises over unreadable bytes into an error that names the array."""
        try:
            yield
        except (DataError, MemoryError):
            raise
        except Exception as error:
            rule = f"cannot be read ({error})"
            raise DataError(Problem(self.path, field, rule, ANOTHER)) from error


def _codecs(described: Any) -> Iterator[str]:
    """Names of all codecs in the metadata of an array, those within others included."""
    if isinstance(described, dict):
        entries = [described.get("compressor"), *(described.get("filters") or ())]  # of format 2
        for key in ("codecs", "index_codecs"):  # of format 3
            entries += described.get(key) or ()
        for entry in entries:
            if entry is not None:
                named = entry if isinstance(entry, dict) else {"id": entry}
                yield str(named.get("id", named.get("name"))).removeprefix("numcodecs.")
                yield from _codecs(named.get("configuration"))
