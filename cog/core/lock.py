"""One writer at a time: who fills a folder locks it, who makes a file reserves its name; a second is told.

The kernel holds the lock (`flock` on the folder, or on a hidden file beside the reserved name) and releases
it with its process, however that ends. The file `.lock` only says who holds it; one that a killed process
left behind means nothing.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cog.core.files import (
    TEMPORARY_SUFFIX,
    beside,
    discard,
    make_folder,
    read_json,
    sweep,
    unwritten,
    write_json,
)
from cog.errors import CogError, UsageError

LOCK = ".lock"
LITTER = r"\._.*|\.DS_Store|\.nfs[0-9a-f]+"
"""Hidden files that operating systems leave in folders, as a pattern; they are nobody's content."""
UNLOCKABLE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Locked(CogError):  # noqa: N818 - it is a state, not a failure
    """Another process holds a folder or a name."""


class Unlockable(CogError):  # noqa: N818 - it is a state, not a failure
    """The file system grants no locks."""


@contextlib.contextmanager
def locked(folder: Path, needed: bool = True) -> Iterator[None]:
    """Lock a folder against all other processes, and remove what a killed writer left half-written in it.

    Where a result is published in one step at the end, which replaces nothing, the lock only saves work: it
    is not `needed`, and a file system without locks will do.

    Raises:
        Locked: another process holds it; the message names its id, host, begin and command.
        Unlockable: the lock is needed, and the file system grants none.
        CogError: it cannot be locked.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CogError(f"cannot be locked ({error.strerror})", where=folder) from error
    try:
        held = _lock(descriptor, folder, folder / LOCK, "writing into this folder", needed)
        if held and not _same(descriptor, folder):
            raise CogError(
                "cannot be locked (another process has just removed it)", where=folder, remedy="try again"
            )
        if held:
            sweep(folder)
            write_json(folder / LOCK, _this_process())
        try:
            yield
        finally:
            if held:
                with contextlib.suppress(OSError):
                    (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reserved(path: Path) -> Iterator[None]:
    """Reserve the name of an output, and remove what a killed writer of this very output left half-written.

    Where the file system grants no locks this does nothing, and publishing still replaces nothing.

    Raises:
        Locked: another process is making it; the message names its id, host, begin and command.
        CogError: nothing can be written there.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    file = beside(path, LOCK[1:])
    descriptor, held = _reserve(path, file)
    try:
        if held:  # otherwise another may be writing
            _sweep_beside(path)
        with contextlib.suppress(OSError):  # a lock that does not say whose it is still is one
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        yield
        made = []
    except UsageError:
        raise
    except BaseException:
        made = []
        raise
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)  # once: by then the name may be another's
            for folder in made:  # wrong usage leaves nothing, not even a folder
                folder.rmdir()
        os.close(descriptor)


def _reserve(path: Path, file: Path) -> tuple[int, bool]:
    """The open file beside an output that stands for its name, and whether it is locked.

    Raises:
        Locked, CogError: as `reserved` does.
    """
    while True:
        make_folder(path.parent)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # another has just removed the folder, which was empty
        except OSError as error:
            raise unwritten(path, error, "nothing was written") from error
        try:
            held = _lock(descriptor, path, file, "writing this", needed=False)
            if not held or _same(descriptor, file):
                return descriptor, held
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has just removed it


def _lock(descriptor: int, what: Path, file: Path, doing: str, needed: bool) -> bool:
    """Lock an open file or folder; False where that is neither possible nor needed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        raise Locked(
            f"another process is {doing}{_holder(file)}; nothing was written",
            where=what,
            remedy="Wait until it is done, or choose another name.",
        ) from None
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise CogError(f"cannot be locked ({error.strerror})", where=what, remedy="try again") from error
        if needed:
            raise Unlockable(
                f"this file system grants no locks ({error.strerror}), so two commands could write here at "
                "once; nothing was written",
                where=what,
                remedy="choose a folder on another file system, or have this one mounted with locks "
                "(NFS: its lock service; Lustre: the option flock)",
            ) from error
        return False


def _same(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sweep_beside(path: Path) -> None:
    """Remove what killed writers of this very output left half-written."""
    name = re.escape(beside(path, "").name)
    stray = re.compile(rf"{name}[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}")
    with contextlib.suppress(OSError):  # what stays is hidden, and in nobody's way
        for entry in path.parent.iterdir():
            if stray.fullmatch(entry.name):
                discard(entry)


def at_work(folder: Path) -> str | None:
    """Who has locked a folder, as an end of a sentence, empty if that cannot be read; None if nobody has."""
    if not (folder / LOCK).exists():  # spares a moment in which the folder would be locked
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _holder(folder / LOCK)
    except OSError:  # the file system grants no locks
        return None
    finally:
        os.close(descriptor)


def content(folder: Path) -> list[Path]:
    """Entries of a folder, apart from a lock, unfinished files and what operating systems leave there.

    Raises:
        CogError: it is not a folder or cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CogError(f"cannot be used as a folder ({error.strerror})", where=folder) from error
    passed_over = re.compile(rf"{re.escape(LOCK)}|.*{re.escape(TEMPORARY_SUFFIX)}|{LITTER}", re.DOTALL)
    return [path for path in entries if not passed_over.fullmatch(path.name)]


def _this_process() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _holder(file: Path) -> str:
    """Who holds the lock, in words, if that can be read yet."""
    try:
        holder = read_json(file, "a lock")
        who = f"process {holder['process']} on {holder['host']}, since {holder['since']}"
        return f": {who}, running: {holder['command']}"
    except (CogError, KeyError):
        return ""
