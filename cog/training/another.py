"""Another checkpoint in place of one that is missing or damaged."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cog.core.files import hash_file
from cog.core.sealed import SealError, read_sealed
from cog.errors import CogError

STATE = "state.json"


def sound_beside(folder: Path) -> Path | None:
    """The newest other checkpoint beside this one whose files are what was written; None if there is none."""
    others = {path for path in folder.parent.glob("step_*") if path.name != folder.name}
    return next((path for path in sorted(others, reverse=True) if _sound(path)), None)


def instead(folder: Path) -> str:
    """What to do about a checkpoint that is missing or damaged: the newest sound one beside it, if any."""
    other = sound_beside(folder)
    if other is None:
        return (
            f"there is no other sound checkpoint in {folder.parent}: restore this one from a copy, or train "
            "again into another folder"
        )
    gone = f"delete {folder} and " if folder.exists() else ""
    return (
        f"use {other} instead; to continue the run from there, {gone}run the same command again, "
        "cog train with --resume"
    )


@contextlib.contextmanager
def advised(folder: Path) -> Iterator[None]:
    """Add what to do `instead` to errors of this block over a checkpoint, where they have no remedy yet.

    Beforehand it would cost reading the other checkpoints.
    """
    try:
        yield
    except SealError as error:
        raise SealError(error.file, error.field, error.what, error.remedy or instead(folder)) from error
    except CogError as error:
        raise CogError(error.what, where=error.where, remedy=error.remedy or instead(folder)) from error


def _sound(folder: Path) -> bool:
    """Whether the files of a checkpoint are what was written."""
    try:
        state = read_sealed(folder / STATE, "checkpoint", "a checkpoint's state", "")
        return all(hash_file(folder / name) == claimed for name, claimed in state["hashes"].items())
    except (CogError, OSError):
        return False
