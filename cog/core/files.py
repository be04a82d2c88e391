"""Durable files: a path holds the whole new file or the previous one, never a part.

Every write of the toolkit goes through `write_atomically`: temporary name in the same folder, write, fsync,
rename, fsync of the folder. What must not replace anything is published as `new`: whoever comes second is
refused by the file system itself, however close the two were.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cog.errors import CogError
from cog.version import VERSION

TEMPORARY_SUFFIX = ".partial"
LONGEST_STEM = 180  # bytes of a name that hidden names beside it repeat; file systems allow 255
RETRY = "Free space or choose another folder, then run the same command again."
PERMIT = "ask for the permission to read it; its owner gives it with: chmod a+r (folders: chmod a+rx)"
DENIED = (errno.EACCES, errno.EPERM)
OTHER_NAME = "choose another name, or delete it first"
REMEDIES = {
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "choose a path that does not lead back to itself",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or choose a file system without one",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder that you may write into"),
}
"""What helps against an error of the system, where it is not `RETRY`."""
NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


class Taken(CogError):  # noqa: N818 - it is a state, not a failure
    """Something was published under the name of a new output while that was being made."""

    def __init__(self, path: Path) -> None:
        what = f"exists already{since(path)}; it was left as it is, and nothing was written"
        super().__init__(what, where=path, remedy=OTHER_NAME)
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return type(self), (self.path,)


def write_atomically(path: Path, writer: Callable[[Path], None], new: bool = False) -> None:
    """Let `writer` fill a temporary file, then publish it under `path` in one step.

    Raises:
        Taken: it must be `new`, and something has that name by now.
        CogError: the file could not be written (disk full, no permission); `path` is as it was before.
    """
    temporary = beside(path, f"{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    state = "the file is as it was before" if path.exists() and not new else "nothing was written"
    try:
        make_folder(path.parent)
        writer(temporary)
        fsync(temporary)
        if new:
            _publish_new(temporary, path)
        else:
            temporary.replace(path)
        state = "the file is written, but the disk did not confirm it"
        fsync(path.parent)
    except OSError as error:
        raise unwritten(path, error, state) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def nowhere(path: Path) -> str:
    """That a path is a link to what does not exist, as a part of a sentence; nothing of any other."""
    try:
        dangling = path.is_symlink() and not path.exists()
        return f", a link to {path.readlink()}, which does not exist" if dangling else ""
    except OSError:  # a loop of links
        return ""


def since(path: Path) -> str:
    """When a file was written, as a part of a sentence; nothing if that cannot be told."""
    if dangling := nowhere(path):
        return dangling
    try:
        return time.strftime(", written %Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
    except (OSError, OverflowError, ValueError):
        return ""


def unwritten(path: Path, error: OSError, state: str) -> CogError:
    """The error for a path that the system did not let write; `state` says what is there now."""
    why = error.strerror or error
    remedy = REMEDIES.get(error.errno or 0, RETRY)
    return CogError(f"could not be written ({why}); {state}", where=path, remedy=remedy)


def read_remedy(error: BaseException, otherwise: str) -> str:
    """What helps against an error of reading: the permission where that was denied, or what else helps."""
    return PERMIT if isinstance(error, OSError) and error.errno in DENIED else otherwise


def may_read(path: Path) -> bool:
    """Whether the system lets this user read a file or folder, or find out that there is none."""
    if not all(os.access(folder, os.X_OK) for folder in path.absolute().parents if os.path.lexists(folder)):
        return False
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return not path.exists() or os.access(path, needed)


def refuse_unreadable(path: Path) -> None:
    """Refuse a file or folder that this user may not read.

    Raises:
        CogError: the permission is missing.
    """
    if not may_read(path):
        raise CogError("cannot be read: permission is denied", where=path, remedy=PERMIT)


def beside(path: Path, ending: str) -> Path:
    """A hidden name in the same folder that belongs to `path`, short enough even if its own is not."""
    stem = path.name.encode()
    if len(stem) > LONGEST_STEM:
        digest = hashlib.blake2b(stem, digest_size=8).hexdigest()
        stem = stem[:LONGEST_STEM].decode(errors="ignore").encode() + f"~{digest}".encode()
    return path.with_name(f".{stem.decode()}.{ending}")


def _publish_new(temporary: Path, path: Path) -> None:
    """Give a file its final name unless that is taken: a link never replaces anything.

    Without hard links the name is first taken by an empty file, which only its own writer then replaces.

    Raises:
        Taken: something has that name.
    """
    try:
        os.link(temporary, path)
        return
    except FileExistsError:
        raise Taken(path) from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise Taken(path) from None
    try:
        temporary.replace(path)
    except OSError:
        path.unlink()
        raise


def write_bytes(path: Path, data: bytes, new: bool = False) -> None:
    """Publish `data` under `path` atomically; raises as `write_atomically` does."""

    def writer(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, writer, new)


def write_json(path: Path, value: Any, new: bool = False) -> None:
    """Publish `value` as indented JSON with sorted keys; NaN and infinity are refused."""
    write_bytes(path, json_text(value).encode(), new)


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
        raise CogError(f"no such file{nowhere(path)}; expected {what}", where=path) from None
    except (ValueError, RecursionError, OSError) as error:
        raise CogError(
            f"{what} cannot be read ({error})", where=path, remedy=read_remedy(error, "") or None
        ) from error
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


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer of Git LFS, which stands in for one that was not fetched."""
    try:
        return path.stat().st_size < 1024 and path.read_bytes().startswith(b"version https://git-lfs")
    except OSError:
        return False


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
        dangling = nowhere(path).removeprefix(", ") if error.errno == errno.EEXIST else ""
        why = f"it is {dangling}" if dangling else error.strerror
        raise CogError(
            f"cannot be used as a folder ({why}); nothing was written into it",
            where=path,
            remedy=REMEDIES.get(error.errno or 0, "choose another one"),
        ) from error


def sweep(folder: Path) -> None:
    """Remove what killed writers left half-written; nobody else may be writing into the folder."""
    for stray in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        discard(stray)


def discard(path: Path) -> None:
    """Remove a file or a folder, as far as the disk allows."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def fsync(path: Path) -> None:
    """Flush a file, or a folder and the renames in it, to disk.

    Some file systems do not know such a thing of folders: theirs are as durable as they can be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_FOR_FOLDERS or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def write_folder_atomically(path: Path, writer: Callable[[Path], None]) -> None:
    """Let `writer` fill a new folder next to `path`, then publish all its files under `path` in one step.

    Raises:
        Taken: `path` holds something by now; it was left as it is.
        CogError: it could not be written (disk full, no permission); nothing was published.
    """
    temporary = beside(path, f"{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        make_folder(path.parent)
        temporary.mkdir()
        writer(temporary)
        for entry in (*temporary.rglob("*"), temporary):
            fsync(entry)
        try:
            temporary.rename(path)  # which replaces an empty folder at most
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise Taken(path) from None
            raise
        fsync(path.parent)
    except OSError as error:
        raise unwritten(path, error, "nothing was published") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
