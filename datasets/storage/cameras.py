"""Cameras in a merge: what each source's are called there, so that all sources have the same.

dataset     image, front, wrist
wanted      front=image, image=none
merge       image (what front shows), wrist
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from cog.datasets.episode import cameras_of
from cog.datasets.storage.dataset import Dataset
from cog.errors import UsageError
from cog.signals.pictures import CAMERA_NAMES, is_camera_name

OUT = "none"
"""New name of a camera that the merge leaves out."""
Value = TypeVar("Value")


def renamed(by_name: Mapping[str, Value], cameras: Mapping[str, str]) -> dict[str, Value]:
    """What belongs to each observation, by its name in the merge, without that of cameras left out."""
    named = {cameras.get(name, name): value for name, value in by_name.items()}
    named.pop(OUT, None)
    return named


def renaming(dataset: Dataset, wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of the `wanted` new names, OLD -> NEW, that this dataset's cameras take.

    A camera keeps its name where NEW is one that the dataset has already and keeps.

    Raises:
        UsageError: a camera cannot have a name, two would have the same, or none would be called "image".
    """
    for old, new in wanted.items():
        if not (is_camera_name(new) or new == "image"):
            what = f"a camera cannot be called '{new}'"
            raise UsageError(what, where=f"camera {old}={new}", remedy=f"name it by {CAMERA_NAMES}")
    there = cameras_of(dataset.environment["observations"])
    mine = {old: new for old, new in wanted.items() if old in there and old != new}
    while blocked := [old for old, new in mine.items() if new in there and new not in mine]:
        for old in blocked:
            del mine[old]
    names = [name for name in (mine.get(old, old) for old in there) if name != OUT]
    listed = ", ".join(f"{old}={new}" for old, new in mine.items())
    for wrong, rule in (
        (len(set(names)) < len(names), "two of its cameras would have the same name"),
        (bool(there) and "image" not in names, "none of its cameras would be called 'image'"),
    ):
        if wrong:
            raise UsageError(f"{rule} ({listed})", where=dataset.path, remedy=f"it has {', '.join(there)}")
    return mine


def parse_renaming(texts: Sequence[str]) -> dict[str, str]:
    """Read OLD=NEW texts.

    Raises:
        UsageError: one has another form, or renames a camera a second time.
    """
    wanted: dict[str, str] = {}
    for text in texts:
        old, separator, new = text.partition("=")
        if not (old and separator and new) or old in wanted:
            raise UsageError(f"camera {text!r} cannot be read", remedy="write OLD=NEW, each OLD once")
        wanted[old] = new
    return wanted


def unused(wanted: Mapping[str, str], sources: Sequence[tuple[Dataset, Mapping[str, str]]]) -> None:
    """Refuse a new name that no source takes.

    Raises:
        UsageError: naming it, and the cameras that there are.
    """
    for old, new in wanted.items():
        if not any(old in cameras for _, cameras in sources):
            held = [cameras_of(dataset.environment["observations"]) for dataset, _ in sources]
            there = list(dict.fromkeys(name for names in held for name in names))
            raise UsageError(
                f"no source has a camera '{old}' that could be called '{new}'",
                where=f"camera {old}={new}",
                remedy=f"they have {', '.join(there) or 'none'}; where it has the new name already, "
                f"give that up: --camera {new}={OUT}",
            )
