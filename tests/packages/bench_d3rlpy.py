"""Time and memory of an update against d3rlpy's: batch 256, 48x48 images, the paper's network, one thread.

    python -m tests.packages.bench_d3rlpy --out FILE

Each side runs in a process of its own, whose peak memory is its own, and waits for its turn: all sides of a
case take turns in every round, so that other load on the machine hits all of them. An update draws its batch
first.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from cog.core.files import json_text
from cog.datasets.episode import Episode
from cog.experiments.bench.update import FRAMES, buffer_for, synthetic
from cog.training.config import TrainConfig
from cog.training.execution import executed, keep_freed_memory
from cog.training.presets import preset
from cog.training.setup import create
from tests.packages.d3rlpy_settings import MATCHED

EXECUTION: Mapping[str, Mapping[str, Any]] = {
    "float32": {},
    "compiled": {"compiled": True},
    "bfloat16": {"precision": "bfloat16"},
    "compiled bfloat16": {"compiled": True, "precision": "bfloat16"},
}
"""Ways in which cog computes an update."""
PEERS = ("d3rlpy", "d3rlpy, memory kept")
"""d3rlpy as it is, and where glibc keeps freed memory, as `cog train` makes it do."""
LEAST = 2.0
"""Seconds that a turn lasts at least."""


@dataclass(frozen=True)
class Case:
    """An algorithm, and for CQL its N."""

    algorithm: str
    sampled_actions: int | None = None

    @property
    def name(self) -> str:
        """As the result names it."""
        return (
            self.algorithm if self.sampled_actions is None else f"{self.algorithm} N={self.sampled_actions}"
        )

    def config(self, batch: int) -> TrainConfig:
        """The paper's preset past its imitation, without crops, which d3rlpy does not have."""
        config = preset("paper", Path("unused"), Path("unused"), self.algorithm)
        algorithm = config.algorithm
        changes = {"bc_updates": 0, "warm_up_updates": 0, "sampled_actions": self.sampled_actions}
        known = {name: value for name, value in changes.items() if hasattr(algorithm, name)}
        network = replace(config.network, critics=MATCHED[self.algorithm].critics)
        algorithm = replace(algorithm, **known)
        return replace(config, algorithm=algorithm, network=network, batch_size=batch, shift=0, threads=1)


CASES = [Case(name, n) for name in MATCHED for n in ((10, 1) if name == "cql" else (None,))]
"""All that is measured."""


def update_of_cog(case: Case, batch: int, execution: str) -> Any:
    """A call that draws a batch and updates cog's agent."""
    keep_freed_memory()
    config = replace(case.config(batch), **EXECUTION[execution])
    buffer = buffer_for(config, synthetic(FRAMES, 0))
    return executed(create(config, buffer), buffer, config)


def update_of_d3rlpy(case: Case, batch: int, kept: bool) -> Any:
    """A call that draws a batch and updates d3rlpy's agent."""
    from tests.packages.d3rlpy_models import build, quiet, replay

    quiet()
    if kept:
        keep_freed_memory()
    config, data = case.config(batch), synthetic(FRAMES, 0)
    episode = Episode(
        images=data.frames, actions=data.actions, rewards=data.rewards, terminals=data.terminals, signals={}
    )
    drawn = replay([episode])
    model = build(case.algorithm, config.network, batch, changes=asdict(config.algorithm))
    model.create_impl((3, *data.frames.shape[1:3]), data.actions.shape[1])
    return lambda: model.update(drawn.sample_transition_batch(batch))


def side(case: Case, batch: int, name: str, pipe: Connection) -> None:
    """A process: for each number that comes, as many updates; their mean seconds, and peak memory (MB)."""
    torch.set_num_threads(1)
    if name in EXECUTION:
        update = update_of_cog(case, batch, name)
    else:
        update = update_of_d3rlpy(case, batch, name != PEERS[0])
    while number := pipe.recv():
        began = time.perf_counter()
        for _ in range(number):
            update()
        seconds = time.perf_counter() - began
        pipe.send((seconds / number, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measure(case: Case, sides: Sequence[str], rounds: int, batch: int) -> dict[str, Any]:
    """Seconds per update of each side, in turns, and its peak memory; ratios against d3rlpy as it is."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name in sides:
        pipes[name], other = context.Pipe()
        processes.append(context.Process(target=side, args=(case, batch, name, other), daemon=True))
        processes[-1].start()
        other.close()

    def turn(name: str, updates: int) -> tuple[float, float]:
        pipes[name].send(updates)
        result: tuple[float, float] = pipes[name].recv()
        return result

    calls = {}
    period = getattr(case.config(batch).algorithm, "actor_every", 1)
    for name in sides:
        turn(name, period)  # compiles all phases, and touches all memory
        calls[name] = period * max(1, round(LEAST / turn(name, period)[0] / period))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peak = {}
    for _ in range(rounds):
        for name in sides:
            taken, peak[name] = turn(name, calls[name])
            seconds[name].append(taken)
    for name, process in zip(sides, processes, strict=True):
        pipes[name].send(0)
        process.join()
    peer = sides[-1] if PEERS[0] not in sides else PEERS[0]
    return {name: figures(seconds[name], seconds[peer], peak[name], peak[peer]) for name in sides}


def figures(
    seconds: Sequence[float], peer: Sequence[float], peak: float, peer_peak: float
) -> dict[str, float]:
    """Median seconds, how many times faster than d3rlpy (median and range of the rounds), and memory."""
    ratios = sorted(other / own for own, other in zip(seconds, peer, strict=True))
    return {
        "seconds": round(statistics.median(seconds), 4),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_low": round(ratios[0], 2),
        "ratio_high": round(ratios[-1], 2),
        "peak_mb": round(peak),
        "memory_ratio": round(peer_peak / peak, 2),
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the figures to a file."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--only", nargs="+", default=names, choices=names, help="cases")
    parser.add_argument(
        "--execution", nargs="+", default=list(EXECUTION), choices=list(EXECUTION), help="ways of cog"
    )
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS), help="ways of d3rlpy")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every side")
    parser.add_argument("--batch", type=int, default=256, help="transitions in a batch")
    parser.add_argument("--quick", action="store_true", help="one round of batch 4, as a smoke test")
    chosen = parser.parse_args(arguments)
    rounds, batch = (1, 4) if chosen.quick else (chosen.rounds, chosen.batch)
    found = {}
    for case in CASES:
        if case.name in chosen.only:
            found[case.name] = measure(case, [*chosen.execution, *chosen.peers], rounds, batch)
            for name, figure in found[case.name].items():
                print(f"{case.name:10} {name:20} {figure}", flush=True)
    settings = {"rounds": rounds, "batch": batch, "threads": 1, "torch": torch.__version__}
    chosen.out.write_text(json_text({"settings": settings, "cases": found}))


if __name__ == "__main__":
    main(sys.argv[1:])
