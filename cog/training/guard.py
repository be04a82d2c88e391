"""Checks during a run: non-finite losses, diverging Q values, non-finite weights, ranks that differ."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cog.algorithms.shared.base import Algorithm, Metrics
from cog.core.parallel import gathered
from cog.errors import CogError
from cog.training.config import TrainConfig
from cog.training.tensors import not_finite

MAXIMA = ("q_size",)  # metrics reduced over the ranks by maximum instead of mean


class Diverged(CogError):  # noqa: N818 - it is a finding
    """The run cannot continue: a loss or weight is not finite, or Q diverged."""


def to_host(metrics: Metrics) -> dict[str, float]:
    """Bring metrics to the host in one transfer, those of all ranks together."""
    ranks = gathered(torch.stack([value.float() for value in metrics.values()]))
    joint = zip(metrics, torch.stack([ranks.mean(0), ranks.amax(0)], 1).tolist(), strict=True)
    return {name: largest if name in MAXIMA else mean for name, (mean, largest) in joint}


def refuse_divergence(config: TrainConfig, update: int, values: Mapping[str, float], root: Path) -> None:
    """Stop when a metric is not finite or |Q| is larger than any sensible return.

    Raises:
        Diverged: naming the metric, the update and the last good checkpoint.
    """
    last_good = f" The last good checkpoint is under {root}." if any(root.glob("step_*")) else ""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise Diverged(
            f"{', '.join(bad)} not finite; the run has diverged",
            where=f"update {update}",
            remedy="Try smaller learning rates, a gradient limit (--clip-gradient 10) or a smaller "
            f"conservative weight.{last_good}",
        )
    if values.get("q_size", 0.0) > config.runaway_q:
        raise Diverged(
            f"|Q| reached {values['q_size']:.3g}, above the limit {config.runaway_q:.3g}; critics diverge",
            where=f"update {update}",
            remedy="Try a smaller conservative weight, more sampled actions or bounded targets "
            f"(--cql.clip-targets).{last_good}",
        )


def refuse_bad_parameters(agent: Algorithm[Any], root: Path) -> None:
    """Refuse to save weights or moments that are not finite, which would replace the last good checkpoint.

    Raises:
        Diverged: one is not finite.
    """
    moments = {
        f"{name}.{number}.{kind}": value
        for name, optimizer in agent.optimizers.items()
        for number, state in optimizer.state_dict()["state"].items()
        for kind, value in state.items()
    }
    if (name := not_finite({**agent.state_dict(), **moments})) is not None:
        raise Diverged(
            f"a weight is not finite ({name}); the run has diverged and this state is not saved. Earlier "
            f"checkpoints, if any, are under {root}",
            where=f"update {agent.updates_done}",
            remedy="Try smaller learning rates.",
        )


def refuse_difference(agent: Algorithm[Any], fingerprint: str) -> None:
    """Refuse to continue unless every rank has the same data and the same agent at the same update.

    Raises:
        CogError: on every rank, naming what differs.
    """
    # Integer sums of the weights' bits, which do not round.
    weights = torch.stack([p.detach().view(torch.int32).sum(dtype=torch.int64) for p in agent.parameters()])
    data = int.from_bytes(hashlib.sha256(fingerprint.encode()).digest()[:7], "big")
    ranks = gathered(torch.tensor([data, agent.updates_done, int(weights.sum())]))
    names = ("data", "update", "weights")
    if differing := [name for name, same in zip(names, (ranks == ranks[0]).all(0), strict=True) if not same]:
        raise CogError(
            f"the processes of this run differ in their {', '.join(differing)}; nothing is saved",
            where=f"update {agent.updates_done}",
            remedy="Let all read the same data and the same run folder, with one version of cog.",
        )
