"""A new folder that is filled completely or not at all, by one process."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from cog.core.files import make_folder, write_bytes
from cog.core.lock import content, locked
from cog.errors import CogError, UsageError

UNFINISHED = ".unfinished"  # stands in a new folder until all is written


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Fill a folder that is new or empty; if that fails, nothing stays in it.

    What a kill leaves there is marked as unfinished, and cleared by the next call.

    Raises:
        CogError: it holds something already, is a file, cannot be written, or another process fills it.
    """
    _refuse_full(folder)
    make_folder(folder)
    with locked(folder):
        _refuse_full(folder)
        try:
            _clear(folder)
            write_bytes(folder / UNFINISHED, b"")
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with contextlib.suppress(OSError):  # the mark means nothing in a folder that is complete
            (folder / UNFINISHED).unlink()


def refuse_inside(source: Path, out: Path) -> None:
    """Raise UsageError if `out` would lie in the folder of the dataset that it is made from."""
    if out.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{out} lies in {source}, which must not change", remedy="choose a place elsewhere")


def _clear(folder: Path) -> None:
    """Remove what a killed `new_folder` left, its mark last.

    Raises:
        CogError: the disk does not allow it.
    """
    left = [path for path in content(folder) if path.name != UNFINISHED]
    try:
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise CogError(
            f"what an interrupted command left there cannot be removed ({error.strerror})",
            where=folder,
            remedy="remove the folder, then run the command again",
        ) from error


def _refuse_full(folder: Path) -> None:
    """Refuse a folder that holds anything, unless a kill left it unfinished.

    Sealed files (.json) are written last, so a marked folder without one was killed before it was complete.
    """
    if not folder.exists():
        return
    held = content(folder)
    if held and (folder / UNFINISHED not in held or any(path.suffix == ".json" for path in held)):
        raise CogError(
            f"{folder} exists already and is not empty; nothing was written", remedy="choose another folder"
        )
