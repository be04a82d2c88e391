"""Every setting of online fine-tuning.

Only light modules are imported here, so that the command line starts fast.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below, refuse_seed
from cog.core.configs import APART, take_types
from cog.errors import UsageError
from cog.evaluation.config import Acting

Mix = Literal["online", "uniform", "half"]


@dataclass(frozen=True)
class FinetuneConfig:
    """One fine-tuning run: the policy, its data, its environment and how batches are mixed."""

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
    """Online episodes per round; they run at once with the same weights, then the updates follow."""
    updates_per_episode: int = 10
    """Gradient updates for each online episode."""
    warm_up_episodes: int | None = None
    """Online episodes before the first update. Default: 50 if mix is "online", else one round."""
    mix: Mix = "half"
    """Share of online steps in a batch: all ("online"), in proportion to the data ("uniform"), or "half"."""
    conservative_weight: float | None = 0.1
    """Weight of the conservative term while online; None uses the checkpoint's."""
    bc_weight: float | None = None
    """Weight of imitation (offline steps and online successes) while online. Default: the checkpoint's."""
    seed: int = 0
    """Seed of the online episodes and the evaluation episodes; the two never coincide."""
    evaluate_every: int = 50
    """Online episodes between two evaluations of the averaged policy, a multiple of `round_episodes`."""
    evaluate_episodes: int = 100
    """Episodes of each evaluation, always the same ones."""
    acting: Acting = "mode"
    """How the averaged policy acts in evaluations: its mode, a random draw, or the critics' choice."""
    candidates: int = 8
    """Draws among which the critics choose."""
    env: str | None = field(default=None, metadata=APART)
    """Gymnasium id of the environment. Default: that of the data."""
    max_episode_steps: int | None = field(default=None, metadata=APART)
    """Steps after which an episode is cut off. Default: as in the data."""
    tensorboard: bool = field(default=False, metadata=APART)
    """Whether metrics are also written for TensorBoard, into the run's folder tensorboard."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        take_types(self)
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
                "nothing would be learnt",
                remedy="choose more episodes, or a smaller warm_up_episodes",
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
        """Gradient updates after a round; 0 during the warm-up."""
        return 0 if episodes.stop < self.warm_up else self.updates_per_episode * len(episodes)
