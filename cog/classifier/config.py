"""Every setting of a success classifier; only the standard library is imported: commands start fast."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below
from cog.core.configs import APART
from cog.errors import UsageError


@dataclass(frozen=True)
class ClassifierConfig:
    """One success classifier: what labels its frames, how it learns, how its threshold is chosen."""

    out: Path = field(metadata=APART)
    """Folder of the classifier; refused if it holds something already."""
    label: str | None = None
    """Rule that labels every frame, such as grasp_success; none labels last frames by episodes' success."""
    negatives: tuple[Path, ...] = field(default=(), metadata=APART)
    """Datasets in which no frame is a success; the last frames of the sources then all are."""
    margin: int = 0
    """Frames before the last one of a success that are left out, if success may have come before the end."""
    precision: float = 0.98
    """Least share of what is found in validation episodes that is right; the threshold finds most at that."""
    tolerance: int = 1
    """Steps by which the first frame found may be early or late to be right."""
    validation: float = 0.15
    """Share of the episodes on which the threshold is chosen."""
    held_out: float = 0.15
    """Share of the episodes that only measure the classifier in the end."""
    encoder: Literal["patch", "paper"] = "patch"
    """Convolutions: "patch" strides over patches, cheap on a CPU; "paper" is the reference's."""
    use_proprio: bool = True
    """Whether the arm's own pose is judged beside the image."""
    updates: int = 2000
    """Number of gradient updates."""
    batch_size: int = 128
    """Frames in a batch, half of them successes."""
    shift: int = 1
    """Largest random shift of an image in pixels (zero-padded crop); 0 is no augmentation."""
    lr: float = 1e-3
    """AdamW's first step size, which falls to zero along a cosine."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    seed: int = 0
    """Seed of the split, the initial weights and the batches."""
    threads: int = 1
    """Threads for one operation; 0 leaves PyTorch's choice. Other counts round differently."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 0, "margin", "tolerance", "shift", "threads", "seed")
        refuse_below(self, 1, "updates")
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
            raise UsageError("label names every frame's label; leave out negatives and margin")
