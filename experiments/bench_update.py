"""How long one CQL update takes, beside the naive plan of the same computation.

    python -m cog.experiments.bench_update --network paper cpu --sampled 1 10 --out docs/bench_update.json

Both plans train the same networks on the same synthetic batches, in turn, so that other load on the machine
hits both; medians are compared. The naive plan crops in every network pass, ours once an update.
"""

import dataclasses
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import tyro

from cog.buffer import Buffer
from cog.config import Preset, preset
from cog.console import console, progress, table
from cog.cql import CQL
from cog.experiments.naive_cql import naive_update
from cog.files import code_version, write_json
from cog.train import create, keep_freed_memory


@dataclass(frozen=True)
class BenchUpdate:
    """Measure CQL updates beside the naive plan."""

    network: tuple[Preset, ...] = ("paper", "cpu")
    """Presets to measure."""
    sampled: tuple[int, ...] = (1, 10)
    """Values of N, the sampled actions of each kind."""
    batch_size: int = 256
    """Transitions in a batch."""
    repeats: int = 5
    """Updates timed of each plan."""
    threads: int = 1
    """Threads of one operation."""
    seed: int = 0
    """Seed of data and weights."""
    out: Path | None = None
    """JSON file for the figures; none writes none."""


def synthetic(frames: int, seed: int) -> Any:
    """Noise in the shape of transitions: 48x48 images, a pose of 10 numbers, 8 action dimensions."""
    rng = np.random.default_rng(seed)
    steps = frames - 1
    return SimpleNamespace(
        frames=rng.integers(0, 256, (frames, 48, 48, 3), dtype=np.uint8),
        proprio=rng.normal(size=(frames, 10)).astype(np.float32),
        actions=rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
        rewards=(rng.random(steps) < 0.1).astype(np.float32),
        terminals=np.zeros(steps, bool),
        frame_index=np.arange(steps),
        source=np.zeros(steps, np.int64),
        sources=[{"role": "task", "name": "synthetic", "share": 1.0, "steps": steps}],
        fingerprint="synthetic",
    )


def measure(network: str, batch_size: int, sampled: int, repeats: int, seed: int) -> dict[str, Any]:
    """Median milliseconds of our update and of the naive one, and their ratio."""
    config = preset(network, Path("unused"), Path("unused"))
    cql = dataclasses.replace(config.cql, sampled_actions=sampled, bc_updates=0)
    config = dataclasses.replace(config, batch_size=batch_size, cql=cql, seed=seed)
    buffer = Buffer(synthetic(2000, seed), torch.device("cpu"), batch_size, "uniform", config.cql.discount)
    ours, naive = create(config, buffer), create(config, buffer)
    assert isinstance(ours, CQL) and isinstance(naive, CQL)
    seconds: dict[str, list[float]] = {"ours": [], "naive": []}
    for _ in range(repeats + 1):
        batch = buffer.sample(ours.generator)
        for name, update in (("ours", ours.update), ("naive", lambda batch: naive_update(naive, batch))):
            started = time.perf_counter()
            update(batch)
            seconds[name].append(time.perf_counter() - started)
    median = {
        name: 1000 * statistics.median(values[1:]) for name, values in seconds.items()
    }  # first: warm-up
    return {
        "network": network,
        "batch_size": batch_size,
        "sampled_actions": sampled,
        "ours_ms": round(median["ours"], 1),
        "naive_ms": round(median["naive"], 1),
        "ratio": round(median["naive"] / median["ours"], 2),
        "repeats": repeats,
    }


def main() -> None:
    """Measure each combination asked for, print a table and write it where asked."""
    config = tyro.cli(BenchUpdate)
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    cases = [(network, sampled) for network in config.network for sampled in config.sampled]
    results: list[dict[str, Any]] = []
    with progress("benchmark", len(cases), "case") as advance:
        for network, sampled in cases:
            advance(len(results), f"{network}, N = {sampled}")
            results.append(measure(network, config.batch_size, sampled, config.repeats, config.seed))
        advance(len(cases), "")
    columns = ("network", "batch_size", "sampled_actions", "naive_ms", "ours_ms", "ratio")
    rows = [[str(result[column]) for column in columns] for result in results]
    console().print(table(f"One CQL update, {config.threads} thread", columns, rows))
    if config.out is not None:
        facts = {"code": code_version(), "torch": torch.__version__, "threads": config.threads}
        write_json(config.out, facts | {"results": results})


if __name__ == "__main__":
    main()
