"""Durable files: a path holds the whole new file or the previous one, never a part.

Every write of the toolkit goes through `write_atomically`: temporary name in the same folder, write, fsync,
rename, fsync of the folder.
"""

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cog.errors import CogError
from cog.version import VERSION

TEMPORARY_SUFFIX = ".partial"
RETRY = "Free space or choose another folder, then run the same command again."


def write_atomically(path: Path, writer: Callable[[Path], None]) -> None:
    """Let `writer` fill a temporary file, then publish it under `path` in one step.

    Raises:
        CogError: the file could not be written (disk full, no permission); `path` is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    state = "the file is as it was before"
    try:
        make_folder(path.parent)
        writer(temporary)
        fsync(temporary)
        temporary.replace(path)
        state = "the file is written, but the disk did not confirm it"
        fsync(path.parent)
    except OSError as error:
        raise CogError(
            f"could not be written ({error.strerror or error}); {state}", where=path, remedy=RETRY
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Publish `data` under `path` atomically."""

    def writer(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, writer)


def write_json(path: Path, value: Any) -> None:
    """Publish `value` as indented JSON with sorted keys; NaN and infinity are refused."""
    write_bytes(path, json_text(value).encode())


def json_text(value: Any) -> str:
    """The text that `write_json` writes; the same value gives the same text."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def read_json(path: Path, what: str, read: Callable[[Path], bytes] = Path.read_bytes) -> dict[str, Any]:
    """Read a JSON object; `what` names its role in the error message, `read` gives the bytes of a path.

    Raises:
        CogError: the file is missing, is not JSON or is not an object.
    """
    try:
        value = json.loads(read(path).decode())
    except (FileNotFoundError, NotADirectoryError):
        raise CogError(f"no such file; expected {what}", where=path) from None
    except (ValueError, RecursionError, OSError) as error:
        raise CogError(f"{what} cannot be read ({error})", where=path) from error
    if not isinstance(value, dict):
        raise CogError(f"{what} must be a JSON object, found {type(value).__name__}", where=path)
    return value


def home(path: Path) -> Path:
    """Folder that the paths in a file are relative to: for a symbolic link, that of the file it points to."""
    return (path.resolve() if path.is_symlink() else path).parent


def hash_file(path: Path) -> str:
    """The blake2b-256 digest of a file's bytes, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """The blake2b-256 digest of a value's canonical JSON text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def code_version() -> str:
    """The version recorded in every file that the toolkit writes."""
    return f"cog {VERSION}"


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, each synced to disk.

    Raises:
        CogError: a file is in the way, the disk is full or permission is denied.
    """
    missing = itertools.takewhile(lambda folder: not folder.is_dir(), (path, *path.parents))
    try:
        for folder in reversed(list(missing)):
            folder.mkdir(exist_ok=True)
            fsync(folder.parent)
    except OSError as error:
        raise CogError(
            f"cannot be used as a folder ({error.strerror}); nothing was written into it",
            where=path,
            remedy="choose another one",
        ) from error


def sweep(folder: Path) -> None:
    """Remove what killed writers left half-written; nobody else may be writing into the folder."""
    for stray in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        if stray.is_dir():
            shutil.rmtree(stray, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                stray.unlink()


def fsync(path: Path) -> None:
    """Flush a file, or a folder and the renames in it, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_folder_atomically(path: Path, writer: Callable[[Path], None]) -> None:
    """Let `writer` fill a new folder next to `path`, then publish all its files under `path` in one step.

    Raises:
        CogError: it could not be written (disk full, no permission) or `path` holds something; nothing was
            published.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        temporary.mkdir(parents=True)
        writer(temporary)
        for entry in (*temporary.rglob("*"), temporary):
            fsync(entry)
        temporary.rename(path)
        fsync(path.parent)
    except OSError as error:
        raise CogError(
            f"could not be written ({error.strerror or error}); nothing was published",
            where=path,
            remedy=RETRY,
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
