"""The settings of an update: the naive plan, ours, and ours compiled or as a graph, on the same transitions.

A call draws its batch and does one update. The naive plan crops in every network pass, ours once an update.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cog.algorithms.cql import CQL, CQLConfig
from cog.datasets.transitions import Transitions
from cog.errors import UsageError
from cog.experiments.bench.ceilings import threads_of
from cog.experiments.bench.config import BenchConfig
from cog.experiments.bench.naive_cql import NaivePlan, Plan
from cog.experiments.bench.rounds import Action
from cog.replay.buffer import Buffer
from cog.training.config import TrainConfig
from cog.training.execution import executed
from cog.training.presets import Preset, preset
from cog.training.setup import create, usable_device

Setting = Callable[[TrainConfig, Buffer], Action]
FRAMES = 2000  # in the buffer of a measurement that is not about the buffer


def synthetic(frames: int, seed: int) -> Transitions:
    """Noise in the shape of the scenes' transitions: 48x48 images, a pose and actions of 8 numbers each."""
    rng = np.random.default_rng(seed)
    steps = frames - 1
    return Transitions(
        frames=rng.integers(0, 256, (frames, 48, 48, 3), dtype=np.uint8),
        proprio=rng.normal(size=(frames, 8)).astype(np.float32),
        actions=rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
        rewards=(rng.random(steps) < 0.1).astype(np.float32),
        terminals=np.zeros(steps, bool),
        frame_index=np.arange(steps),
        source=np.zeros(steps, np.int64),
        episode=np.zeros(steps, np.int64),
        sources=[{"role": "task", "name": "synthetic", "share": 1.0, "steps": steps}],
        fingerprint="synthetic",
    )


def planned(plan: Plan) -> Setting:
    """A batch and an update by a naive plan, in float32."""

    def make(config: TrainConfig, buffer: Buffer) -> Action:
        agent = create(dataclasses.replace(config, precision="float32"), buffer)
        assert isinstance(agent, CQL)
        agent.gradients = NaivePlan(agent, plan)  # type: ignore[method-assign]
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
    assert isinstance(config.algorithm, CQLConfig)
    algorithm = dataclasses.replace(config.algorithm, sampled_actions=sampled, bc_updates=0)
    return dataclasses.replace(config, batch_size=batch_size, algorithm=algorithm, seed=seed)


def bench_config(config: BenchConfig, network: Preset, batch_size: int, sampled: int) -> TrainConfig:
    """The same, on the benchmark's device and in its precision."""
    settings = update_config(network, batch_size, sampled, config.seed)
    return dataclasses.replace(
        settings, device=config.device, precision=config.precision, threads=threads_of(config)
    )


def buffer_for(config: TrainConfig, transitions: Any) -> Buffer:
    """These transitions on the configuration's device, drawn uniformly."""
    device = usable_device(config)
    returns = config.algorithm.returns()
    return Buffer(transitions, device, config.batch_size, "uniform", *returns, network=config.network)
