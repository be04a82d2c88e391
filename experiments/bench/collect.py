"""Collection speed: transitions a second of the real collector, beside the mesh robot's loop.

A first shard of every worker is left out, and with it the start of the processes: what is counted are the
transitions of all other shards, over the time from the last of the first shards to the last of all. A second
figure leaves nothing out. The mesh robot's loop (see `bench_environment`) runs before and after each
collection, in as many processes at the same time.
"""

import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cog.core.workers import cores, processes
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import CollectionSpec, parse_behaviour
from cog.experiments.bench.config import BenchConfig
from cog.experiments.bench.environment import panda_loop
from cog.experiments.bench.figures import Figure

MESH_ROBOT = "mesh robot's loop"
SHARDS = 2  # for each worker, at least
USUAL_SHARD = CollectionSpec(episodes=1).episodes_per_shard
MESH_SECONDS = 15  # of the mesh robot's loop, in turns of the configured length
DATA = {
    "task data, grasps from open": (("open",), ("grasp",)),
    "prior data, openings and wandering from closed": (("closed",), ("open_drawer=0.85", "wander=0.15")),
}
"""Starts and behaviours of each collection, as in the demo."""


def measure_collection(config: BenchConfig) -> list[Figure]:
    """The section `collection`."""
    workers = config.workers or cores()
    figures = []
    with mesh_robot(workers, mesh_seconds(config)) as mesh_rate, tempfile.TemporaryDirectory() as folder:
        rates = [mesh_rate()]
        for number, (what, (starts, behaviours)) in enumerate(DATA.items()):
            spec = CollectionSpec(
                episodes=config.episodes,
                starts=starts,
                behaviours=tuple(map(parse_behaviour, behaviours)),
                max_episode_steps=config.horizon,
                seed=config.seed,
                episodes_per_shard=min(USUAL_SHARD, max(1, config.episodes // (SHARDS * workers))),
            )
            steady, whole = collection_rates(spec, Path(folder) / str(number), workers)
            rates.append(mesh_rate())
            beside = statistics.mean(rates[-2:])
            where = f"{what}, {workers} workers"
            figures += [
                mesh_figure("collection", where, steady, beside),
                mesh_figure("collection", f"{where}, start of processes included", whole, beside),
            ]
    name = f"{MESH_ROBOT}, {workers} processes"
    return [Figure("collection", name, statistics.mean(rates), "transitions/s"), *figures]


def mesh_figure(section: str, what: str, rate: float, beside: float) -> Figure:
    """A rate as a ratio to the mesh robot's."""
    return Figure(section, what, rate, "transitions/s", rate / beside, beside=MESH_ROBOT)


def collection_rates(spec: CollectionSpec, out: Path, workers: int) -> tuple[float, float]:
    """Transitions a second after every worker's first shard, and of the whole."""
    finished: list[tuple[float, set[str]]] = []

    def note(_done: int, _total: int, _successes: int) -> None:
        files = {str(path.relative_to(out)) for path in out.rglob("*.h5")}
        finished.append((time.perf_counter(), files))

    began = time.perf_counter()
    dataset = collect(spec, out, workers=workers, on_progress=note)
    whole = dataset.step_count / (time.perf_counter() - began)
    first = next(entry for entry in finished if len(entry[1]) >= min(workers, spec.shard_count - 1))
    steps = sum(shard.steps for shard in dataset.shards if shard.file not in first[1])
    return steps / (finished[-1][0] - first[0]), whole


def mesh_seconds(config: BenchConfig) -> float:
    """How long the mesh robot's loop runs at a time."""
    return MESH_SECONDS * config.seconds


@contextlib.contextmanager
def mesh_robot(workers: int, seconds: float) -> Iterator[Callable[[], float]]:
    """A function that runs the mesh robot's loop in so many processes at once: their steps a second."""
    if workers == 1:
        yield lambda: mesh_steps(lambda: None, seconds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, processes(workers) as pool:
        together = manager.Barrier(workers)

        def rate() -> float:
            tasks = [pool.submit(mesh_steps, together.wait, seconds) for _ in range(workers)]
            return sum(task.result() for task in tasks)

        yield rate


def mesh_steps(wait_for_all: Callable[[], object], seconds: float) -> float:
    """Steps a second of one process, from the moment when all are ready."""
    actions = np.random.default_rng(0).uniform(-0.4, 0.4, (100, 8)).astype(np.float32)
    step, close = panda_loop()
    step(actions[0])
    wait_for_all()
    steps, began, took = 0, time.perf_counter(), 0.0
    while took < seconds:
        step(actions[steps % len(actions)])
        steps += 1
        took = time.perf_counter() - began
    close()
    return steps / took
