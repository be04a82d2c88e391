"""Open the drawer: hook the fingers behind the handle's plate and pull."""

import numpy as np

from cog.envs import scene
from cog.envs.behaviours.base import CLEARANCE, OPEN, RETURN, Behaviour, raised, sideways
from cog.envs.drawer_grasp import DrawerGrasp

ALIGNED = 0.012  # m, horizontal error that allows the descent
LOST = 0.030  # m, horizontal error that stops it
HOOKED = 0.042  # m, height at which the fingers are behind the plate
DESCENT_STEPS = 8  # a descent that takes longer stands on an edge
STALLED_STEPS = 3  # pulling steps without progress before it tries again
PROGRESS = 0.01  # share of the travel that counts as progress
OPENED = 0.92  # share of the travel at which the drawer is open
PULL = 0.04  # m, how far ahead of the gripper the pull aims
PULL_SPEED = 0.6  # of a full step, so that the object does not slide in the tray


class OpenDrawer(Behaviour):
    """Phases: 0 above the handle, 1 descend, 2 pull, 3 lift, 4 return to neutral; a stall starts again."""

    phases = ("above the handle", "descend", "pull", "lift", "return to neutral")

    def __init__(self, env: DrawerGrasp, rng: np.random.Generator, aim_error: float = 0.0) -> None:
        """`aim_error`: standard deviation (m) of a fixed error in the first aim, corrected after a miss."""
        super().__init__(env, rng)
        self._aim = np.append(rng.normal(0.0, 1.0, 2) * aim_error, 0.0)
        self._steps = 0
        self._furthest = 0.0

    def act(self) -> np.ndarray:
        target = self.env.in_world(scene.HANDLE_GAP) + self._aim
        error = target - self.gripper()
        opening = self.env.drawer_opening()
        if opening > OPENED and self.phase < 3:
            self._enter(3)
        if self.phase == 0 and sideways(error) < ALIGNED:
            self._enter(1)
        if self.phase == 1:
            self._steps += 1
            if sideways(error) > LOST or self._steps > DESCENT_STEPS:
                self.restart()
            elif self.gripper()[2] < HOOKED:
                self._enter(2)
                self._furthest = opening
        if self.phase == 2:
            self._steps = 0 if opening > self._furthest + PROGRESS else self._steps + 1
            self._furthest = max(self._furthest, opening)
            if self._steps > STALLED_STEPS:
                self.restart()
        if self.phase == 3 and self.gripper()[2] > CLEARANCE - 0.02:
            self._enter(4)
        return self._command(target, error)

    def restart(self) -> None:
        super().restart()
        self._aim = np.zeros(3)
        self._steps = 0

    def _command(self, target: np.ndarray, error: np.ndarray) -> np.ndarray:
        if self.phase == 0:
            # Never cross the handle low down: rise first, then move sideways.
            if self.gripper()[2] < CLEARANCE - 0.04 and sideways(error) > ALIGNED:
                return self.toward(raised(self.gripper(), CLEARANCE), OPEN)
            return self.toward(raised(target, CLEARANCE - 0.02), OPEN)
        if self.phase == 1:
            return self.toward(target, OPEN)
        if self.phase == 2:
            # Keep to the drawer's axis while pulling, so that the fingers stay behind the plate.
            pull = self.env.pull_direction()
            along = (self.gripper() - target) @ pull
            return self.toward(target + pull * (along + PULL), OPEN, speed=PULL_SPEED)
        if self.phase == 3:
            return self.toward(raised(self.gripper(), CLEARANCE + 0.03), OPEN)
        self.done = True
        return self.toward(self.gripper(), OPEN, neutral=RETURN)

    def _enter(self, phase: int) -> None:
        self.phase = phase
        self._steps = 0
