"""One writer at a time: a folder is locked while it is written into; a second writer learns who holds it.

The kernel holds the lock (`flock` on the folder) and releases it with its process, however that ends. The
file `.lock` in the folder only says who holds it; one that a killed process left behind means nothing.
"""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cog.core.files import TEMPORARY_SUFFIX, read_json, sweep, write_json
from cog.errors import CogError

LOCK = ".lock"


class Locked(CogError):  # noqa: N818 - it is a state, not a failure
    """Another process holds a folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against all other processes, and remove what a killed writer left half-written in it.

    Raises:
        Locked: another process holds it; the message names its id, host, begin and command.
        CogError: it cannot be locked.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CogError(f"cannot be locked ({error.strerror})", where=folder) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(descriptor), folder.stat()):
                raise FileNotFoundError(errno.ENOENT, "another process has just removed it")
        except BlockingIOError:
            raise Locked(
                f"another process is writing into this folder{_holder(folder)}; nothing was written",
                where=folder,
                remedy="Wait until it is done, or choose another folder.",
            ) from None
        except OSError as error:
            raise CogError(
                f"cannot be locked ({error.strerror})", where=folder, remedy="try again"
            ) from error
        sweep(folder)
        write_json(folder / LOCK, _this_process())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def content(folder: Path) -> list[Path]:
    """Entries of a folder, apart from a lock and unfinished files.

    Raises:
        CogError: it is not a folder or cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CogError(f"cannot be used as a folder ({error.strerror})", where=folder) from error
    return [path for path in entries if path.name != LOCK and not path.name.endswith(TEMPORARY_SUFFIX)]


def _this_process() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _holder(folder: Path) -> str:
    """Who holds the lock, in words, if that can be read yet."""
    try:
        holder = read_json(folder / LOCK, "a lock")
        who = f"process {holder['process']} on {holder['host']}, since {holder['since']}"
        return f": {who}, running: {holder['command']}"
    except (CogError, KeyError):
        return ""
