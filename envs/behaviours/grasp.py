"""Grasp: take the object out of the open drawer."""

import numpy as np

from cog.envs.behaviours.base import CLOSE, OPEN, Behaviour, raised, sideways
from cog.envs.drawer_grasp import DrawerGrasp

HOVER = 0.105  # m, height from which the fingers descend around the object
ALIGNED = 0.012  # m, horizontal error that allows the descent
LOST = 0.025  # m, horizontal error that stops it
REACHED = 0.010  # m, height above the object's centre at which the fingers close
LIFT = 0.20  # m, height the object is carried to
SLIPPED = 0.05  # m, object-gripper distance at which the grasp has failed
CLOSING_STEPS = 2
DESCENT_STEPS = 8  # a descent that takes longer is stuck


class Grasp(Behaviour):
    """Phases: 0 above the object, 1 descend, 2 close, 3 lift; after a miss or a slip it tries again."""

    phases = ("above the object", "descend", "close", "lift")

    def __init__(self, env: DrawerGrasp, rng: np.random.Generator, aim_error: float = 0.0) -> None:
        """`aim_error`: standard deviation (m) of a fixed error in the first aim, corrected after a miss."""
        super().__init__(env, rng)
        self._aim = np.append(rng.normal(0.0, 1.0, 2) * aim_error, 0.0)

    def act(self) -> np.ndarray:
        target = self.env.object_position() + self._aim
        error = target - self.gripper()
        if self.phase == 0 and sideways(error) < ALIGNED and self.env.arm.is_open:
            self.enter(1)
        if self.phase == 1:
            self.steps += 1
            if sideways(error) > LOST or self.steps > DESCENT_STEPS:
                self.restart()
            elif -error[2] < REACHED:
                self.enter(2)
        if self.phase == 3 and np.linalg.norm(error - self._aim) > SLIPPED:
            self.restart()
        if self.phase == 0:
            # Never cross the drawer's walls low down: rise first, then move sideways.
            if self.gripper()[2] < HOVER - 0.03 and sideways(error) > LOST:
                return self.toward(raised(self.gripper(), HOVER + 0.02), OPEN)
            return self.toward(raised(target, HOVER), OPEN)
        if self.phase == 1:
            return self.toward(target, OPEN)
        if self.phase == 2:
            self.steps += 1
            if self.steps >= CLOSING_STEPS:
                self.enter(3)
            return self.toward(target, CLOSE)
        return self.toward(raised(self.gripper(), LIFT), CLOSE)

    def restart(self) -> None:
        super().restart()
        self._aim = np.zeros(3)
