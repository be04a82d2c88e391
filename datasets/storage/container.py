"""A container: the files of one dataset in one file, byte for byte; reading works on either.

A container is a zip archive that compresses nothing, so any tool unpacks it to the same files. It ends with
the hash of all bytes before it. A path may lead into it: `data.zip/manifest.json` is the manifest in the
container `data.zip`. Containers are written once and never changed.
"""

import errno
import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TypeVar

from cog.core.files import write_atomically
from cog.datasets.storage.problem import DataError, Problem

MANIFEST, COLLECTION = "manifest.json", "collection.json"  # of a dataset, and of a collection's beginning
MAGIC = b"cog packed dataset 1, blake2b-256 of all before this word: "
DIGEST_SIZE = 64  # hexadecimal digits
ZIP_STARTS = b"PK\x03\x04"
MEMBER = re.compile(r"(manifest|collection)\.json|shards/[0-9]{5,}\.h5|relabels/\w[\w.-]*\.json", re.ASCII)
FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that the bytes depend on nothing but the files
EARLIER_VIEW = re.compile(r"relabels/\w[\w.-]*\.json")
"""What cog 0.1 packed as well: views whose names hold letters beyond ASCII."""
EXPECTED = "must be manifest, header, shard or view, once, uncompressed, of a plain ASCII name; nothing else"
RENAME = "remove the file; a view can be made again under a name of ASCII letters, digits, '_', '-' and '.'"
COPY = "restore the file from a copy, or pack the dataset again"

T = TypeVar("T")


def is_container(path: Path) -> bool:
    """Whether a path is a file that is a container, or any other zip archive, which readers then refuse."""
    try:
        with path.open("rb") as file:
            return file.read(len(ZIP_STARTS)) == ZIP_STARTS or zipfile.is_zipfile(file)
    except OSError:
        return False


def write_container(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Publish files, each as its name and content, as the container `path`; equal files give equal bytes.

    Raises:
        Taken: something has that name by now.
        CogError: a name is not that of a dataset's file, or it could not be written; nothing is published.
    """

    def writer(temporary: Path) -> None:
        with temporary.open("w+b") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, data in members:
                    if not MEMBER.fullmatch(name):
                        raise DataError(Problem(path, name, EXPECTED, RENAME))
                    info = zipfile.ZipInfo(name, FIRST_DATE)
                    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                    archive.writestr(info, data)
                archive.comment = MAGIC + bytes(DIGEST_SIZE)
            digest = _digest(file)
            file.seek(-DIGEST_SIZE, os.SEEK_END)
            file.write(digest)

    write_atomically(path, writer, new=True)


def check_container(path: Path, content: bool = False) -> list[str]:
    """Refuse a file that is not a container or holds anything unexpected; returns the names of its members.

    With `content`, every byte of the file is checked against its hash as well.

    Raises:
        DataError: it is not a container, or it is damaged or manipulated.
    """

    def hold(archive: zipfile.ZipFile) -> list[str]:
        if content:
            with path.open("rb") as file:
                digest = _digest(file)
            if not archive.comment.endswith(digest):
                rule = "the file differs from the hash at its end"
                raise DataError(Problem(path, "content", rule, COPY))
        for info in archive.infolist():
            plain = stat.S_ISREG(info.external_attr >> 16) and info.compress_type == zipfile.ZIP_STORED
            if not (plain and _is_member(info.filename)) or archive.getinfo(info.filename) is not info:
                raise DataError(Problem(path, info.filename, EXPECTED, COPY))
        return sorted(archive.namelist())

    return _opened(path, hold)


def read_bytes(path: Path) -> bytes:
    """The content of a file, which may lie in a container.

    Raises:
        OSError: it cannot be read, as for `Path.read_bytes`.
        DataError: the container is damaged or manipulated.
    """
    container = _container_of(path)
    if container is None:
        return path.read_bytes()
    name = path.relative_to(container).as_posix()

    def read(archive: zipfile.ZipFile) -> bytes:
        if name not in archive.NameToInfo:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise DataError(Problem(path, "file", "must be stored in the packed dataset uncompressed", COPY))
        return archive.read(info)

    return _opened(container, read)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder, or such a file in a container."""
    container = _container_of(path)
    if container is None:
        return path.exists()
    return path.relative_to(container).as_posix() in check_container(container)


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, which may lie in a container, in order; nothing if there is no such folder."""
    container = _container_of(folder)
    if container is None:
        return sorted(folder.glob("[!.]*"))  # hidden files are not the dataset's
    paths = [container / name for name in check_container(container)]
    return [path for path in paths if path.parent == folder]


def _is_member(name: str) -> bool:
    """Whether a packed dataset may hold a file of this name; digits of other scripts are none."""
    if MEMBER.fullmatch(name):
        return True
    return bool(EARLIER_VIEW.fullmatch(name)) and all(one.isascii() or one.isalpha() for one in name)


def _container_of(path: Path) -> Path | None:
    """The container that a path leads into, if it does."""
    if path.exists():
        return None
    return next((parent for parent in path.parents if is_container(parent)), None)


def _opened(path: Path, use: Callable[[zipfile.ZipFile], T]) -> T:
    """What `use` makes of the open archive; whatever damaged bytes lead to becomes a `DataError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.comment) != len(MAGIC) + DIGEST_SIZE or not archive.comment.startswith(MAGIC):
                rule = "this is a zip archive, but not a dataset packed by cog, or it is damaged"
                remedy = f"pass the folder of a dataset, or a file of cog pack; or {COPY}"
                raise DataError(Problem(path, "end", rule, remedy))
            return use(archive)
    except (DataError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # zipfile lets out more than its own errors
        rule = f"the packed dataset is truncated or damaged ({error})"
        raise DataError(Problem(path, "file", rule, COPY)) from error


def _digest(file: BinaryIO) -> bytes:
    """Hash, in hexadecimal, of a whole container except the place of that hash."""
    left = file.seek(0, os.SEEK_END) - DIGEST_SIZE
    file.seek(0)
    digest = hashlib.blake2b(digest_size=32)
    while left > 0:
        chunk = file.read(min(1 << 20, left))
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()
