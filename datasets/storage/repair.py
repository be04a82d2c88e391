"""Repair: set damaged files of a dataset aside and put the same bytes in their place, where they can be had.

Shards of a collection are collected again, since they follow from its spec; a manifest is written again from
the collection's header and the shards. A damaged file keeps its name until its replacement has been computed
and has the right hash: it first gets a second name in the folder `damaged`, then the replacement takes over
the old name in one step. So a kill at any point does no harm.
"""

import contextlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cog.core.files import code_version, fsync, hash_file, hash_json, sweep, write_bytes
from cog.core.lock import locked
from cog.core.sealed import read_sealed
from cog.datasets.collection.collect import compute_shards
from cog.datasets.collection.spec import CollectionSpec
from cog.datasets.edit.subset import OnProgress
from cog.datasets.episode import Episode
from cog.datasets.storage.claim import KIND
from cog.datasets.storage.container import COLLECTION, MANIFEST, is_container
from cog.datasets.storage.dataset import (
    SHARDS,
    Dataset,
    ShardEntry,
    episode_facts,
    open_dataset,
    shard_entry,
    shard_name,
    write_manifest,
)
from cog.datasets.storage.elsewhere import REFERENCE, read_reference
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.storage.shard import hash_bytes, read_shard
from cog.errors import CogError, UsageError

DAMAGED = "damaged"
COPY = "restore it from a copy"


@dataclass(frozen=True)
class Repair:
    """What a repair did."""

    mended: tuple[Path, ...]
    """Files whose content is as it was written."""
    set_aside: tuple[Path, ...]
    """Where the damaged ones lie now; a file that was missing left nothing."""


def repair(path: Path, workers: int = 0, on_progress: OnProgress | None = None) -> Repair:
    """Mend manifest and shards of the dataset in a folder; sound files, views and headers are left alone.

    Args:
        path: folder of the dataset.
        workers: local processes that collect; 0 is one per core, 1 works in this process.
        on_progress: is called after every shard that was collected again.

    Raises:
        CogError: something cannot be mended; the message says why and what to do. What was mended before
            stays mended, everything else is as it was.
    """
    if not path.exists():
        raise CogError("there is no dataset here", where=path, remedy="check the path")
    if is_container(path) or not path.is_dir():
        raise CogError(
            "only a dataset in a folder can be repaired",
            where=path,
            remedy="unpack a packed one first, and name the datasets of a merge one by one",
        )
    if (path / REFERENCE).exists():
        whose, _ = read_reference(path)
        raise CogError("holds views alone", where=path, remedy=f"repair their dataset: {whose}")
    with locked(path):
        sweep(path / SHARDS)
        mended: list[Path] = []
        aside: list[Path] = []
        try:
            dataset = open_dataset(path)
        except CogError as error:
            dataset = _write_manifest_again(path, error, aside)
            mended.append(path / MANIFEST)
        broken = [shard for shard, entry in enumerate(dataset.shards) if not _sound(path, entry)]
        if broken:
            _collect_again(dataset, broken, mended, aside, workers, on_progress)
        return Repair(tuple(mended), tuple(aside))


def _sound(folder: Path, entry: ShardEntry) -> bool:
    """Whether a shard's file is the one that the manifest names."""
    try:
        return hash_file(folder / entry.file) == entry.hash
    except OSError:
        return False


