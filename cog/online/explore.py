"""Explore: run a stochastic policy for several episodes at once and record them completely.

Episode i always acts in row i mod B of a batch of B rows; its seed determines its initial state and every
draw from the policy: the same weights give the same episodes, whatever runs in the other rows.
"""

from collections.abc import Sequence

import numpy as np

from cog.datasets.episode import Episode
from cog.envs.make import Environments, Scene
from cog.evaluation.policy import Policy, Seen
from cog.evaluation.rollout import Group, act_side_by_side
from cog.online.payment import Payment

_ONLINE_STREAM = 3  # so that episodes differ from collections and evaluations with the same seed
_NOISE_STREAM = 4


def online_seed(seed: int, number: int) -> int:
    """The seed of online episode `number` in the run of that `seed`."""
    sequence = np.random.SeedSequence([seed, number], spawn_key=(_ONLINE_STREAM,))
    return int(sequence.generate_state(1)[0])


class Explorer(Environments):
    """B environments in this process; call `close` at the end."""

    def __init__(self, scene: Scene, start: str, rows: int, seed: int, payment: Payment) -> None:
        """`payment` gives the rewards, and says whether success ends an episode."""
        super().__init__(scene, rows)
        self.start = start
        self.seed = seed
        self.payment = payment

    def roll(self, policy: Policy, numbers: Sequence[int]) -> list[Episode]:
        """Run these episodes, at most B of them, to their ends; rewards and terminals are recorded."""

        def act(images: Seen | None, poses: np.ndarray, noise: np.ndarray) -> np.ndarray:
            return policy.act(images, poses, noise[:, 0])

        seeds = tuple(online_seed(self.seed, number) for number in numbers)
        group = Group(self.start, tuple(numbers), seeds)
        recorders = act_side_by_side(
            self,
            group,
            act,
            1,
            _NOISE_STREAM,
            noise_dimensions=policy.noise_dimensions,
            history=policy.shape.history,
            keep_observations=True,
            end_at_success=self.payment.at_success,
        )
        return [
            self.payment(recorder, recorder.episode("policy", {"update": policy.update}, noise=0.0))
            for recorder in recorders
        ]
