"""Where a dataset was asked for and there is none: what lies there instead, and what to pass."""

from pathlib import Path

from cog.core.files import home, nowhere, read_json
from cog.core.lock import at_work
from cog.datasets.storage.container import COLLECTION, MANIFEST, exists
from cog.datasets.storage.folder import UNFINISHED
from cog.errors import CogError

MERGE = "merge.json"  # the file in the folder of a materialised merge
MOST = 5  # datasets that a remedy names
BEGUN = {
    COLLECTION: ("collection", "run the same collect command again"),
    UNFINISHED: ("dataset", "run the command that was writing it again"),
}
"""What a file without a manifest beside it says: what was begun, and how it is continued."""


def no_dataset(path: Path) -> CogError:
    """The error about a path, usable as such, at which there is no dataset."""
    begun = [word for file, word in BEGUN.items() if exists(path / file)]
    if begun:
        what, again = begun[0]
        if (who := at_work(path)) is not None:
            rule = f"this {what} is unfinished: another process is writing it{who}"
            return CogError(rule, where=path, remedy="wait until it is done")
        return CogError(f"this {what} is unfinished", where=path, remedy=again)
    name = path.name.rpartition("@")[0]
    if name and exists(path.with_name(name) / MANIFEST):
        rule = "this takes a dataset, not a view"
        return CogError(rule, where=path, remedy=f"pass {path.with_name(name)}")
    missing = f"there is no dataset here ({MANIFEST} is missing){nowhere(path)}"
    if path.name == MANIFEST:
        return CogError(missing, where=path, remedy=f"pass its folder: {path.parent}")
    merged = _merged(path)
    found = _inside(path) if merged is None else merged
    rule = missing if merged is None else "this is a merge, not a dataset"
    return CogError(rule, where=path, remedy=_pass(found) if found else "check the path")


def _merged(path: Path) -> list[Path] | None:
    """The datasets of a merge file, or of the folder of a materialised merge; None if it is none."""
    file = path / MERGE if path.is_dir() else path
    try:
        value = read_json(file, "a merge")
        if value.get("kind") != "merge":
            return None
        places = dict.fromkeys(str(entry["path"]) for entry in value["sources"])
    except (CogError, KeyError, TypeError):
        return None
    return [file.parent / place for place in places if exists(home(file) / place / MANIFEST)]


def _inside(folder: Path) -> list[Path]:
    """The datasets in a folder, in order."""
    try:
        return sorted(entry for entry in folder.iterdir() if (entry / MANIFEST).is_file())
    except OSError:
        return []


def _pass(found: list[Path]) -> str:
    """The remedy that names datasets."""
    if len(found) == 1:
        return f"pass the dataset: {found[0]}"
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return f"pass one of the datasets: {', '.join(map(str, found[:MOST]))}{more}"
