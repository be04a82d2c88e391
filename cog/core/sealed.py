"""Sealed JSON: small files that show whether they are still exactly what was written.

A sealed file carries its `format`, its `kind` and a `seal`, the hash of everything else. Its text must be,
byte for byte, what `write_sealed` writes for its content, so a flipped bit, a lost end or an edit by hand
shows. The hashes by which datasets, views and merges refer to each other leave these three keys out.

Files of format 1 had no seal; they are still read, and are sealed when they are next written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cog.core.files import hash_json, json_text, read_json, write_bytes
from cog.errors import CogError

FORMAT = 2
UNMARKED = ("checkpoint", "latest", "run")  # kinds of file that did not name their kind in format 1


class SealError(CogError):
    """A file is not what was written, or was written by a newer version; `field` is where that shows."""

    def __init__(self, file: Path, field: str, rule: str, remedy: str) -> None:
        super().__init__(rule, where=f"{file}: field '{field}'", remedy=remedy)
        self.file, self.field = file, field

    def __reduce__(self) -> tuple[type, tuple[Path, str, str, str]]:
        return type(self), (self.file, self.field, self.what, str(self.remedy))  # for worker processes


def write_sealed(path: Path, kind: str, value: dict[str, Any], new: bool = False) -> None:
    """Publish `value` under `path` with its seal.

    Raises:
        Taken: it must be `new`, and something has that name by now.
        CogError: the file could not be written; it is as it was before.
    """
    content = {**value, "format": FORMAT, "kind": kind}
    write_bytes(path, json_text(content | {"seal": hash_json(content)}).encode(), new)


def read_sealed(
    path: Path, kind: str, what: str, remedy: str, read: Callable[[Path], bytes] = Path.read_bytes
) -> dict[str, Any]:
    """The content of a sealed file of any format, without `format`, `kind` and `seal`.

    `what` names the file's role, `remedy` says what the user can do if it is damaged; `read` returns the
    bytes of a path.

    Raises:
        CogError: the file is missing or unreadable.
        SealError: the file is of another kind, a newer version wrote it, or it is damaged.
    """
    try:
        value = read_json(path, what, read)
    except CogError as error:
        raise CogError(error.what, where=error.where, remedy=error.remedy or remedy) from error
    found, seal = value.pop("format", None), value.pop("seal", None)
    if found is None and seal is None and kind in ("latest", "run"):
        found = 1  # in format 1 these did not name their format either
    if value.pop("kind", kind if found == 1 and kind in UNMARKED else None) != kind:
        raise SealError(path, "kind", f"must be '{kind}'; this is not {what}, or it is damaged", remedy)
    if found == 1 and seal is None:
        return _from_format_1(path, kind, value, remedy)
    if found != FORMAT:
        rule = f"must be 1 to {FORMAT}, found {found!r}; the file is damaged, or a newer cog wrote it"
        raise SealError(path, "format", rule, remedy)
    content = {**value, "format": FORMAT, "kind": kind}
    try:
        sealed = content | {"seal": hash_json(content)}
        whole = seal == sealed["seal"] and read(path) == json_text(sealed).encode()
    except (ValueError, OSError):  # NaN, which is never written, or the file is gone by now
        whole = False
    if not whole:
        rule = "the content does not match its seal; the file is damaged or was edited"
        raise SealError(path, "seal", rule, remedy)
    return value


def _from_format_1(path: Path, kind: str, value: dict[str, Any], remedy: str) -> dict[str, Any]:
    """The same content as in format 2; only a checkpoint's state had a hash then, under another name."""
    if kind == "checkpoint" and value.pop("hash", None) != hash_json({**value, "format": 1}):
        raise SealError(path, "hash", "the content does not match its hash; the file is damaged", remedy)
    return value
