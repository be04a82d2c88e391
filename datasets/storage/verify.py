"""Verify: check every hash, shape, range and value of a dataset or merge, and name what is wrong."""

from pathlib import Path

from cog.core.files import home, read_json
from cog.core.options import usable_path
from cog.core.sealed import SealError, read_sealed
from cog.datasets.merge import open_merge
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.rules import runs_own_code
from cog.datasets.relabel.terms import ZERO
from cog.datasets.relabel.view import AGAIN, labelled, open_view, view_names
from cog.datasets.storage.absent import MERGE
from cog.datasets.storage.claim import KIND
from cog.datasets.storage.container import (
    COLLECTION,
    MANIFEST,
    check_container,
    exists,
    is_container,
    listed,
    read_bytes,
)
from cog.datasets.storage.dataset import RELABELS, SHARDS, Dataset, open_dataset
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError

RESTORE = "restore the file from a copy"


def verify(path: Path | str) -> list[Problem]:
    """All problems of a dataset, in a folder or packed, or of a merge; none if it is sound.

    Views by a user's own function are checked for form and origin; the function is not run.
    """
    path = usable_path(path)
    if path.is_dir() and (path / MERGE).is_file():
        path = path / MERGE
    packed = is_container(path)
    if path.is_file() and not packed:
        return _verify_merge(path)
    problems: list[Problem] = []
    try:
        if packed:
            check_container(path, content=True)
    except DataError as error:
        problems.append(error.problem)
    try:
        problems += _verify_dataset(open_dataset(path))
    except CogError as error:
        problems.append(_problem(error, path / MANIFEST))
    return list(dict.fromkeys(problems))


def _verify_merge(path: Path) -> list[Problem]:
    """The merge file itself, then each of its datasets once."""
    problems: list[Problem] = []
    try:
        open_merge(path)
    except CogError as error:
        problems.append(_problem(error, path))
    folders: list[Path] = []
    try:
        entries = read_json(path, "a merge").get("sources")
    except CogError:
        return problems
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("path"), str):
            folders.append(home(path) / entry["path"])
    for folder in dict.fromkeys(folders):
        problems += verify(folder)
    return list(dict.fromkeys(problems))


def _verify_dataset(dataset: Dataset) -> list[Problem]:
    problems: list[Problem] = []
    for shard, entry in enumerate(dataset.shards):
        try:
            dataset.read(shard)
        except CogError as error:
            problems.append(_problem(error, dataset.path / entry.file))
    named = {dataset.path / entry.file for entry in dataset.shards}
    for path in listed(dataset.path / SHARDS):
        if path not in named:
            rule = "the manifest does not name this file"
            problems.append(Problem(path, "file", rule, "delete it, or finish the collection that wrote it"))
    header = dataset.path / COLLECTION
    if exists(header):
        problems += _verify_header(dataset, header)
    whole = not problems
    for name in view_names(dataset):
        try:
            view = open_view(dataset, name)
            own = any(runs_own_code(rule) for rule in (view.rule, view.only or ZERO))
            if whole and name != STORED and not own:
                for _ in labelled(dataset, view, pictures=False):
                    pass
        except CogError as error:
            problems.append(_problem(error, dataset.place / RELABELS / f"{name}.json", AGAIN))
    return problems


def _verify_header(dataset: Dataset, header: Path) -> list[Problem]:
    """The collection's header must name the same origin as the manifest."""
    try:
        held = read_sealed(header, KIND, "the header of a collection", RESTORE, read_bytes)
    except CogError as error:
        return [_problem(error, header)]
    if held.get("spec_hash") == dataset.spec_hash:
        return []
    return [Problem(header, "spec_hash", "differs from the manifest", RESTORE)]


def _problem(error: CogError, file: Path, remedy: str = "") -> Problem:
    """The problem that an error states; `file` and `remedy` serve where it does not name its own."""
    if isinstance(error, DataError):
        return error.problem
    if isinstance(error, SealError):
        return Problem(error.file, error.field, error.what, str(error.remedy))
    remedy = error.remedy or remedy
    if error.where is None:
        return Problem(file, "content", error.what, remedy)
    if file.is_relative_to(error.where) or Path(error.where).is_relative_to(file):
        return Problem(Path(error.where), "", error.what, remedy)
    return Problem(file, "content", f"{error.where}: {error.what}", remedy)  # as a rule, which is not a file
