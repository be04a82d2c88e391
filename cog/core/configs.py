"""Frozen dataclasses of settings, written to and read from JSON.

Only the standard library is imported here, so that the command line starts fast.
"""

import dataclasses
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from cog.core.options import usable_path
from cog.errors import UsageError

APART = {"identity": False}
"""Metadata of a field that says where something lies or how it is computed, not what comes out."""


class Named(ABC):
    """Base of dataclasses where one field may hold any of several kinds: JSON records the name as well."""

    name: ClassVar[str]
    """What JSON calls this kind."""

    @classmethod
    @abstractmethod
    def kind(cls, name: str) -> Any:
        """The dataclass with that name.

        Raises:
            UsageError: it does not exist.
        """


def to_json(config: Any) -> dict[str, Any]:
    """A config as plain JSON values."""
    return _values(config, dataclasses.fields(config), to_json)


def identity(config: Any) -> dict[str, Any]:
    """The fields of a config that decide what comes out, as plain JSON values: all but those `APART`."""
    deciding = [item for item in dataclasses.fields(config) if item.metadata.get("identity", True)]
    return _values(config, deciding, identity)


def apart(kind: Any) -> tuple[str, ...]:
    """Names of the fields of a config class that are no part of its identity."""
    return tuple(item.name for item in dataclasses.fields(kind) if not item.metadata.get("identity", True))


def from_json(values: Mapping[str, Any], kind: Any, where: str = "config") -> Any:
    """Rebuild a config of dataclass `kind`; fields left out take their defaults.

    Raises:
        UsageError: an unknown field, a missing one without default, or a value of the wrong type.
    """
    if isinstance(kind, type) and issubclass(kind, Named):
        values = dict(values)
        kind = kind.kind(str(values.pop("name", None)))
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if _is_field(hint)}
    if unknown := sorted(set(values) - set(hints)):
        raise UsageError(
            f"unknown field {unknown[0]!r}", where=where, remedy=f"choose one of: {', '.join(sorted(hints))}"
        )
    try:
        return kind(**{name: _typed(value, hints[name], f"{where}.{name}") for name, value in values.items()})
    except TypeError as error:
        raise UsageError(error, where=where) from None


def take_types(config: Any, prefix: str = "") -> None:
    """Compare the fields of a frozen config with their annotations; text becomes a path, a list a tuple.

    In paths `~` is written out.
    Configs in it look after themselves. `prefix`, such as "cql.", comes before the names in messages.

    Raises:
        UsageError: naming the first field of another type, or with a word that is not among its choices.
    """
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        unfilled = type(value).__module__.startswith("tyro.")  # by a command line that is still being read
        if unfilled or not _is_field(hint) or dataclasses.is_dataclass(value):
            continue
        taken = _typed(value, hint, f"{prefix}{name}")
        if isinstance(taken, Path | tuple) or dataclasses.is_dataclass(taken):
            object.__setattr__(config, name, taken)


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


def _is_field(hint: Any) -> bool:
    return typing.get_origin(hint) is not ClassVar


def _values(
    config: Any, items: Sequence[dataclasses.Field[Any]], convert: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """These fields as plain JSON values; `convert` is for configs in them."""
    values = {item.name: _plain(getattr(config, item.name), convert) for item in items}
    return {"name": config.name, **values} if isinstance(config, Named) else values


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
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, hint):
        return value
    if origin is Mapping and isinstance(value, Mapping):
        return value
    if origin is Literal:
        if isinstance(value, str | int) and value in typing.get_args(hint):
            return value
        choices = ", ".join(map(str, typing.get_args(hint)))
        raise UsageError(f"must be one of {choices}; found {value!r}", where=where)
    if origin in (typing.Union, types.UnionType):
        present = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _typed(value, present[0], where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(entry, typing.get_args(hint)[0], where) for entry in value)
    if hint is Path and isinstance(value, str | Path):
        return usable_path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise UsageError(f"{value!r} is not of type {getattr(hint, '__name__', hint)}", where=where)
