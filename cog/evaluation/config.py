"""Every setting of an evaluation; only the standard library is imported: the command line starts fast."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below, refuse_seed
from cog.core.configs import APART
from cog.errors import UsageError

Acting = Literal["mode", "sample", "critic"]


@dataclass(frozen=True)
class EvaluateConfig:
    """One evaluation: which policy, from which starts, how often, where it is written."""

    checkpoint: Path = field(metadata=APART)
    """Run folder (its latest checkpoint is used) or one checkpoint folder."""
    out: Path = field(metadata=APART)
    """Folder of the evaluation; refused if it holds another one."""
    starts: tuple[str, ...] = ("open", "closed")
    """Starts to evaluate, each on the same episode seeds."""
    episodes: int = 100
    """Episodes from each start."""
    seed: int = 0
    """Seed of the list of episode seeds; the same list for every policy."""
    acting: Acting = "mode"
    """How the policy acts: by its mode, by a draw, or by what the critics prefer among draws and the mode."""
    candidates: int = 8
    """Draws among which the critics choose."""
    only: tuple[int, ...] = ()
    """Numbers of the episodes to run, all if empty; an episode comes out the same alone as among all."""
    env: str | None = None
    """Gymnasium id of the environment; none is that of the data that the policy was trained on."""
    env_options: tuple[str, ...] = ()
    """Further arguments of the environment, as name=value, such as objects=held_out; none are the data's."""
    max_episode_steps: int | None = None
    """Steps after which an episode is cut off; none is as many as in the data."""
    terminate_on_success: bool = True
    """Whether success ends an episode; otherwise it runs on, and success at its last step may be less."""
    workers: int = field(default=0, metadata=APART)
    """Processes; 0 is one per core; their number does not change the results."""
    envs_per_worker: int = 10
    """Episodes that a process runs side by side, as one batch for the policy."""
    videos: int | None = None
    """Successes and failures shown per start; none is one each (without imageio, a contact sheet only)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be evaluated.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "episodes", "max_episode_steps", "envs_per_worker", "candidates")
        refuse_below(self, 0, "workers", "videos")
        refuse_seed(self.seed)
        if not self.starts or len(set(self.starts)) != len(self.starts):
            raise UsageError(f"starts are {self.starts}; name at least one, each once")
        outside = [number for number in self.only if not 0 <= number < self.episodes]
        if outside or len(set(self.only)) != len(self.only):
            raise UsageError(f"only is {self.only}; name episodes from 0 to {self.episodes - 1}, each once")
