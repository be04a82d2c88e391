"""What a run is checked for as it goes: infinite losses, Q values that run away, weights gone bad."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from cog.agent import Agent, Metrics
from cog.config import TrainConfig
from cog.errors import CogError


class Diverged(CogError):  # noqa: N818 - it is a finding
    """The run cannot go on: a loss or a weight is not finite, or Q ran away."""


def to_host(metrics: Metrics) -> dict[str, float]:
    """Bring metrics to the host in one transfer."""
    values = torch.stack([value.float() for value in metrics.values()]).tolist()
    return dict(zip(metrics, values, strict=True))


def refuse_divergence(config: TrainConfig, update: int, values: Mapping[str, float], root: Path) -> None:
    """Stop when a loss is not finite or Q is larger than any sensible return.

    Raises:
        Diverged: naming what, when, and where the last good checkpoint is.
    """
    kept = f"The last good checkpoint is under {root}." if any(root.glob("step_*")) else ""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise Diverged(
            f"update {update}: {', '.join(bad)} not finite; the run has diverged. Try smaller learning "
            f"rates, a gradient limit (--clip-gradient 10) or a smaller conservative weight. {kept}"
        )
    if values.get("q_size", 0.0) > config.runaway_q:
        raise Diverged(
            f"update {update}: |Q| reached {values['q_size']:.3g}, above the limit {config.runaway_q:.3g}; "
            "the critics run away. Try a smaller conservative weight, more sampled actions or bounded "
            f"targets (--cql.clip-targets). {kept}"
        )


def refuse_bad_parameters(agent: Agent, root: Path) -> None:
    """A checkpoint with NaN in it would bury the last good one.

    Raises:
        Diverged: a weight is not finite.
    """
    sums = torch.stack([parameter.detach().float().sum() for parameter in agent.parameters()])
    if not bool(sums.isfinite().all()):
        raise Diverged(
            f"update {agent.updates_done}: a weight is not finite; the run has diverged and this state is "
            f"not saved. Earlier checkpoints, if any, are under {root}. Try smaller learning rates."
        )
