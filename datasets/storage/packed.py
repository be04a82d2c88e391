"""Pack a whole dataset into one file that can be read in its place, and unpack it to the same bytes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from cog.core.files import OTHER_NAME, nowhere, read_remedy, write_bytes
from cog.core.lock import reserved
from cog.core.options import usable_path
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.view import open_view, view_names
from cog.datasets.storage.absent import MERGE
from cog.datasets.storage.container import (
    COLLECTION,
    MANIFEST,
    check_container,
    exists,
    is_container,
    read_bytes,
    write_container,
)
from cog.datasets.storage.dataset import RELABELS, Dataset, open_dataset
from cog.datasets.storage.folder import new_folder, refuse_inside
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.storage.shard import hash_bytes
from cog.errors import CogError

CHECK = "run cog verify on the dataset"

OnProgress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


def pack_dataset(path: Path, out: Path, on_progress: OnProgress | None = None) -> Dataset:
    """Write manifest, header, shards and views of a dataset into the one file `out`; nothing else is packed.

    Raises:
        UsageError: `out` lies in the dataset.
        CogError: there is no sound dataset at `path`, it is a merge, `out` exists, or another process writes
            it; nothing is written.
    """
    path, out = usable_path(path), usable_path(out)
    if (path.is_dir() and (path / MERGE).is_file()) or (path.is_file() and not is_container(path)):
        raise CogError(
            "only a dataset can be packed, and this is a merge or another file",
            where=path,
            remedy="pack each dataset of a merge, then merge the packed files",
        )
    dataset = open_dataset(path)
    refuse_inside(dataset.path, out)
    _refuse_existing(out)
    names = [MANIFEST, *([COLLECTION] if exists(dataset.path / COLLECTION) else [])]
    names += [entry.file for entry in dataset.shards]
    for view in view_names(dataset):
        if view != STORED:
            open_view(dataset, view)
            names.append(f"{RELABELS}/{view}.json")
    hashes = {entry.file: entry.hash for entry in dataset.shards}

    def members() -> Iterator[tuple[str, bytes]]:
        for number, name in enumerate(names):
            file = (dataset.place if name.startswith(RELABELS) else dataset.path) / name
            data = _read(file)
            if name in hashes and hash_bytes(data) != hashes[name]:
                rule = "the file differs from the hash in the manifest"
                raise DataError(Problem(file, "file", rule, CHECK))
            if name == MANIFEST and json.loads(data)["hash"] != dataset.hash:
                raise CogError(
                    f"{path} changed while it was read", remedy="pack it when nothing writes to it"
                )
            yield name, data
            if on_progress is not None:
                on_progress(number + 1, len(names))

    with reserved(out):
        _refuse_existing(out)
        write_container(out, members())
    return open_dataset(out)


def _refuse_existing(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise CogError(f"{out} exists already{nowhere(out)}; nothing was written", remedy=OTHER_NAME)


def unpack_dataset(path: Path, out: Path, on_progress: OnProgress | None = None) -> Dataset:
    """Write the files of a packed dataset into a new folder, the manifest last.

    Raises:
        CogError: `path` is not a packed dataset or is damaged, or the folder is not empty.
    """
    path, out = usable_path(path), usable_path(out)
    if not is_container(path):
        raise CogError("there is no packed dataset here", where=path, remedy="check the path")
    names = check_container(path, content=True)
    names.sort(key=lambda name: name == MANIFEST)
    with new_folder(out):
        for number, name in enumerate(names):
            write_bytes(out / name, read_bytes(path / name))
            if on_progress is not None:
                on_progress(number + 1, len(names))
        return open_dataset(out)


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:  # not to be mistaken for an error of writing
        rule = f"the file cannot be read ({error.strerror})"
        raise DataError(Problem(path, "file", rule, read_remedy(error, CHECK))) from error
