"""Start and end of a program: choose one of several entries by name, and turn errors into exit codes."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.table import Table

from cog.core.console import console, messages
from cog.core.lazy import Entry, look_up
from cog.errors import CogError, FailedElsewhere, UsageError


@contextmanager
def exit_codes() -> Iterator[None]:
    """Print an error of the toolkit in one line and exit with its code."""
    try:
        yield
    except FailedElsewhere as error:
        sys.exit(error.exit_code)
    except CogError as error:
        messages().print(f"cog: {error}", style="red")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        messages().print("cog: interrupted", style="red")
        sys.exit(CogError.exit_code)


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
    rows = Table.grid(padding=(0, 2))
    for key, entry in entries.items():
        rows.add_row(f"  {key}", entry.help)
    screen = console() if name else messages()
    screen.print(f"usage: {usage}\n\n{about}\n")
    screen.print(rows)
    screen.print(f"\n--help after a {what} shows its options.")
    sys.exit(0 if name else UsageError.exit_code)
