"""Presets: settings to start from, by name."""

import typing
from pathlib import Path
from typing import Literal

from cog.algorithms import algorithm as algorithm_class
from cog.errors import UsageError
from cog.networks.config import NetworkConfig
from cog.training.config import TrainConfig

Preset = Literal["cpu", "paper"]
PRESETS: tuple[str, ...] = typing.get_args(Preset)

PAPER_NETWORK = NetworkConfig(
    encoder="paper",
    sharing="separate",
    bottleneck=0,
    use_proprio=False,
    critic_widths=(1024, 512, 256),
    actor_widths=(1024, 512, 256, 256, 256, 256),
    layer_norm=False,
    critic_init=1e-4,
    action_limit=0.999999,
)


def preset(name: str, data: Path, out: Path, algorithm: str = "cql") -> TrainConfig:
    """The settings called `name`: "cpu" learns in minutes on two cores, "paper" follows the reference.

    The "paper" figures are those of the reference's command line (github.com/avisingh599/cog at 98252e1),
    where they differ from its dictionary. Two deliberate differences: one crop per update instead of one per
    network pass, and target critics that start as copies of the critics.

    Raises:
        UsageError: no such preset or algorithm.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset '{name}'", remedy=f"choose one of: {', '.join(PRESETS)}")
    settings = algorithm_class(algorithm).presets[name]
    if name == "cpu":
        return TrainConfig(data=data, out=out, algorithm=settings)
    return TrainConfig(
        data=data,
        out=out,
        updates=1_000_000,
        batch_size=256,
        sampling="uniform",
        shift=4,
        average_decay=0.0,
        threads=0,
        log_every=1000,
        meter_every=10_000,
        checkpoint_every=10_000,
        network=PAPER_NETWORK,
        algorithm=settings,
    )
