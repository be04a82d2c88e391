"""Start and end of a program: choose one of several entries by name, and turn errors into exit codes."""

import errno
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TextIO

from cog.core.console import console, listing, messages
from cog.core.files import DENIED, PERMIT, REMEDIES, may_read
from cog.core.lazy import Entry, look_up
from cog.errors import CogError, FailedElsewhere, UsageError, sentences

MEMORY = "close other programs, use a machine with more memory, or ask for less: fewer or smaller images"
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
PRINT_ELSEWHERE = "send it elsewhere; what the command has written into files is there"
LINUX_LOOP = "Symlink loop from"  # how Python before 3.13 begins it


@contextmanager
def exit_codes() -> Iterator[None]:
    """Print an error of the toolkit, or what the system refused, in one line and exit with its code.

    A reader of the output that has left ends a program quietly; a second Ctrl-C ends no cleaning up. Without
    an output, as in some services, nothing is printed.
    """
    _fill_streams()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, where a reader that has left can still be met
    except FailedElsewhere as error:
        sys.exit(error.exit_code)
    except CogError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end("interrupted")
    except MemoryError as error:
        _end(short_of_memory(error))
    except OSError as error:
        if left := [stream for stream in (sys.stdout, sys.stderr) if _reader_left(stream)]:
            _forget(left)
            sys.exit(CogError.exit_code)
        if error.strerror is None:
            raise
        if error.errno in FULL and _place(error) is None and _fills(sys.stdout):
            _forget([sys.stdout])
            with suppress(OSError):  # where stderr leads to the same place
                _end(sentences(f"the output could not be printed ({error.strerror})", remedy=PRINT_ELSEWHERE))
            _forget([sys.stderr])
            sys.exit(CogError.exit_code)
        _end(sentences(error.strerror, _place(error), _remedy(error)))
    except RuntimeError as error:
        if is_shortage(error):
            _end(short_of_memory(error))
        if not str(error).startswith(LINUX_LOOP):
            raise
        _end(sentences(str(error), remedy=REMEDIES[errno.ELOOP]))


def _fill_streams() -> None:
    """Let closed standard streams lead nowhere: the next file to be opened would take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows its number
        if hasattr(stream, "reconfigure") and str(stream.encoding).lower() not in ("utf-8", "utf8"):
            stream.reconfigure(errors="backslashreplace")


def is_shortage(error: BaseException) -> bool:
    """Whether PyTorch reports that an allocation failed, on the host or on a device."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def short_of_memory(error: BaseException) -> str:
    """One line on memory that was not there; `error` says for what, such as "to read shards/00000.h5"."""
    said = str(error).strip().splitlines()
    what = f" {said[0]}" if said and said[0].startswith("to ") else f" ({said[0]})" if said else ""
    return sentences(f"not enough memory{what}", remedy=MEMORY)


def _reader_left(stream: TextIO) -> bool:
    """Whether a stream is a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _fills(stream: TextIO) -> bool:
    """Whether a stream leads to something that can be full: a file or a device, but no terminal."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
        return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not stream.isatty())
    except (OSError, ValueError):
        return False


def _forget(streams: Sequence[TextIO]) -> None:
    """Let streams lead nowhere: the interpreter would try to write their last words again."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _place(error: OSError) -> str | None:
    names = (error.filename, error.filename2)
    return next((os.fsdecode(name) for name in names if isinstance(name, str | bytes)), None)


def _remedy(error: OSError) -> str | None:
    """What helps against an error of the system, which does not say whether it was reading or writing."""
    place = _place(error)
    if error.errno in DENIED and place is not None and not may_read(Path(place)):
        return PERMIT
    return REMEDIES.get(error.errno or 0)


def _end(text: str, code: int = CogError.exit_code) -> NoReturn:
    """Print why a program ends, and end it."""
    messages().print(f"cog: {text}", style="red")
    sys.exit(code)


def choose(
    entries: Mapping[str, Entry], what: str, usage: str, about: str, arguments: Sequence[str]
) -> tuple[str, Entry, list[str]]:
    """The entry that the first of a command line's arguments names, its name, and the other arguments.

    `--help` in its place lists all entries and exits; `what` says what an entry is, such as "command".

    Raises:
        UsageError: no entry has that name.
    """
    name, *rest = arguments or ("",)
    if name not in ("", "-h", "--help"):
        return name, look_up(entries, name, what), rest
    rows = listing({key: entry.help for key, entry in entries.items()})
    screen = console() if name else messages()
    screen.print(f"usage: {usage}\n\n{about}\n")
    screen.print(rows)
    screen.print(f"\n--help after a {what} shows its options.")
    sys.exit(0 if name else UsageError.exit_code)
