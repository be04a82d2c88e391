"""Every setting of a training run: frozen dataclasses, one field a line, written to and read from JSON.

Only the standard library is imported here, so that the command line starts fast.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cog.bounds import refuse_below, refuse_outside, refuse_seed
from cog.errors import UsageError


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of encoder, critics and actor."""

    encoder: Literal["patch", "paper"] = "patch"
    """Convolutions: "patch" strides over patches, cheap on a CPU; "paper" is the reference's."""
    sharing: Literal["shared", "separate"] = "shared"
    """Whether one encoder, trained by the critics, serves all, or each critic and the actor has its own."""
    bottleneck: int = 128
    """Width of the tanh layer that ends the encoder; 0 leaves the convolutions' output as it is."""
    use_proprio: bool = True
    """Whether the arm's own pose is an input beside the image; without images it always is."""
    proprio_features: int = 64
    """Width of the pose's embedding beside the image features; 0 passes the standardised pose on as it is."""
    critic_widths: tuple[int, ...] = (256, 256)
    """Hidden layers of each critic."""
    actor_widths: tuple[int, ...] = (256, 256)
    """Hidden layers of the actor."""
    layer_norm: bool = True
    """Whether each hidden layer of critics and actor is normalised before its ReLU."""
    critic_init: float = 0.0
    """Bound of the critics' initial uniform weights; 0 keeps PyTorch's fan-in rule."""
    switches: int = 0
    """How many of the last components of an action only switch, as gripper and neutral do; 0 or more."""
    action_limit: float = 0.999
    """Recorded actions are pulled inside this bound before atanh, where a saturated action is infinite."""


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

    data: Path
    """Merge file, or a dataset folder, to learn from."""
    out: Path
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
    graphed: bool = False
    """Whether the update is captured as one CUDA graph and replayed."""
    device: str = "cpu"
    """Where the run computes and keeps its frames: "cpu", "cuda" or "cuda:1"."""
    threads: int = 1
    """Threads for one operation on the CPU; 0 leaves PyTorch's choice. Other counts round differently."""
    log_every: int = 100
    """Updates between two lines of metrics."""
    checkpoint_every: int = 1000
    """Updates between two checkpoints."""
    runaway_q: float = 1e4
    """The run stops when a Q value exceeds this size."""
    wandb: Literal["disabled", "offline", "online"] = "disabled"
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


def to_json(config: Any) -> dict[str, Any]:
    """A config as plain JSON values."""
    return {item.name: _plain(getattr(config, item.name)) for item in dataclasses.fields(config)}


def from_json(values: Mapping[str, Any], kind: Any = TrainConfig, where: str = "config") -> Any:
    """Rebuild a config of dataclass `kind`; fields left out take their defaults.

    Raises:
        UsageError: an unknown field, a missing one without default, or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(values) - set(hints)):
        raise UsageError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(hints))}")
    try:
        return kind(**{name: _typed(value, hints[name], f"{where}.{name}") for name, value in values.items()})
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from None


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names of the fields in which two configs (as JSON) differ, dotted, sorted."""
    found: list[str] = []
    for name in sorted(set(first) | set(second)):
        left, right = first.get(name), second.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{name}.")
        elif left != right or (name in first) != (name in second):
            found.append(f"{prefix}{name}")
    return found


def _plain(value: Any) -> Any:
    """A field's value as JSON holds it."""
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Check `value` against its annotation and convert lists and paths."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_json(value, hint, where)
    if origin is Literal and value in typing.get_args(hint):
        return value
    if origin in (typing.Union, types.UnionType):
        present = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _typed(value, present[0], where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(entry, typing.get_args(hint)[0], where) for entry in value)
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise UsageError(f"{where}: {value!r} is not {getattr(hint, '__name__', hint)}")
