"""Export: write a dataset under a view, or a merge, in the format of another tool, whole or not at all."""

from dataclasses import dataclass
from pathlib import Path

from cog.core.bounds import refuse_seed
from cog.core.files import write_atomically, write_folder_atomically
from cog.datasets.edit.split import SEED_BITS
from cog.datasets.exporters import Kind, d3rlpy, lerobot, minari, robomimic
from cog.datasets.exporters.contents import Contents, Progress
from cog.datasets.merge import Merge
from cog.errors import CogError, UsageError


@dataclass(frozen=True)
class ExportOptions:
    """What can be chosen, each for one format only."""

    valid_share: float = 0.0
    """robomimic: share of the episodes under the filter key `valid`, others under `train`; 0 for neither."""
    seed: int = 0
    """robomimic: seed of the draw."""
    name: str | None = None
    """minari: id of the dataset, which must end the path of the export; none takes the folder's name."""
    observation: str | None = None
    """d3rlpy: the only observation that is written; none writes all, as a tuple where there are two."""
    fps: int | None = None
    """lerobot: steps in a second, which it needs to know."""

    def check(self, kind: Kind) -> None:
        """Refuse what the format does not know.

        Raises:
            UsageError: naming the option.
        """
        if not 0.0 <= self.valid_share < 1.0:
            raise UsageError(f"valid_share must lie in [0, 1), got {self.valid_share}")
        for option, owner in OWNERS.items():
            if kind != owner and getattr(self, option) != getattr(ExportOptions, option):
                raise UsageError(f"{option} is an option of {owner} exports, not of {kind}")
        refuse_seed(self.seed, SEED_BITS)
        if kind == "lerobot" and (self.fps is None or self.fps < 1):
            raise UsageError(f"LeRobot needs to know fps, the steps in a second, at least 1; got {self.fps}")


DEFAULTS = ExportOptions()
OWNERS: dict[str, Kind] = {
    "valid_share": "robomimic",
    "seed": "robomimic",
    "name": "minari",
    "observation": "d3rlpy",
    "fps": "lerobot",
}


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    """File or folder."""
    episodes: int
    """Number of episodes."""
    steps: int
    """Number of steps."""
    sampled: int
    """Number of steps that the other tool draws transitions from."""

    def __str__(self) -> str:
        left = self.steps - self.sampled
        note = f"; {left} last steps of cut-off episodes have no next observation there" if left else ""
        return f"{self.path}: {self.episodes} episodes, {self.steps} steps{note}"


def export(
    kind: Kind,
    merge: Merge,
    out: Path,
    options: ExportOptions = DEFAULTS,
    on_progress: Progress = lambda done, note: None,
) -> Exported:
    """Write a merge, or a dataset opened as one (see `open_merge`), to `out`, one shard in memory at a time.

    Raises:
        UsageError: an option is not one of this format.
        CogError: `out` exists, the data cannot be read or cannot be said in the format, or the disk is full;
            nothing is left at `out`.
    """
    options.check(kind)
    refuse_existing(out)
    contents = Contents(merge, on_progress)
    sampled = contents.step_count
    if kind == "robomimic":
        if options.valid_share and contents.episode_count < 2:
            raise UsageError("valid_share needs at least two episodes")
        write_atomically(out, lambda path: robomimic.write(path, contents, options.valid_share, options.seed))
    elif kind == "minari":
        name = minari.dataset_id(out, options.name)
        write_folder_atomically(out, lambda folder: minari.write(folder, contents, name))
    elif kind == "lerobot":
        fps = int(options.fps or 0)  # checked
        write_folder_atomically(out, lambda folder: lerobot.write(folder, contents, fps))
    else:
        names = d3rlpy.observation_names(contents, options.observation)
        counted: list[int] = []
        write_atomically(out, lambda path: counted.append(d3rlpy.write(path, contents, names)))
        (sampled,) = counted
    return Exported(out, contents.episode_count, contents.step_count, sampled)


def refuse_existing(out: Path) -> None:
    """Refuse a target that is there already, whatever it is.

    Raises:
        CogError: naming it.
    """
    if out.exists() or out.is_symlink():
        raise CogError(f"{out} exists already; nothing was written, choose another name or delete it first")