def _collect_again(
    dataset: Dataset,
    broken: Sequence[int],
    mended: list[Path],
    aside: list[Path],
    workers: int,
    on_progress: OnProgress | None,
) -> None:
    """Put the shards with these numbers in place again, each as soon as it is computed."""
    files = ", ".join(dataset.shards[shard].file for shard in broken)
    try:
        spec = CollectionSpec.from_json(dataset.spec)
    except UsageError as error:
        kind = dataset.spec.get("kind", "another kind")
        raise CogError(
            f"damaged, and episodes of this origin ({kind}) cannot be collected again; they were left as "
            "they are",
            where=f"{dataset.path}: {files}",
            remedy=f"restore them from a copy{_made_from(dataset)}",
        ) from error
    if spec.hash() != dataset.spec_hash or spec.shard_count != len(dataset.shards):
        raise CogError(
            "damaged, and the manifest's spec is not that of these shards; they were left as they are",
            where=f"{dataset.path}: {files}",
            remedy="restore them from a copy",
        )
    other = []
    for number, (shard, data, _) in enumerate(compute_shards(spec, broken, workers)):
        path, wanted = dataset.path / dataset.shards[shard].file, dataset.shards[shard].hash
        if hash_bytes(data) == wanted:
            aside += _replace(dataset.path, path, data)
            mended.append(path)
        else:
            other.append(str(path))
        if on_progress is not None:
            on_progress(number + 1, len(broken))
    if other:
        raise CogError(
            "collected again, the episodes differ from those that the manifest names: "
            f"{dataset.code_version} collected them and this is {code_version()}, or the scene or a library "
            "has changed; these files were left as they are",
            where=", ".join(sorted(other)),
            remedy="restore them from a copy, or collect a new dataset",
        )


def _made_from(dataset: Dataset) -> str:
    """How to make the dataset again, where it says what it was made from."""
    if not dataset.inputs:
        return ""
    sources = ", ".join(entry.path for entry in dataset.inputs)
    return f", or make the dataset again from {sources}"


def _write_manifest_again(folder: Path, error: CogError, aside: list[Path]) -> Dataset:
    """The manifest, from the header that was written before the first shard and from all shards."""
    header, manifest = folder / COLLECTION, folder / MANIFEST
    if not header.exists():
        raise CogError(f"{error}. It cannot be written again, because {COLLECTION} is missing too") from error
    held = read_sealed(header, KIND, "the header of a collection", COPY)
    spec, environment = held.get("spec"), held.get("environment")
    if not (
        isinstance(spec, dict) and isinstance(environment, dict) and held.get("spec_hash") == hash_json(spec)
    ):
        raise DataError(Problem(header, "header", "is malformed or damaged, as the manifest is", COPY))
    entries: list[ShardEntry] = []
    first: Episode | None = None
    count = _shard_count(folder, spec)
    for shard in range(count):
        try:
            episodes = read_shard(folder / shard_name(shard), spec_hash=held["spec_hash"], index=shard)
        except DataError as damage:
            raise CogError(
                f"{damage}. The manifest is damaged or missing as well ({error}), so it is not known what "
                "this shard held; nothing was changed",
                remedy="restore either from a copy, or run the same collect command",
            ) from damage
        first = first or episodes[0]
        entries.append(shard_entry(shard_name(shard), hash_file(folder / shard_name(shard)), episodes))
    if first is None:
        raise CogError(f"{error}. It cannot be written again, because there are no shards") from error
    if manifest.exists():
        aside += _set_aside(folder, manifest)
    return write_manifest(folder, spec, {**environment, **episode_facts(first)}, entries)


def _shard_count(folder: Path, spec: dict[str, object]) -> int:
    """How many shards a spec asks for; for teleoperation, which ends when people stop, how many exist."""
    with contextlib.suppress(UsageError):
        return CollectionSpec.from_json(spec).shard_count
    count = 0
    while (folder / shard_name(count)).exists():
        count += 1
    return count


def _replace(folder: Path, path: Path, data: bytes) -> list[Path]:
    """Put `data` under `path`; what was there is kept and returned."""
    kept = _set_aside(folder, path) if path.exists() else []
    write_bytes(path, data)
    return kept


def _set_aside(folder: Path, path: Path) -> list[Path]:
    """Give a file a second name in the folder `damaged`; it keeps the first until that is replaced.

    Raises:
        CogError: that cannot be done; the file is as it was.
    """
    shelf = folder / DAMAGED
    try:
        shelf.mkdir(exist_ok=True)
        for number in itertools.count():
            name = shelf / (f"{path.stem}.{number}{path.suffix}" if number else path.name)
            if name.exists() and name.samefile(path):  # a repair was killed between the two steps
                return [name]
            if not name.exists():
                break
        try:
            os.link(path, name)
        except OSError:  # this file system has no hard links
            write_bytes(name, path.read_bytes())
        fsync(shelf)
        fsync(folder)
    except OSError as error:
        raise CogError(f"{path}: could not be set aside in {shelf} ({error.strerror or error})") from error
    return [name]
