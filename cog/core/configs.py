"""Frozen dataclasses of settings, written to and read from JSON.

Only the standard library is imported here, so that the command line starts fast.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from cog.errors import UsageError

APART = {"identity": False}
"""Metadata of a field that says where something lies or how it is computed, not what comes out."""


def to_json(config: Any) -> dict[str, Any]:
    """A config as plain JSON values."""
    return {item.name: _plain(getattr(config, item.name), to_json) for item in dataclasses.fields(config)}


def identity(config: Any) -> dict[str, Any]:
    """The fields of a config that decide what comes out, as plain JSON values: all but those `APART`."""
    return {
        item.name: _plain(getattr(config, item.name), identity)
        for item in dataclasses.fields(config)
        if item.metadata.get("identity", True)
    }


def apart(kind: Any) -> tuple[str, ...]:
    """Names of the fields of a config class that are no part of its identity."""
    return tuple(item.name for item in dataclasses.fields(kind) if not item.metadata.get("identity", True))


def from_json(values: Mapping[str, Any], kind: Any, where: str = "config") -> Any:
    """Rebuild a config of dataclass `kind`; fields left out take their defaults.

    Raises:
        UsageError: an unknown field, a missing one without default, or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(values) - set(hints)):
        raise UsageError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(hints))}")
    try:
        return kind(**{name: _typed(value, hints[name], f"{where}.{name}") for name, value in values.items()})
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from None


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names of the fields in which two configs (as JSON) differ, dotted, sorted."""
    found: list[str] = []
    for name in sorted(set(first) | set(second)):
        left, right = first.get(name), second.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{name}.")
        elif left != right or (name in first) != (name in second):
            found.append(f"{prefix}{name}")
    return found


def _plain(value: Any, convert: Callable[[Any], dict[str, Any]]) -> Any:
    """A field's value as JSON holds it; `convert` is for configs in it."""
    if dataclasses.is_dataclass(value):
        return convert(value)
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Check `value` against its annotation and convert lists and paths."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_json(value, hint, where)
    if origin is Literal and value in typing.get_args(hint):
        return value
    if origin in (typing.Union, types.UnionType):
        present = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _typed(value, present[0], where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(entry, typing.get_args(hint)[0], where) for entry in value)
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise UsageError(f"{where}: {value!r} is not {getattr(hint, '__name__', hint)}")
