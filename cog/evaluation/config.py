"""Every setting of an evaluation.

Only the standard library is imported here, so that the command line starts fast.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below, refuse_seed
from cog.core.configs import APART, take_types
from cog.errors import UsageError

Acting = Literal["mode", "sample", "critic"]


@dataclass(frozen=True)
class EvaluateConfig:
    """One evaluation: the policy, its starts, the number of episodes and the output folder."""

    checkpoint: Path = field(metadata=APART)
    """Run folder (its latest checkpoint is used) or one checkpoint folder."""
    out: Path = field(metadata=APART)
    """Folder of the evaluation; refused if it holds another evaluation."""
    starts: tuple[str, ...] = ("open", "closed")
    """Starts to evaluate, all with the same episode seeds; a scene that has not these two: its first."""
    episodes: int = 100
    """Episodes from each start."""
    seed: int = 0
    """Seed from which all episode seeds follow, the same for every policy."""
    acting: Acting = "mode"
    """How the policy acts: its mode, a random draw, or the critics' choice among draws and the mode."""
    candidates: int = 8
    """Draws among which the critics choose."""
    only: tuple[int, ...] = ()
    """Numbers of the episodes to run; results do not depend on the others. Default: all."""
    env: str | None = None
    """Gymnasium id of the environment. Default: that of the data that the policy was trained on."""
    env_options: tuple[str, ...] = ()
    """Further arguments of the environment as name=value, beside the data's, such as objects=held_out."""
    max_episode_steps: int | None = None
    """Steps after which an episode is cut off. Default: as in the data."""
    terminate_on_success: bool = True
    """Whether success ends an episode; otherwise it goes on to its last step, by which success may be lost.

    Success is counted at the last step and at any step; where it ends an episode the two are the same."""
    workers: int = field(default=0, metadata=APART)
    """Worker processes, 0 for one per core; their number does not change the results."""
    envs_per_worker: int = 10
    """Episodes that a process runs at once, as one batch for the policy."""
    videos: int | None = None
    """Successes and failures to film per start. Default: one each (without imageio, only a contact sheet)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be evaluated.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        take_types(self)
        refuse_below(self, 1, "episodes", "max_episode_steps", "envs_per_worker", "candidates")
        refuse_below(self, 0, "workers", "videos")
        refuse_seed(self.seed)
        if not self.starts or len(set(self.starts)) != len(self.starts):
            raise UsageError(f"starts are {self.starts}", remedy="name at least one, each only once")
        outside = [number for number in self.only if not 0 <= number < self.episodes]
        if outside or len(set(self.only)) != len(self.only):
            raise UsageError(
                f"only is {self.only}", remedy=f"name episodes from 0 to {self.episodes - 1}, each only once"
            )
