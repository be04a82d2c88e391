"""Move the drawer by its handle: what opening and closing it have in common."""

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np

from cog.envs.behaviours.base import CLEARANCE, RETURN, Behaviour, raised, sideways
from cog.envs.drawer_grasp import DrawerGrasp

DESCENT_STEPS = 8  # a descent that takes longer stands on an edge
STALLED_STEPS = 3  # moving steps without progress before it tries again
PROGRESS = 0.01  # share of the travel that counts as progress
LEAD = 0.04  # m, how far ahead of the gripper the movement aims


class MoveDrawer(Behaviour):
    """Phases: 0 above the handle, 1 descend, 2 move it, 3 lift, 4 return to neutral; a stall starts again."""

    direction: ClassVar[int]
    """1 to open, -1 to close."""
    wanted: ClassVar[float]
    """Opening beyond which, in that direction, the drawer has been moved (share of its travel)."""
    fingers: ClassVar[float]
    """Gripper command throughout."""
    hover: ClassVar[float]
    """Height (m) from which the fingers descend."""
    reached: ClassVar[float]
    """Height (m) below which they are at the handle."""
    aligned: ClassVar[float]
    """Horizontal error (m) that allows the descent."""
    lost: ClassVar[float] = math.inf
    """Horizontal error (m) that stops it."""
    speed: ClassVar[float] = 1.0
    """Largest component of the movement, as a share of a full step."""

    def __init__(self, env: DrawerGrasp, rng: np.random.Generator) -> None:
        super().__init__(env, rng)
        self._furthest = 0.0

    @abstractmethod
    def target(self) -> np.ndarray:
        """Where the fingers take the handle, (3,) m."""

    def act(self) -> np.ndarray:
        target = self.target()
        error = target - self.gripper()
        moved = self.direction * self.env.drawer_opening()
        if moved > self.direction * self.wanted and self.phase < 3:
            self.enter(3)
        if self.phase == 0 and sideways(error) < self.aligned:
            self.enter(1)
        if self.phase == 1:
            self.steps += 1
            if sideways(error) > self.lost or self.steps > DESCENT_STEPS:
                self.restart()
            elif self.gripper()[2] < self.reached:
                self.enter(2)
                self._furthest = moved
        if self.phase == 2:
            self.steps = 0 if moved > self._furthest + PROGRESS else self.steps + 1
            self._furthest = max(self._furthest, moved)
            if self.steps > STALLED_STEPS:
                self.restart()
        if self.phase == 3 and self.gripper()[2] > CLEARANCE - 0.02:
            self.enter(4)
        return self._command(target, error)

    def _command(self, target: np.ndarray, error: np.ndarray) -> np.ndarray:
        if self.phase == 0:
            # Never cross the handle low down: rise first, then move sideways.
            if self.gripper()[2] < CLEARANCE - 0.04 and sideways(error) > self.aligned:
                return self.toward(raised(self.gripper(), CLEARANCE), self.fingers)
            return self.toward(raised(target, self.hover), self.fingers)
        if self.phase == 1:
            return self.toward(target, self.fingers)
        if self.phase == 2:
            # Keep to the drawer's axis, so that the fingers stay at the plate.
            axis = self.direction * self.env.pull_direction()
            along = (self.gripper() - target) @ axis
            return self.toward(target + axis * (along + LEAD), self.fingers, speed=self.speed)
        if self.phase == 3:
            return self.toward(raised(self.gripper(), CLEARANCE + 0.03), self.fingers)
        self.done = True
        return self.toward(self.gripper(), self.fingers, neutral=RETURN)
