"""Where a view lies: with its dataset, or in a folder of views for a dataset that cannot be written."""

import contextlib
import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cog.core.files import Taken
from cog.core.lock import content, reserved
from cog.core.sealed import write_sealed
from cog.datasets.storage.container import exists
from cog.datasets.storage.dataset import RELABELS, Dataset
from cog.datasets.storage.elsewhere import REFERENCE, read_reference, write_reference
from cog.errors import CogError, UsageError

KIND = "relabel"  # of a view's sealed file
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def view_file(dataset: Dataset, name: str) -> Path:
    """The file of the view of that name."""
    return dataset.place / RELABELS / f"{name}.json"


def seen_from(out: Path, dataset: Dataset) -> Dataset:
    """The dataset with its views in the folder `out`, which is new or holds views of this very dataset.

    Raises:
        UsageError: it lies in the dataset.
        CogError: it holds something else.
    """
    if out.resolve() in (dataset.path.resolve(), dataset.place.resolve()):
        return dataset
    if out.resolve().is_relative_to(dataset.path.resolve()):
        raise UsageError("lies in the dataset's own folder", where=out, remedy="choose a folder elsewhere")
    if (out / REFERENCE).exists():
        if read_reference(out)[1] != dataset.hash:
            raise CogError("holds views of another dataset", where=out, remedy="choose another folder")
    elif out.exists() and content(out):
        raise CogError(
            "is not empty and holds no views; nothing was written", where=out, remedy="choose another folder"
        )
    return replace(dataset, views=out)


def publish_view(dataset: Dataset, name: str, value: Mapping[str, Any]) -> None:
    """Write the file of a view, unless there is one of that name already, which the caller compares.

    Raises:
        CogError: another process is writing it, or it cannot be written.
    """
    path = view_file(dataset, name)
    try:
        if dataset.views is not None and not (dataset.views / REFERENCE).exists():
            with contextlib.suppress(Taken):  # what is there by now is compared
                write_reference(dataset.views, dataset.path, dataset.hash)
            seen_from(dataset.views, dataset)
        if not exists(path):
            with reserved(path), contextlib.suppress(Taken):
                write_sealed(path, KIND, dict(value), new=True)
    except CogError as error:
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno in FORBIDDEN):
            raise
        raise CogError(
            f"views lie with their dataset, and this folder cannot be written ({cause.strerror})",
            where=dataset.place,
            remedy=f"write it elsewhere with --out FOLDER, and use it as FOLDER@{name}",
        ) from error
