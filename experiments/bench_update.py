"""How long one CQL update takes, beside the naive plan of the same computation.

    python -m cog.experiments.bench_update --network paper --sampled 1 10 --threads 2 --out update.json

Both plans train the same networks on the same synthetic batches, in turn, so that other load on the machine
hits both; medians are compared. The naive plan crops in every network pass, ours once an update.
"""

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from cog.buffer import Buffer
from cog.config import preset
from cog.cql import CQL
from cog.experiments.naive_cql import naive_update
from cog.files import code_version, write_json
from cog.train import create, keep_freed_memory


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
    buffer = Buffer(synthetic(2000, seed), torch.device("cpu"), batch_size, "uniform")
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
    """Measure each combination asked for and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", nargs="+", default=["paper", "cpu"], help="presets to measure")
    parser.add_argument("--sampled", nargs="+", type=int, default=[1, 10], help="values of N")
    parser.add_argument("--batch-size", type=int, default=256, help="transitions in a batch")
    parser.add_argument("--repeats", type=int, default=5, help="updates timed of each plan")
    parser.add_argument("--threads", type=int, default=1, help="threads of one operation")
    parser.add_argument("--seed", type=int, default=0, help="seed of data and weights")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    print(f"{'network':8} {'batch':>5} {'N':>3} {'naive ms':>9} {'ours ms':>9} {'ratio':>6}")
    results = []
    for network in arguments.network:
        for sampled in arguments.sampled:
            row = measure(network, arguments.batch_size, sampled, arguments.repeats, arguments.seed)
            results.append(row)
            print(
                f"{network:8} {row['batch_size']:5} {sampled:3} {row['naive_ms']:9.1f} {row['ours_ms']:9.1f} "
                f"{row['ratio']:6.2f}",
                flush=True,
            )
    if arguments.out:
        facts = {"code": code_version(), "torch": torch.__version__, "threads": arguments.threads}
        write_json(arguments.out, facts | {"results": results})


if __name__ == "__main__":
    main()
