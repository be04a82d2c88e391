"""Every setting of `cog bench`; only light modules are imported, so that the command line starts fast."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from cog.core.bounds import refuse_below
from cog.errors import UsageError
from cog.training.presets import Preset

Section = Literal["device", "environment", "collection", "load", "updates", "scaling", "evaluation"]
SECTIONS: tuple[Section, ...] = (
    "device",
    "environment",
    "collection",
    "load",
    "updates",
    "scaling",
    "evaluation",
)
"""All sections, in the order in which they are measured."""
QUICK: dict[str, Any] = {
    "rounds": 1,
    "seconds": 0.02,
    "settings": ("naive", "eager"),
    "network": ("cpu",),
    "sampled": (1,),
    "batch_size": (8,),
    "episodes": 4,
    "evaluation_episodes": 2,
    "horizon": 6,
    "load_episodes": 1,
    "scaling_batches": (4, 8),
    "scaling_frames": (50, 200),
    "product": 64,
    "copy_megabytes": 1,
    "parity_updates": 3,
}
"""Sizes of a smoke test, whose numbers mean nothing."""


@dataclass(frozen=True)
class BenchConfig:
    """What is measured, how often, and where the figures go."""

    only: tuple[Section, ...] = SECTIONS
    """Sections to measure."""
    parity: bool = False
    """Compare what the settings of the update compute, instead of how fast anything is."""
    parity_updates: int = 100
    """Updates of that comparison."""
    out: Path | None = None
    """JSON file for the figures; none writes none."""
    plot: Path | None = None
    """PNG for the section scaling: updates a second against batch size and buffer size; none draws none."""
    quick: bool = False
    """Measure everything in seconds, as a smoke test whose numbers mean nothing."""
    device: str = "cpu"
    """Where updates are computed: "cpu", "cuda" or "cuda:1"."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Arithmetic of updates and of the matrix product beside them; naive stays float32, or tf32 beside it."""
    threads: int = 0
    """Threads of one operation on the CPU; 0 is one per core."""
    workers: int = 0
    """Processes that collect, evaluate and run the mesh robot's loop; 0 is one per core."""
    rounds: int = 5
    """Rounds; in each, all that is compared takes its turn, and medians count."""
    seconds: float = 0.2
    """Shortest turn (s); fast calls are repeated until it is filled."""
    settings: tuple[str, ...] = ()
    """Settings of the update, by name; all if empty. Ratios need "naive" among them."""
    network: tuple[Preset, ...] = ("paper",)
    """Presets whose update is measured; the first one is scaled."""
    sampled: tuple[int, ...] = (1, 10)
    """Values of N, the sampled actions of each kind."""
    batch_size: tuple[int, ...] = (256,)
    """Transitions in a batch."""
    scaling_batches: tuple[int, ...] = ()
    """Batch sizes that are scaled over; empty is 64 to 1024 on a CPU and 64 to 4096 elsewhere."""
    scaling_frames: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Frames in the buffer that are scaled over; those that do not fit into half the memory are left out."""
    frame_size: int = 48
    """Height and width of these frames in pixels."""
    episodes: int = 400
    """Episodes of each of the two collections."""
    evaluation_episodes: int = 100
    """Episodes of the evaluation, each as long as the horizon."""
    horizon: int = 50
    """Steps after which an episode of collection or evaluation is cut off."""
    load_episodes: int = 400
    """Episodes of the dataset that is loaded."""
    product: int = 0
    """Rows of the square matrices that are multiplied; 0 is 2048 on a CPU and 8192 elsewhere."""
    copy_megabytes: int = 0
    """Size of the copy; 0 is 256 on a CPU and 2048 elsewhere."""
    seed: int = 0
    """Seed of data, weights and episodes."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "rounds", "frame_size", "horizon", "parity_updates", "load_episodes")
        # The first shard or group of a worker is left out.
        refuse_below(self, 2, "episodes", "evaluation_episodes")
        refuse_below(self, 0, "threads", "workers", "product", "copy_megabytes", "seed")
        if not self.seconds > 0:
            raise UsageError(f"seconds is {self.seconds}; it must be positive")
        for name in ("sampled", "batch_size", "scaling_batches"):
            if any(value < 1 for value in getattr(self, name)):
                raise UsageError(f"{name} is {getattr(self, name)}; each must be at least 1")
        if any(value < 2 for value in self.scaling_frames):
            raise UsageError(f"scaling_frames is {self.scaling_frames}; a step has two frames")
        for name in ("only", "network", "sampled", "batch_size", "scaling_frames"):
            if not getattr(self, name):
                raise UsageError(f"{name} is empty; name at least one")
        if self.plot is not None and "scaling" not in self.only:
            raise UsageError("the plot shows the section scaling; name it in only")
        if self.quick:
            defaults = {field.name: field.default for field in fields(self)}
            for name, value in QUICK.items():
                if getattr(self, name) not in (value, defaults[name]):
                    raise UsageError(f"quick sets {name} to {value}; leave out one of the two")

    def sized(self) -> "BenchConfig":
        """The benchmark as it is run, with the small sizes if it is a quick one."""
        return replace(self, quick=False, **QUICK) if self.quick else self
