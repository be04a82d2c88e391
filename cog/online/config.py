"""Every setting of online fine-tuning; only light modules are imported: the command line starts fast."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below, refuse_seed
from cog.core.configs import APART
from cog.errors import UsageError
from cog.evaluation.config import Acting

Mix = Literal["online", "uniform", "half"]


@dataclass(frozen=True)
class FinetuneConfig:
    """One fine-tuning run: which policy goes on, on what data, where it acts, how its batches are mixed."""

    checkpoint: Path = field(metadata=APART)
    """Run folder of `cog train` (its latest checkpoint is used) or one checkpoint folder."""
    data: Path = field(metadata=APART)
    """Merge file, or dataset folder, that the checkpoint was trained on."""
    out: Path = field(metadata=APART)
    """Folder of the run; the same command continues one that was interrupted there."""
    start: str = "closed"
    """Start of every online episode and evaluation."""
    episodes: int = 500
    """Online episodes in all."""
    round_episodes: int = 10
    """Online episodes in one round; they run side by side with the same weights, then the updates follow."""
    updates_per_episode: int = 10
    """Gradient updates for each online episode."""
    warm_up_episodes: int | None = None
    """Online episodes before the first update; none means 50 if batches are online only, else one round."""
    mix: Mix = "half"
    """Online steps in a batch: all ("online"), every step alike, old or new ("uniform"), or "half"."""
    conservative_weight: float | None = 0.1
    """Weight of the conservative term while online; none keeps that of the checkpoint."""
    bc_weight: float | None = None
    """Weight of imitation (offline steps and online successes) while online; none keeps the checkpoint's."""
    seed: int = 0
    """Seed of the online episodes and of the evaluations' episodes, which never coincide."""
    evaluate_every: int = 50
    """Online episodes between two evaluations of the averaged policy, a multiple of `round_episodes`."""
    evaluate_episodes: int = 100
    """Episodes of each evaluation, always the same ones."""
    acting: Acting = "mode"
    """How the averaged policy acts in evaluations: by mode, by a draw, or by the critics' choice of draws."""
    candidates: int = 8
    """Draws among which the critics choose."""
    env: str | None = field(default=None, metadata=APART)
    """Gymnasium id of the environment; none takes the data's."""
    max_episode_steps: int | None = field(default=None, metadata=APART)
    """Steps after which an episode is cut off; none takes the data's."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "episodes", "round_episodes", "updates_per_episode")
        refuse_below(self, 1, "evaluate_every", "evaluate_episodes", "candidates", "max_episode_steps")
        refuse_below(self, 0, "warm_up_episodes", "conservative_weight", "bc_weight")
        if self.evaluate_every % self.round_episodes:
            raise UsageError(
                f"evaluate_every is {self.evaluate_every}; it must be a multiple of round_episodes, "
                f"{self.round_episodes}"
            )
        if self.warm_up > self.episodes:
            raise UsageError(
                f"episodes is {self.episodes}, fewer than the {self.warm_up} before the first update: "
                "nothing would be learnt; choose more, or a smaller warm_up_episodes"
            )
        refuse_seed(self.seed)

    @property
    def warm_up(self) -> int:
        """Online episodes before the first update."""
        if self.warm_up_episodes is not None:
            return self.warm_up_episodes
        return 50 if self.mix == "online" else 0

    def rounds(self) -> list[range]:
        """Numbers of the episodes of each round."""
        size = self.round_episodes
        return [range(first, min(first + size, self.episodes)) for first in range(0, self.episodes, size)]

    def updates_of(self, episodes: range) -> int:
        """Gradient updates that follow a round; none while the warm-up lasts."""
        return 0 if episodes.stop < self.warm_up else self.updates_per_episode * len(episodes)
