"""Lazy tables: commands and data formats that are imported only once they are chosen."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from cog.errors import UsageError


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
