"""What a run is checked for as it goes: infinite losses, Q values that run away, weights gone bad."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cog.algorithms.base import Algorithm, Metrics
from cog.core.parallel import gathered
from cog.errors import CogError
from cog.training.config import TrainConfig

MAXIMA = ("q_size",)  # metrics of which the ranks' largest counts, not their mean


class Diverged(CogError):  # noqa: N818 - it is a finding
    """The run cannot go on: a loss or a weight is not finite, or Q ran away."""


def to_host(metrics: Metrics) -> dict[str, float]:
    """Bring metrics to the host in one transfer, those of all ranks together."""
    ranks = gathered(torch.stack([value.float() for value in metrics.values()]))
    joint = zip(metrics, torch.stack([ranks.mean(0), ranks.amax(0)], 1).tolist(), strict=True)
    return {name: largest if name in MAXIMA else mean for name, (mean, largest) in joint}


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


def refuse_bad_parameters(agent: Algorithm[Any], root: Path) -> None:
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


def refuse_difference(agent: Algorithm[Any], fingerprint: str) -> None:
    """Every rank must hold the same data and be the same agent at the same update.

    Raises:
        CogError: on every rank, naming what differs.
    """
    # Sums of the weights' bits, which round nowhere.
    weights = torch.stack([p.detach().view(torch.int32).sum(dtype=torch.int64) for p in agent.parameters()])
    data = int.from_bytes(hashlib.sha256(fingerprint.encode()).digest()[:7], "big")
    ranks = gathered(torch.tensor([data, agent.updates_done, int(weights.sum())]))
    names = ("data", "update", "weights")
    if differing := [name for name, same in zip(names, (ranks == ranks[0]).all(0), strict=True) if not same]:
        raise CogError(
            f"update {agent.updates_done}: the processes of this run differ in their {', '.join(differing)}; "
            "nothing is saved. All must read the same data and the same run folder, and be of one version."
        )
