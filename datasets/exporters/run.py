"""Export: write a dataset under a view, or a merge, in another tool's format, completely or not at all."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from cog.core.files import OTHER_NAME, nowhere
from cog.core.lock import reserved
from cog.core.options import usable_path
from cog.datasets.exporters.contents import Contents, Progress, Units
from cog.datasets.merge import Merge
from cog.datasets.storage.folder import refuse_inside
from cog.errors import CogError


@dataclass(frozen=True)
class ExportOptions(ABC):
    """How a format is written; every format adds its own options."""

    format: ClassVar[str]
    """Name of the format."""

    units: Units = field(default="robot", kw_only=True)
    """Actions in the units of the robot, if the data hold the scale they were mapped by, or in [-1, 1]."""

    cameras: tuple[str, ...] = field(default=(), kw_only=True)
    """Names of the cameras to write; the first one's is image. Default: all."""

    @abstractmethod
    def write(self, contents: Contents, out: Path) -> int:
        """Write to `out`, completely or not at all; return the number of steps that the other tool samples.

        Raises:
            UsageError: the options do not fit the data or the path.
            CogError: the data cannot be read or expressed in the format, or the disk is full.
        """


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    path: Path
    """File or folder."""
    episodes: int
    """Number of episodes."""
    steps: int
    """Number of steps."""
    sampled: int
    """Number of steps that the other tool draws transitions from."""
    notes: tuple[str, ...] = ()
    """What the user should know: the units of the actions, and what the other tool will not do by itself."""

    def __str__(self) -> str:
        left = self.steps - self.sampled
        note = f"; {left} last steps of cut-off episodes have no next observation there" if left else ""
        return f"{self.path}: {self.episodes} episodes, {self.steps} steps{note}"


def export(
    options: ExportOptions, merge: Merge, out: Path, on_progress: Progress = lambda done, note: None
) -> Exported:
    """Write a merge, or a dataset opened as one (see `open_merge`), to `out`, one shard in memory at a time.

    Raises:
        UsageError: the options do not fit the data or the path.
        CogError: `out` exists, another process writes it, the data cannot be read or expressed in the format,
            or the disk is full; nothing is left at `out`.
    """
    out = usable_path(out)
    for source in merge.sources:
        refuse_inside(source.dataset.path, out)
    refuse_existing(out)
    with reserved(out):
        refuse_existing(out)
        contents = Contents(merge, on_progress, options.units, options.cameras)
        sampled = options.write(contents, out)
    return Exported(out, contents.episode_count, contents.step_count, sampled, tuple(contents.notes))


def refuse_existing(out: Path) -> None:
    """Refuse a target that already exists.

    Raises:
        CogError: naming it.
    """
    if out.exists() or out.is_symlink():
        raise CogError(f"exists already{nowhere(out)}; nothing was written", where=out, remedy=OTHER_NAME)
