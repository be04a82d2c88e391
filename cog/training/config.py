"""Every setting of a training run; an algorithm's own settings are defined in its file.

PyTorch is imported only when an algorithm's settings are made, so that the command line starts fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cog.algorithms import algorithm
from cog.algorithms.shared.config import AlgorithmConfig
from cog.core.bounds import refuse_out_of_bounds, refuse_seed, within
from cog.core.configs import APART, from_json, take_types
from cog.networks.config import NetworkConfig

TORCH_SEED_BITS = 64


@dataclass(frozen=True)
class TrainConfig:
    """One training run: its data, algorithm, length and output folder."""

    data: Path = field(metadata=APART)
    """Merge file, or a dataset folder, to learn from."""
    out: Path = field(metadata=APART)
    """Folder of the run; refused if it holds another run."""
    seed: int = 0
    """Seed of initial weights, batches and sampled actions."""
    updates: int = within("[1, inf)", 10_000)
    """Number of gradient updates."""
    batch_size: int = within("[1, inf)", 128)
    """Transitions in a batch; the processes of one run share it evenly."""
    sampling: Literal["balanced", "uniform"] = "balanced"
    """Whether each batch follows the shares of the merge, or transitions are drawn uniformly."""
    shift: int = within("[0, inf)", 0)
    """Largest random shift of an image in pixels (zero-padded crop); 0 disables augmentation."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Whether step sizes stay constant or fall to zero along a cosine."""
    clip_gradient: float = within("[0, inf)", 0.0)
    """Largest norm of a gradient; 0 disables clipping."""
    average_decay: float = within("[0, 1)", 0.998)
    """Decay of the running average of policy weights used in evaluation; 0 uses the last weights."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Arithmetic of matrix products and convolutions; parameters stay float32. "tf32" needs CUDA."""
    compiled: bool = False
    """Whether the update goes through torch.compile, which takes a minute to start and rounds differently."""
    graphed: bool = field(default=False, metadata=APART)
    """Whether the update is captured as one CUDA graph and replayed."""
    device: str = "cpu"
    """Device that computes and stores the frames: "cpu", "cuda" or "cuda:1"."""
    threads: int = within("[0, inf)", 1)
    """Threads of one operation on the CPU; 0 leaves the choice to PyTorch. Other counts round differently."""
    log_every: int = within("[1, inf)", 100)
    """Updates between two logged lines of metrics."""
    meter_every: int = within("[0, inf)", 1000)
    """Updates between two lines of metrics that have failure meters (meter/...), too; 0 measures none."""
    checkpoint_every: int = within("[1, inf)", 1000, APART)
    """Updates between two checkpoints."""
    runaway_q: float = within("(0, inf)", 1e4)
    """Magnitude of a Q value at which the run stops as diverged."""
    wandb: Literal["disabled", "offline", "online"] = field(default="disabled", metadata=APART)
    """Whether metrics are also sent to Weights & Biases."""
    tensorboard: bool = field(default=False, metadata=APART)
    """Whether metrics are also written for TensorBoard, into the run's folder tensorboard."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Encoder, critics and actor."""
    algorithm: AlgorithmConfig = field(default_factory=lambda: algorithm("cql").Config())
    """Settings of the algorithm, which are defined in its file of `cog.algorithms`."""

    def __post_init__(self) -> None:
        """Refuse settings out of their bounds.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        take_types(self)
        refuse_out_of_bounds(self)
        refuse_seed(self.seed, TORCH_SEED_BITS)

    def meters(self, update: int) -> bool:
        """Whether the line of this update has failure meters."""
        return self.meter_every > 0 and update % self.meter_every == 0

    def logs(self, update: int) -> bool:
        """Whether this update has a line of metrics, however many updates the run has."""
        return update % self.log_every == 0 or self.meters(update)


def read_config(values: Mapping[str, Any], where: str) -> TrainConfig:
    """The settings that JSON `values` hold, of this version or of 0.1.0, which named them differently.

    Raises:
        UsageError: an unknown field, a missing one without default, or a value of the wrong type.
    """
    config: TrainConfig = from_json(_renamed(values), TrainConfig, where)
    return config


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under present names: 0.1.0 had `algorithm` "cql" or "bc", a group `cql`, and `bc_lr`."""
    renamed = dict(values)
    cql, lr = renamed.pop("cql", {}), renamed.pop("bc_lr", None)
    if renamed.get("algorithm", "cql") == "cql":
        renamed["algorithm"] = {"name": "cql", **cql}
    elif renamed["algorithm"] == "bc":
        renamed["algorithm"] = {"name": "bc"} if lr is None else {"name": "bc", "lr": lr}
    return renamed
