"""Options as text: `name=value`, where the value is JSON, `True`, `False` or plain text."""

import json
from collections.abc import Sequence
from typing import Any

from cog.errors import UsageError


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` texts.

    Raises:
        UsageError: a text has another form, or a name is given twice.
    """
    try:
        return read_pairs(texts)
    except ValueError as error:
        raise UsageError(
            f"option {str(error)!r} cannot be read",
            remedy="write name=value, each name once, numbers finite",
        ) from error


def read_pairs(texts: Sequence[str]) -> dict[str, Any]:
    """The same, for callers that word the error themselves.

    Raises:
        ValueError: with the text that cannot be read.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator) or name in options:
            raise ValueError(text)
        try:
            options[name] = _value(value)
        except ValueError as error:
            raise ValueError(text) from error
    return options


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_not_finite)
    except json.JSONDecodeError:
        return {"True": True, "False": False}.get(text, text)
    return tuple(value) if isinstance(value, list) else value


def _not_finite(name: str) -> Any:
    raise ValueError(name)
