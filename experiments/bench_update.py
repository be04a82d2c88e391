"""How long one CQL update takes, beside the naive plan of the same computation.

    python -m cog.experiments.bench_update --network paper cpu --sampled 1 10 --out docs/bench_update.json

Both plans train the same networks on the same synthetic transitions, in turn, so that other load on the
machine hits both; medians are compared. A call draws its batch and does one update. The naive plan crops in
every network pass, ours once an update.
"""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import tyro

from cog.buffer import Buffer
from cog.config import Preset, TrainConfig, preset
from cog.console import console, progress, table
from cog.cql import CQL
from cog.errors import UsageError
from cog.execution import executed
from cog.experiments.bench_ceilings import threads_of
from cog.experiments.bench_config import BenchConfig
from cog.experiments.bench_rounds import Action, in_turn
from cog.experiments.naive_cql import NaivePlan, Plan
from cog.files import code_version, write_json
from cog.train import create, keep_freed_memory, usable_device

Setting = Callable[[TrainConfig, Buffer], Action]
FRAMES = 2000  # in the buffer of a measurement that is not about the buffer


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
    """Noise in the shape of the scenes' transitions: 48x48 images, a pose and actions of 8 numbers each."""
    rng = np.random.default_rng(seed)
    steps = frames - 1
    return SimpleNamespace(
        frames=rng.integers(0, 256, (frames, 48, 48, 3), dtype=np.uint8),
        proprio=rng.normal(size=(frames, 8)).astype(np.float32),
        actions=rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
        rewards=(rng.random(steps) < 0.1).astype(np.float32),
        terminals=np.zeros(steps, bool),
        frame_index=np.arange(steps),
        source=np.zeros(steps, np.int64),
        sources=[{"role": "task", "name": "synthetic", "share": 1.0, "steps": steps}],
        fingerprint="synthetic",
    )


def planned(plan: Plan) -> Setting:
    """A batch and an update by a naive plan, in float32."""

    def make(config: TrainConfig, buffer: Buffer) -> Action:
        agent = create(dataclasses.replace(config, precision="float32"), buffer)
        assert isinstance(agent, CQL)
        agent.compiled = NaivePlan(agent, plan)
        return lambda: agent.update(buffer.sample(agent.generator))

    return make


def ours(**execution: Any) -> Setting:
    """A batch and the update that `cog train` runs, executed like this."""

    def make(config: TrainConfig, buffer: Buffer) -> Action:
        config = dataclasses.replace(config, **execution)
        agent = create(config, buffer)
        return executed(agent, buffer, config)

    return make


SETTINGS: dict[str, Setting] = {
    "naive": planned("reference"),
    "shared": planned("encoded once"),
    "eager": ours(),
    "compiled": ours(compiled=True),
    "graphed": ours(graphed=True),
    "compiled+graphed": ours(compiled=True, graphed=True),
}
"""How an update may be computed: each makes, of a configuration and a buffer, a call that does one update.

"naive" and "shared" are plans of the same losses (see `naive_cql`); the others compute the same function by
the operations of "eager", however these are launched.
"""


def chosen(names: Sequence[str], device: str) -> list[str]:
    """The settings of these names, all that the device can run if there are none.

    Raises:
        UsageError: there is no such setting.
    """
    for name in names:
        if name not in SETTINGS:
            raise UsageError(f"setting {name!r} is unknown; there are: {', '.join(SETTINGS)}")
    graphs = device.startswith("cuda")
    return [name for name in SETTINGS if (name in names if names else graphs or "graphed" not in name)]


def update_config(network: Preset, batch_size: int, sampled: int, seed: int) -> TrainConfig:
    """A preset past its imitation, with this batch size and N."""
    config = preset(network, Path("unused"), Path("unused"))
    cql = dataclasses.replace(config.cql, sampled_actions=sampled, bc_updates=0)
    return dataclasses.replace(config, batch_size=batch_size, cql=cql, seed=seed)


def bench_config(config: BenchConfig, network: Preset, batch_size: int, sampled: int) -> TrainConfig:
    """The same, on the benchmark's device and in its precision."""
    settings = update_config(network, batch_size, sampled, config.seed)
    return dataclasses.replace(
        settings, device=config.device, precision=config.precision, threads=threads_of(config)
    )


def buffer_for(config: TrainConfig, transitions: Any) -> Buffer:
    """These transitions on the configuration's device, drawn uniformly."""
    device = usable_device(config)
    return Buffer(transitions, device, config.batch_size, "uniform", config.cql.discount, config.cql.steps)


def measure(network: Preset, batch_size: int, sampled: int, repeats: int, seed: int) -> dict[str, Any]:
    """Median milliseconds of our update and of the naive one, and their ratio."""
    config = update_config(network, batch_size, sampled, seed)
    buffer = buffer_for(config, synthetic(FRAMES, seed))
    actions = {name: SETTINGS[name](config, buffer) for name in ("naive", "eager")}
    rounds = in_turn(actions, repeats, 0.0, lambda: None)
    return {
        "network": network,
        "batch_size": batch_size,
        "sampled_actions": sampled,
        "ours_ms": round(1000 / rounds.rate("eager"), 1),
        "naive_ms": round(1000 / rounds.rate("naive"), 1),
        "ratio": round(statistics.median(rounds.ratios("eager", "naive")), 2),
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
