"""Settings to start from, by name."""

import typing
from pathlib import Path
from typing import Literal

from cog.errors import UsageError
from cog.networks.config import NetworkConfig
from cog.training.config import CQLConfig, TrainConfig

Preset = Literal["cpu", "paper"]


PRESETS: tuple[str, ...] = typing.get_args(Preset)


def preset(name: str, data: Path, out: Path) -> TrainConfig:
    """The settings called `name`: "cpu" learns in minutes on two cores, "paper" follows the reference.

    The "paper" figures are those of the reference's command line (github.com/avisingh599/cog at 98252e1),
    where they differ from its dictionary. Two deliberate differences: one crop per update instead of one per
    network pass, and target critics that start as copies of the critics.

    Raises:
        UsageError: no such preset.
    """
    if name == "cpu":
        return TrainConfig(data=data, out=out)
    if name == "paper":
        return TrainConfig(
            data=data,
            out=out,
            updates=1_000_000,
            batch_size=256,
            sampling="uniform",
            shift=4,
            bc_lr=1e-4,
            average_decay=0.0,
            threads=0,
            log_every=1000,
            checkpoint_every=10_000,
            network=NetworkConfig(
                encoder="paper",
                sharing="separate",
                bottleneck=0,
                use_proprio=False,
                critic_widths=(1024, 512, 256),
                actor_widths=(1024, 512, 256, 256, 256, 256),
                layer_norm=False,
                critic_init=1e-4,
                action_limit=0.999999,
            ),
            cql=CQLConfig(
                conservative_weight=1.0,
                sampled_actions=1,
                discount=0.99,
                steps=1,
                target_rate=5e-3,
                actor_lr=1e-4,
                temperature_lr=1e-4,
                initial_temperature=1.0,
                bc_weight=0.0,
                bc_updates=10_000,
                clip_targets=False,
            ),
        )
    raise UsageError(f"no preset '{name}'; there are {', '.join(PRESETS)}")
