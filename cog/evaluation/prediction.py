"""What an episode returned, discounted, to be compared with what the critics predict (over-estimation).

A checkpoint records how its data pay. If they pay one reward, at the step that ends its episode in success,
an episode of the evaluation earns that reward at its first success: the units of the critics. Otherwise it
earns what the environment pays, which can be compared with a prediction only if the data hold the same
rewards. A rule that pays only for a success that has lasted, as `grasp_success for 6 steps`, pays the data
later than is assumed here, by its steps, so that predictions are lower by their discount. Critics of `sac`,
`brac`, `mopo` and `morel` predict more than rewards: entropy or penalties as well.
"""

from typing import NamedTuple

import numpy as np

from cog.algorithms import algorithm
from cog.datasets.collection.recorder import Recorder
from cog.training.checkpoint import Checkpoint


class Payment(NamedTuple):
    """How the steps of an episode are paid."""

    discount: float
    """Discount per step, as the critics have learned it."""
    success: float | None
    """Reward of the first step that ends in success, and of no other; None if the environment pays."""

    def discounted(self, episode: Recorder) -> float:
        """sum_t discount^t r_t over the steps of a finished episode."""
        if self.success is None:
            rewards = np.array(episode.rewards)
            return float(np.sum(self.discount ** np.arange(len(rewards)) * rewards))
        led_to = episode.successes[1:]  # a step is judged by the frame that it leads to
        return self.success * self.discount ** led_to.index(True) if True in led_to else 0.0


def payment(checkpoint: Checkpoint) -> Payment | None:
    """How episodes are paid to be compared with the critics of a checkpoint.

    None if its algorithm has no critics, or if it was written before checkpoints recorded this.
    """
    config = checkpoint.config.algorithm
    if algorithm(config.name).choosing_critics is None or "success" not in checkpoint.rewards:
        return None
    return Payment(config.returns().discount, checkpoint.rewards["success"])
