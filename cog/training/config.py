"""Every setting of a training run: frozen dataclasses, one field a line.

No library is imported here, so that the command line starts fast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below, refuse_outside, refuse_seed
from cog.core.configs import APART
from cog.errors import UsageError
from cog.networks.config import NetworkConfig


@dataclass(frozen=True)
class CQLConfig:
    """The terms of conservative Q-learning, CQL(H), with a SAC actor."""

    conservative_weight: float = 0.05
    """Weight of the conservative term (the paper's alpha); the starting value in the Lagrange form."""
    lagrange_gap: float | None = None
    """Gap that a learned conservative weight aims at; none keeps the weight fixed."""
    sampled_actions: int = 2
    """N: actions drawn per state from each of uniform, pi(.|s) and pi(.|s') in the conservative term."""
    discount: float = 0.97
    """Discount of the return per step."""
    steps: int = 5
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    backup_actions: int = 1
    """Actions drawn at the next state; the best is bootstrapped from (more than 1: CQL's max-Q backup)."""
    target_rate: float = 0.01
    """Share of the critics that moves into the target critics at each update (tau)."""
    critic_lr: float = 3e-4
    """Adam's step size for critics and their encoder."""
    actor_lr: float = 3e-4
    """Adam's step size for the actor."""
    temperature_lr: float = 3e-4
    """Adam's step size for the entropy temperature and the learned conservative weight."""
    initial_temperature: float = 0.05
    """Entropy temperature at the start."""
    target_entropy: float | None = None
    """Entropy in nats that the temperature aims at; none means minus the number of action dimensions."""
    bc_updates: int = 0
    """First updates, in which the actor imitates the data instead of climbing Q."""
    bc_weight: float = 0.3
    """Weight of the imitation term kept in the actor's loss for the whole run."""
    bc_margin: float | None = None
    """Actions whose Q is further than this below the policy's own are not imitated; none imitates all."""
    clip_targets: bool = True
    """Whether bootstrapped targets are bounded by what returns can be, given the rewards in the data."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run: which data, which algorithm, how long, where it is written."""

    data: Path = field(metadata=APART)
    """Merge file, or a dataset folder, to learn from."""
    out: Path = field(metadata=APART)
    """Folder of the run; refused if it holds another run."""
    algorithm: Literal["cql", "bc"] = "cql"
    """What is learnt: conservative Q-learning or behaviour cloning."""
    seed: int = 0
    """Seed of initial weights, batches and sampled actions."""
    updates: int = 10_000
    """Number of gradient updates."""
    batch_size: int = 128
    """Transitions in a batch, which the processes of one run share evenly."""
    sampling: Literal["balanced", "uniform"] = "balanced"
    """Whether each batch holds the shares that the merge names, or transitions are drawn uniformly."""
    shift: int = 0
    """Largest random shift of an image in pixels (zero-padded crop); 0 is no augmentation."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Whether step sizes stay or fall to zero along a cosine."""
    clip_gradient: float = 0.0
    """Largest norm of a gradient step; 0 is no clipping."""
    bc_lr: float = 3e-4
    """Adam's step size for behaviour cloning."""
    average_decay: float = 0.998
    """Decay of the running average of policy weights that acts in evaluation; 0 is the last weights."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Arithmetic of matrix products and convolutions; parameters stay float32. "tf32" is for CUDA alone."""
    compiled: bool = False
    """Whether the update goes through torch.compile; it rounds differently. Costs a minute at the start."""
    graphed: bool = field(default=False, metadata=APART)
    """Whether the update is captured as one CUDA graph and replayed."""
    device: str = "cpu"
    """Where the run computes and keeps its frames: "cpu", "cuda" or "cuda:1"."""
    threads: int = 1
    """Threads for one operation on the CPU; 0 leaves PyTorch's choice. Other counts round differently."""
    log_every: int = 100
    """Updates between two lines of metrics."""
    checkpoint_every: int = field(default=1000, metadata=APART)
    """Updates between two checkpoints."""
    runaway_q: float = 1e4
    """The run stops when a Q value exceeds this size."""
    wandb: Literal["disabled", "offline", "online"] = field(default="disabled", metadata=APART)
    """Whether metrics also go to Weights & Biases."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Encoder, critics and actor."""
    cql: CQLConfig = field(default_factory=CQLConfig)
    """Conservative Q-learning."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        for low, names in LOWEST.items():
            refuse_below(self, low, *names)
        for interval, names in INTERVALS.items():
            refuse_outside(self, interval, *names)
        if not self.network.critic_widths:
            raise UsageError("network.critic_widths is empty; critics need at least one hidden layer")
        refuse_seed(self.seed, TORCH_SEED_BITS)


TORCH_SEED_BITS = 64


LOWEST: Mapping[float, Sequence[str]] = {
    0: (
        *("shift", "threads", "clip_gradient", "bc_lr"),
        *("network.bottleneck", "network.proprio_features", "network.critic_init", "network.switches"),
        *("cql.conservative_weight", "cql.critic_lr", "cql.actor_lr", "cql.temperature_lr"),
        *("cql.bc_updates", "cql.bc_weight"),
    ),
    1: (
        *("updates", "batch_size", "log_every", "checkpoint_every"),
        *("network.critic_widths", "network.actor_widths"),
        *("cql.sampled_actions", "cql.steps", "cql.backup_actions"),
    ),
}
"""The smallest value that settings may have."""


INTERVALS: Mapping[str, Sequence[str]] = {
    "[0, 1)": ("average_decay", "cql.discount"),
    "(0, 1]": ("cql.target_rate",),
    "(0, 1)": ("network.action_limit",),
    "(0, inf)": ("runaway_q", "cql.initial_temperature"),
    "(-inf, inf)": ("cql.lagrange_gap", "cql.target_entropy", "cql.bc_margin"),
}
"""Where the others lie."""
