"""Collect: run scripted behaviours and write their episodes shard by shard, on any number of workers.

Workers compute the bytes of shards, one process writes them. Shards are pure functions of the spec, so
neither the number of workers nor an interruption shows in the result; a collection that was killed continues
with the shards that are missing.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

from cog.datasets.problem import DataError
from cog.datasets.rollout import collect_shard, environment_facts
from cog.datasets.shard import hash_bytes, read_shard
from cog.datasets.spec import CollectionSpec
from cog.datasets.store import (
    COLLECTION,
    MANIFEST,
    SHARDS,
    Dataset,
    ShardEntry,
    open_dataset,
    shard_entry,
    shard_name,
    write_manifest,
)
from cog.errors import CogError, missing_extra
from cog.files import TEMPORARY_SUFFIX, code_version, hash_file, read_json, write_bytes, write_json
from cog.workers import cores, processes

FORMAT = 1
SHARDS_IN_FLIGHT = 2  # for each worker: one being computed, one waiting

OnProgress = Callable[[int, int, int], None]
"""Called with episodes done, episodes in total and successes among those done."""


def collect(
    spec: CollectionSpec,
    out: Path,
    *,
    workers: int = 0,
    dask_address: str | None = None,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Collect the dataset of a spec into a folder, or finish a collection that was interrupted there.

    Args:
        spec: what to collect.
        out: folder of the dataset; new, empty, or holding (part of) the same collection.
        workers: local processes; 0 is one per core, 1 works in this process.
        dask_address: address of a Dask scheduler to use instead.
        on_progress: is told of every finished shard.

    Raises:
        UsageError: the environment, a start, a behaviour or an option does not exist.
        CogError: the folder holds something else, the disk is full, or a worker died; finished shards stay.
    """
    environment = environment_facts(spec)
    _claim(out, spec, environment)
    with _locked(out):
        _sweep(out)
        if not (out / COLLECTION).exists():
            write_json(out / COLLECTION, _header(spec, environment))
        entries = {
            shard: entry
            for shard in range(spec.shard_count)
            if (entry := _finished(out, spec, shard)) is not None
        }
        if (out / MANIFEST).exists() and len(entries) == spec.shard_count:
            _report(entries, spec, on_progress)
            return open_dataset(out)
        _report(entries, spec, on_progress)
        missing = [shard for shard in range(spec.shard_count) if shard not in entries]
        with _executor(workers, len(missing), dask_address) as (executor, slots):
            for shard, data, entry in _computed(executor, slots, spec, missing):
                write_bytes(out / entry.file, data)
                entries[shard] = entry
                _report(entries, spec, on_progress)
        return write_manifest(out, spec.to_json(), environment, [entries[shard] for shard in sorted(entries)])


def _computed(
    executor: Executor, slots: int, spec: CollectionSpec, missing: list[int]
) -> Iterator[tuple[int, bytes, ShardEntry]]:
    """Shards as they are finished, a bounded number of them in flight."""
    todo = iter(missing)
    running: dict[Future[tuple[bytes, int, int, int]], int] = {}
    while True:
        for shard in todo:
            running[executor.submit(collect_shard, spec, shard)] = shard
            if len(running) >= slots:
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            shard = running.pop(future)
            data, episodes, steps, successes = future.result()
            yield shard, data, ShardEntry(shard_name(shard), hash_bytes(data), episodes, steps, successes)


class _InThisProcess(Executor):
    """Runs each task at once, where it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextlib.contextmanager
def _executor(workers: int, tasks: int, dask_address: str | None) -> Iterator[tuple[Executor, int]]:
    """The executor and how many shards to keep in flight; on an error nothing more is started."""
    if dask_address is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise missing_extra("distributed", "dask") from error
        try:
            client = Client(dask_address)
        except (OSError, ValueError) as error:
            raise CogError(f"no Dask scheduler answers at {dask_address} ({error})") from error
        with client:
            yield client.get_executor(pure=False), SHARDS_IN_FLIGHT * max(1, sum(client.nthreads().values()))
        return
    count = min(workers or cores(), tasks)
    if count <= 1:
        yield _InThisProcess(), 1
        return
    with processes(count) as pool:
        yield pool, SHARDS_IN_FLIGHT * count


def _header(spec: CollectionSpec, environment: dict[str, Any]) -> dict[str, Any]:
    """What is written before the first shard, to recognise the collection by."""
    return {
        "format": FORMAT,
        "kind": "collection",
        "spec": spec.to_json(),
        "spec_hash": spec.hash(),
        "environment": environment,
        "code_version": code_version(),
    }


def _claim(out: Path, spec: CollectionSpec, environment: dict[str, Any]) -> None:
    """Make the folder, unless it holds anything but (part of) this very collection."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        content = [path for path in out.iterdir() if not path.name.endswith(TEMPORARY_SUFFIX)]
    except OSError as error:
        raise CogError(f"{out}: cannot be used as a folder ({error.strerror})") from error
    header = out / COLLECTION
    if header.exists():
        held = read_json(header, "the header of a collection")
        wanted = _header(spec, environment)
        different = [name for name in wanted if held.get(name) != wanted[name]]
        if different:
            old, new = held.get("spec"), wanted["spec"]
            if isinstance(old, dict) and old != new:
                different = [f"{key} {old.get(key)!r}" for key in new if old.get(key) != new[key]]
            raise CogError(
                f"{out} holds another collection, with {', '.join(different)}; nothing was written. "
                "Choose another folder, or give the options with which it was begun."
            )
    elif content:
        raise CogError(
            f"{out} is not empty and holds no collection; nothing was written, choose another folder"
        )


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second collector out of the folder; the lock goes with the process."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CogError(f"{out}: another process is collecting into this folder") from error
        yield
    finally:
        os.close(descriptor)


def _sweep(out: Path) -> None:
    """Remove what a killed collector left half-written."""
    for folder in (out, out / SHARDS):
        for stray in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            stray.unlink()


def _finished(out: Path, spec: CollectionSpec, shard: int) -> ShardEntry | None:
    """The entry of a shard that is there, whole and of this spec; a damaged one counts as missing."""
    path = out / shard_name(shard)
    if not path.exists():
        return None
    try:
        episodes = read_shard(path, spec_hash=spec.hash(), index=shard)
    except DataError:
        return None
    if len(episodes) != len(spec.shard_episodes(shard)):
        return None
    return shard_entry(shard_name(shard), hash_file(path), episodes)


def _report(entries: dict[int, ShardEntry], spec: CollectionSpec, on_progress: OnProgress | None) -> None:
    if on_progress is not None:
        done = sum(entry.episodes for entry in entries.values())
        on_progress(done, spec.episodes, sum(entry.successes for entry in entries.values()))
