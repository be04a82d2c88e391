"""Every setting of a success classifier.

Only the standard library is imported here, so that commands start fast.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below
from cog.core.configs import APART, take_types
from cog.errors import UsageError
from cog.networks.history import HistoryOf


@dataclass(frozen=True)
class ClassifierConfig:
    """One success classifier: its labels, its training and the choice of its threshold."""

    out: Path = field(metadata=APART)
    """Folder of the classifier; refused unless it is empty."""
    label: str | None = None
    """Rule that labels every frame, such as grasp_success. Default: episodes' success labels last frames."""
    negatives: tuple[Path, ...] = field(default=(), metadata=APART)
    """Datasets in which no frame is a success; all last frames of the sources are then successes."""
    margin: int = 0
    """Frames left out before the last one of a success, where success may have come earlier."""
    precision: float = 0.98
    """Least precision on validation episodes; the threshold maximises recall at this precision."""
    tolerance: int = 1
    """Steps by which the first frame found may be early or late and still count as right."""
    validation: float = 0.15
    """Share of the episodes on which the threshold is chosen."""
    held_out: float = 0.15
    """Share of the episodes used only to measure the final classifier."""
    encoder: Literal["patch", "paper", "strided", "resnet18"] = "patch"
    """Convolutions, as of `--network.encoder` in training."""
    cameras: tuple[str, ...] = ()
    """Names of the cameras that it sees, in this order. Default: all of the data's."""
    use_proprio: bool = True
    """Whether the arm's own pose is an input in addition to the image."""
    history: int = 1
    """Frames that it sees at once, as of `--network.history` in training; the first is that after step 1."""
    history_of: HistoryOf = "both"
    """What it sees of the frames before: pictures ("frames"), poses and the actions between, or both."""
    updates: int = 2000
    """Number of gradient updates."""
    batch_size: int = 128
    """Frames in a batch, half of them successes."""
    shift: int = 1
    """Largest random shift of an image in pixels (zero-padded crop); 0 disables augmentation."""
    lr: float = 1e-3
    """AdamW's initial step size, which falls to zero along a cosine."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    seed: int = 0
    """Seed of the split, the initial weights and the batches."""
    threads: int = 1
    """Threads of one operation; 0 leaves the choice to PyTorch. Other counts round differently."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        take_types(self)
        refuse_below(self, 0, "margin", "tolerance", "shift", "threads", "seed")
        refuse_below(self, 1, "updates", "history")
        refuse_below(self, 2, "batch_size")
        if not 0 < self.precision <= 1:
            raise UsageError(f"precision is {self.precision}; it must lie in (0, 1]")
        shares = (self.validation, self.held_out)
        if min(shares) <= 0 or sum(shares) >= 1:
            raise UsageError(
                f"validation and held_out are {shares}; both must be positive and add up below 1"
            )
        if self.lr <= 0 or self.weight_decay < 0:
            raise UsageError(f"lr is {self.lr}, weight_decay {self.weight_decay}; they must be positive")
        if self.label is not None and (self.negatives or self.margin):
            raise UsageError("label already labels every frame", remedy="leave out negatives and margin")
