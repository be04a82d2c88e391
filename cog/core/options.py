"""Options as text: `name=value`, where the value is JSON, `True`, `False` or plain text; and paths."""

import dataclasses
import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cog.core.files import REMEDIES
from cog.errors import CogError, UsageError

SHOWN = 60  # characters at either end of a path that is too long to be shown


def with_usable_paths(settings: Any) -> Any:
    """The same settings with `~` written out in all their paths, which no shell did for `--out=~/data`.

    Raises:
        CogError: as `usable_path`.
    """
    if isinstance(settings, Path):
        return usable_path(settings)
    if type(settings) is tuple:
        values = tuple(with_usable_paths(entry) for entry in settings)
        return values if values != settings else settings
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type):
        return settings
    before = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings) if item.init}
    after = {name: with_usable_paths(value) for name, value in before.items()}
    changed = {name: value for name, value in after.items() if value is not before[name]}
    return dataclasses.replace(settings, **changed) if changed else settings


def usable_path(path: Path | str) -> Path:
    """A path with `~` written out.

    Raises:
        CogError: no file can have it: a name is too long, a link leads back to itself, or a home is unknown.
    """
    path = path if isinstance(path, Path) else Path(path)
    try:
        if path.parts and path.parts[0].startswith("~"):
            path = path.expanduser()
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            text = str(path)
            shown = text if len(text) <= 4 * SHOWN else f"{text[:SHOWN]}…{text[-SHOWN:]}"
            raise CogError(error.strerror, where=shown, remedy=REMEDIES[error.errno]) from error
    except RuntimeError as error:  # pathlib's word for an unknown user
        raise CogError(f"no home of {path.parts[0]!r} is known", where=path) from error
    except ValueError as error:
        raise CogError(f"is no path ({error})", where=repr(str(path))) from error
    return path


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


def option_texts(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options as on the command line, which `parse_options` reads."""
    return tuple(f"{name}={json.dumps(value)}" for name, value in options.items())


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
