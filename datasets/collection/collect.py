"""Collect: run scripted behaviours and write their episodes shard by shard, with any number of workers.

Workers compute the bytes of shards, one process writes them. Shards are pure functions of the spec, so the
result depends neither on the number of workers nor on interruptions; a killed collection continues with the
missing shards.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

from cog.core.files import hash_file, write_bytes
from cog.core.options import usable_path
from cog.core.workers import cores, processes
from cog.datasets.collection.home import Home
from cog.datasets.collection.rollout import Computed, collect_elsewhere, collect_shard, environment_facts
from cog.datasets.collection.spec import CollectionSpec
from cog.datasets.storage.claim import claimed
from cog.datasets.storage.container import MANIFEST
from cog.datasets.storage.dataset import (
    Dataset,
    ShardEntry,
    open_dataset,
    shard_entry,
    shard_name,
    write_manifest,
)
from cog.datasets.storage.problem import DataError
from cog.datasets.storage.shard import hash_bytes, read_shard
from cog.errors import CogError, UsageError, missing_extra

SHARDS_IN_FLIGHT = 2  # per worker: one being computed, one waiting

OnProgress = Callable[[int, int, int], None]
"""Called with episodes done, episodes in total and successes among those done."""


def collect(
    spec: CollectionSpec,
    out: Path | str,
    *,
    workers: int = 0,
    dask_address: str | None = None,
    crew: tuple[Executor, int] | None = None,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Collect the dataset of a spec into a folder, or finish a collection that was interrupted there.

    Args:
        spec: what to collect.
        out: folder of the dataset; new, empty, or holding (part of) the same collection.
        workers: local processes; 0 for one per core, 1 for this process alone.
        dask_address: address of a Dask scheduler to use instead.
        crew: an executor to use instead, and how many shards to keep in flight on it.
        on_progress: called after every finished shard.

    Raises:
        UsageError: the environment, a start, a behaviour or an option does not exist, workers is
            negative, or one of them breaks its contract at the first frames.
        CogError: the folder holds something else, the disk is full, or a worker died; finished shards stay.
    """
    out = usable_path(out)
    if workers < 0:
        raise UsageError(f"workers is {workers}; it must be at least 0")
    environment = environment_facts(spec)
    with claimed(out, spec.to_json(), environment):
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
        task = partial(collect_shard, facts=environment)
        if dask_address is not None or crew is not None:
            task = partial(collect_elsewhere, Home.here(), facts=environment)
        ready = _executor(workers, len(missing), dask_address)
        with contextlib.nullcontext(crew) if crew else ready as (executor, slots):
            for shard, data, entry in _computed(executor, slots, task, spec, missing):
                write_bytes(out / entry.file, data)
                entries[shard] = entry
                _report(entries, spec, on_progress)
        return write_manifest(out, spec.to_json(), environment, [entries[shard] for shard in sorted(entries)])


def compute_shards(
    spec: CollectionSpec, shards: Sequence[int], workers: int = 0
) -> Iterator[tuple[int, bytes, ShardEntry]]:
    """Number, bytes and entry of each of these shards, as they finish; nothing is written.

    Raises:
        UsageError: the environment cannot be built.
        CogError: no attempt at an episode gave one of the kind to keep, or a worker died.
    """
    with _executor(workers, len(shards), None) as (executor, slots):
        yield from _computed(executor, slots, collect_shard, spec, list(shards))


def _computed(
    executor: Executor,
    slots: int,
    task: Callable[[CollectionSpec, int], Computed],
    spec: CollectionSpec,
    missing: list[int],
) -> Iterator[tuple[int, bytes, ShardEntry]]:
    """Shards as they finish, with a bounded number in flight."""
    todo = iter(missing)
    running: dict[Future[Computed], int] = {}
    while True:
        for shard in todo:
            running[executor.submit(task, spec, shard)] = shard
            if len(running) >= slots:
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            shard = running.pop(future)
            data, episodes, steps, successes = future.result()
            yield shard, data, ShardEntry(shard_name(shard), hash_bytes(data), episodes, steps, successes)


class _InThisProcess(Executor):
    """Runs each task immediately, when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextlib.contextmanager
def _executor(workers: int, tasks: int, dask_address: str | None) -> Iterator[tuple[Executor, int]]:
    """The executor and the number of shards to keep in flight; after an error nothing more is started."""
    if dask_address is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise missing_extra("distributed", "dask") from error
        try:
            client = Client(dask_address)
        except (OSError, ValueError) as error:
            raise CogError(
                f"no Dask scheduler answers at {dask_address} ({error})", remedy="check its address"
            ) from error
        with client:
            yield client.get_executor(pure=False), SHARDS_IN_FLIGHT * max(1, sum(client.nthreads().values()))
        return
    count = min(workers or cores(), tasks)
    if count <= 1:
        yield _InThisProcess(), 1
        return
    with processes(count) as pool:
        yield pool, SHARDS_IN_FLIGHT * count


def _finished(out: Path, spec: CollectionSpec, shard: int) -> ShardEntry | None:
    """The entry of a shard if it exists, is intact and belongs to this spec; otherwise None."""
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
