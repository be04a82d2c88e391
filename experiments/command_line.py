"""Settings as words of a command line, such that the command reads the very values again."""

from collections.abc import Mapping, Sequence
from typing import Any


def changed(
    values: Mapping[str, Any], standard: Mapping[str, Any], left_out: Sequence[str] = ()
) -> list[str]:
    """The options for those settings (as JSON) that are not the standard ones."""
    words: list[str] = []
    for name, value in values.items():
        if name in left_out or (name in standard and value == standard[name]):
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
    return words


def number(value: float) -> str:
    """The shortest text of a number that gives it again: six digits where they are enough."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
