"""Views elsewhere: a small folder with views of a dataset that lies somewhere else, such as a read-only one.

FOLDER/
  dataset.json         where that dataset is, relative to this folder, and its hash; sealed
  relabels/NAME.json   the views, as in a dataset's own folder

Readers take the folder for the dataset, so FOLDER@NAME works wherever a dataset's view does.
"""

import os
from pathlib import Path

from cog.core.files import home
from cog.core.sealed import read_sealed, write_sealed
from cog.errors import CogError

REFERENCE = "dataset.json"
KIND = "reference"
AGAIN = "make the view again with: cog relabel DATASET --out FOLDER"


def read_reference(folder: Path) -> tuple[Path, str]:
    """The dataset that the views in `folder` are of: its path, and its hash when the first was made.

    Raises:
        CogError: the file is missing or damaged, or leads to another such folder.
    """
    file = folder / REFERENCE
    value = read_sealed(file, KIND, "a reference to a dataset", AGAIN)
    path, digest = value.get("path"), value.get("hash")
    if not isinstance(path, str) or not isinstance(digest, str):
        raise CogError("must hold the texts 'path' and 'hash'", where=file, remedy=AGAIN)
    dataset = Path(os.path.normpath(home(file).resolve() / path))
    if not dataset.exists():
        raise CogError(
            f"the dataset of these views is not at {dataset} any more",
            where=folder,
            remedy=f"put it back there, or {AGAIN}",
        )
    if (dataset / REFERENCE).exists():
        raise CogError("must lead to a dataset, not to views of one", where=file, remedy=AGAIN)
    return dataset, digest


def write_reference(folder: Path, dataset: Path, digest: str) -> None:
    """Let a new folder hold views of a dataset with the hash `digest`.

    Raises:
        Taken: it refers to a dataset already.
        CogError: it cannot be written.
    """
    path = os.path.relpath(dataset.resolve(), folder.resolve())
    write_sealed(folder / REFERENCE, KIND, {"path": path, "hash": digest}, new=True)
