"""The mark of a folder of jobs: a small file that says what the folder is, and keeps others out of it."""

from pathlib import Path
from typing import Any

from cog.core.files import read_json
from cog.core.lock import content
from cog.errors import CogError


def read_mark(mark: Path, version: int, kind: str, what: str) -> dict[str, Any] | None:
    """What the mark says; none if its folder is new or empty. `kind` is the file's, `what` is for people.

    Raises:
        CogError: the folder holds something else.
    """
    out = mark.parent
    if mark.exists():
        held = read_json(mark, f"the mark of a folder of {what}")
        if (held.get("format"), held.get("kind")) != (version, kind):
            raise CogError(f"{mark}: is of another kind or version; choose another folder with --out")
        return held
    if out.exists() and (not out.is_dir() or content(out)):
        raise CogError(f"{out} is not empty and holds no {what}; choose another folder with --out")
    return None
