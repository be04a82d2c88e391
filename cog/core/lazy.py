"""What is imported only once it is needed: commands, data formats, optional packages."""

import difflib
import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, NamedTuple

from cog.errors import UsageError, missing_extra


class Entry(NamedTuple):
    """One row of such a table."""

    module: str
    """Module that holds it."""
    name: str
    """Its name in the module."""
    help: str
    """What it is, in one line."""

    def load(self) -> Any:
        """Import the module and return what the row names."""
        return getattr(importlib.import_module(self.module), self.name)


def look_up(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The row of a table; `what` says what its rows are, such as "command".

    Raises:
        UsageError: no row has that name; the message names the nearest one, or all.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(table)}"
    raise UsageError(f"there is no {what} {name!r}", remedy=remedy)


def needed(package: str, extra: str) -> None:
    """Refuse to go on without an optional package, before anything else is done.

    Raises:
        CogError: it is not installed; the message names the extra that brings it.
    """
    if importlib.util.find_spec(package) is None:
        raise missing_extra(package, extra)
