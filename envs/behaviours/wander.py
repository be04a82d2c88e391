"""Wander: move between random points above and around the furniture."""

from typing import TYPE_CHECKING

import numpy as np

from cog.envs.behaviours.base import CLOSE, OPEN, RETURN, STAY, Behaviour

if TYPE_CHECKING:
    from cog.envs.tabletop import Tabletop

ARRIVED = 0.02  # m
LEG_STEPS = 8  # a leg that takes longer is blocked: choose another point


class Wander(Behaviour):
    """Phases: 0 move to a random point; on arrival, or when blocked, choose another."""

    phases = ("move",)

    def __init__(
        self,
        env: "Tabletop",
        rng: np.random.Generator,
        lowest: float = 0.05,
        close_probability: float = 0.2,
        neutral_probability: float = 0.1,
    ) -> None:
        """`lowest`: minimum height of the points (m); the probabilities are per point."""
        super().__init__(env, rng)
        self._low = np.array([*env.workspace.low[:2], lowest])
        self._close_probability = close_probability
        self._neutral_probability = neutral_probability
        self._choose()

    def act(self) -> np.ndarray:
        self.steps += 1
        if np.linalg.norm(self._target - self.gripper()) < ARRIVED or self.steps > LEG_STEPS:
            self._choose()
            if self.rng.random() < self._neutral_probability:
                return self.toward(self._target, self._command, neutral=RETURN)
        return self.toward(self._target, self._command, neutral=STAY)

    def _choose(self) -> None:
        self._target = self.rng.uniform(self._low, self.env.workspace.high)
        self._command = CLOSE if self.rng.random() < self._close_probability else OPEN
        self.steps = 0
