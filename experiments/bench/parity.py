"""Parity: the same updates from the same seed by every setting, and how far their results part.

Each setting trains an agent from the same weights on the same batches with the same random numbers. All are
held against the plan that takes every image through the networks anew for every action, with one crop an
update as all of them have it ("repeated" in `naive_cql`), in the same arithmetic; tf32 and bfloat16
against float32.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cog.algorithms.cql import CQL
from cog.algorithms.shared.base import Algorithm
from cog.errors import CogError
from cog.experiments.bench.config import BenchConfig
from cog.experiments.bench.figures import Figure
from cog.experiments.bench.naive_cql import NaivePlan, Plan
from cog.experiments.bench.update import FRAMES, bench_config, buffer_for, synthetic
from cog.replay.buffer import Batch, Buffer
from cog.training.config import TrainConfig
from cog.training.execution import executed
from cog.training.train import create

LOSSES = ("td_loss", "conservative_gap", "actor_loss")
VALUES = ("q_data", "q_sampled", "q_policy")


@dataclass(frozen=True)
class Setting:
    """A way to compute updates, and how far it may part."""

    plan: Plan | None = None
    """A naive plan, or none for the update that `cog train` runs."""
    compiled: bool = False
    """Whether it is compiled."""
    graphed: bool = False
    """Whether it is one CUDA graph."""


SETTINGS: dict[str, Setting] = {
    "repeated": Setting(plan="repeated"),
    "shared": Setting(plan="encoded once"),
    "split": Setting(),
    "compiled": Setting(compiled=True),
    "graphed": Setting(graphed=True),
    "compiled+graphed": Setting(compiled=True, graphed=True),
}
"""All settings; the first is what the others are held against. "split" is `cog train` as it is by default."""
COARSE = ("tf32", "bfloat16")
Arithmetic = Literal["float64", "float32", "tf32", "bfloat16"]
TOLERANCES: dict[Arithmetic, dict[str, float]] = {
    "float64": {"losses": 1e-6, "values": 1e-6, "weights": 1e-6},
    "float32": {"losses": 0.02, "values": 0.02, "weights": 0.5},
    "tf32": {"losses": 0.05, "values": 0.05, "weights": 1.0},
    "bfloat16": {"losses": 0.1, "values": 0.1, "weights": 1.0},
}
"""Largest differences (see `Parting`). In float64 nothing but the plan could part two settings; in less, Adam
turns the rounding of gradients near zero into whole steps, so that weights wander while losses agree."""


@dataclass(frozen=True)
class Trace:
    """What the updates of one setting gave."""

    metrics: dict[str, Tensor]
    """Each metric (U,) over the updates."""
    start: Tensor
    """All weights before the first update, as one vector."""
    weights: Tensor
    """All weights after the last."""


@dataclass(frozen=True)
class Parting:
    """How far a setting has parted."""

    losses: float
    """Largest difference of any loss in any update, relative to that loss's largest size in the run."""
    values: float
    """The same of the Q values of data, sampled and policy actions."""
    weights: float
    """Distance of the last weights from the reference's, relative to how far these have moved."""


def parity(config: BenchConfig, on_setting: Callable[[str], None]) -> list[Figure]:
    """All settings that the device can run, on the first network, batch size and N of `config`."""
    network, batch_size, sampled = config.network[0], config.batch_size[0], config.sampled[0]
    settings = bench_config(config, network, batch_size, sampled)
    settings = dataclasses.replace(settings, shift=max(settings.shift, 2))
    buffer = buffer_for(settings, synthetic(FRAMES, config.seed))
    references: dict[Arithmetic, Trace] = {}
    figures: list[Figure] = []
    for arithmetic in TOLERANCES:
        for name, setting in SETTINGS.items():
            if (setting.graphed or arithmetic == "tf32") and not config.device.startswith("cuda"):
                continue
            if setting.plan is not None and arithmetic in COARSE:
                continue  # held against float32
            on_setting(f"{name}, {arithmetic}")
            found = trace(settings, setting, arithmetic, buffer, config.parity_updates)
            if setting.plan == "repeated":
                references[arithmetic] = found
                continue
            reference = references["float32" if arithmetic in COARSE else arithmetic]
            case = f"{network}, batch {batch_size}, N = {sampled}, {config.parity_updates} updates"
            figures += parting_figures(f"{case}, {name}, {arithmetic}", reference, found, arithmetic)
    return figures


class Widened:
    """A buffer whose batches hold numbers of float64."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer

    def sample(self, generator: torch.Generator) -> Batch:
        """Draw one batch."""
        batch = self.buffer.sample(generator)
        numbers = ("proprio", "next_proprio", "actions", "rewards", "bootstrap")
        return batch._replace(**{name: getattr(batch, name).double() for name in numbers})


def trace(
    config: TrainConfig, setting: Setting, arithmetic: Arithmetic, buffer: Buffer, updates: int
) -> Trace:
    """Train a new agent by one setting; the buffer's draws depend on the agent's generator alone."""
    config = dataclasses.replace(
        config,
        precision="float32" if arithmetic == "float64" else arithmetic,
        compiled=setting.compiled,
        graphed=setting.graphed,
    )
    agent = create(config, buffer)
    assert isinstance(agent, CQL)
    if arithmetic == "float64":
        agent.double()
    update = executed(agent, Widened(buffer) if arithmetic == "float64" else buffer, config)
    if setting.plan is not None:
        agent.gradients = NaivePlan(agent, setting.plan)  # type: ignore[method-assign]
    start = weights_of(agent)
    metrics: dict[str, list[float]] = {name: [] for name in (*LOSSES, *VALUES)}
    for _ in range(updates):
        found = update()
        for name, values in metrics.items():
            values.append(float(found[name]))
    found_metrics = {name: torch.tensor(values, dtype=torch.float64) for name, values in metrics.items()}
    return Trace(found_metrics, start, weights_of(agent))


def weights_of(agent: Algorithm[Any]) -> Tensor:
    """A copy of all weights, as one vector."""
    return torch.cat([weight.detach().reshape(-1) for weight in agent.parameters()])


def parted(reference: Trace, other: Trace) -> Parting:
    """How far `other` has parted from `reference`."""

    def largest(names: tuple[str, ...]) -> float:
        return max(
            float((other.metrics[name] - reference.metrics[name]).abs().max())
            / max(float(reference.metrics[name].abs().max()), 1e-12)
            for name in names
        )

    moved = float((reference.weights - reference.start).norm())
    return Parting(
        largest(LOSSES), largest(VALUES), float((other.weights - reference.weights).norm()) / moved
    )


def parting_figures(case: str, reference: Trace, found: Trace, arithmetic: Arithmetic) -> list[Figure]:
    """The three differences, each with its share of the tolerance."""
    figures = []
    for name, value in dataclasses.asdict(parted(reference, found)).items():
        most = TOLERANCES[arithmetic][name]
        figures.append(
            Figure("parity", f"{case}: {name}", value, "", value / most, beside=f"tolerance {most:g}")
        )
    return figures


def refuse_parting(figures: list[Figure]) -> None:
    """Raise CogError, naming the settings, if a difference is beyond its tolerance."""
    beyond = [figure.what for figure in figures if figure.ratio is not None and not figure.ratio <= 1]
    if beyond:
        raise CogError(f"not the same learner: {'; '.join(beyond)}")
