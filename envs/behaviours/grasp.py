"""Grasp: take the object from the open drawer or the table."""

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cog.envs.behaviours.base import CLOSE, OPEN, Behaviour, raised, sideways

if TYPE_CHECKING:
    from cog.envs.tabletop import Tabletop

ALIGNED = 0.012  # m, horizontal error that allows the descent
LOST = 0.025  # m, horizontal error that stops the descent
REACHED = 0.010  # m, height above the grip at which the fingers close
LIFT = 0.07  # m above the clearance, to which the object is carried
LIFTED = 0.05  # m above the clearance, from which the arm returns to neutral
SLIPPED = 0.05  # m, object-gripper distance at which the grasp has failed
CLOSING_STEPS = 2
DESCENT_STEPS = 8  # a descent that takes longer is stuck


class Grasp(Behaviour):
    """Phases: 0 above the object, 1 descend, 2 close, 3 lift, 4 return to neutral; a slip restarts."""

    phases = ("above the object", "descend", "close", "lift", "return to neutral")
    carries = True
    hover: ClassVar[float] = 0.025
    """Height (m) below the clearance from which the fingers descend around the object."""
    astray: ClassVar[float] = 0.8
    """Probability that an attempt of a clumsy grasp aims at a random position."""
    tries: ClassVar[int] = 2
    """Attempts of a clumsy grasp."""
    noticed: ClassVar[float] = -math.inf
    """Height (m) above the clearance at which it detects that the fingers are empty."""

    def __init__(
        self,
        env: "Tabletop",
        rng: np.random.Generator,
        aim_error: float = 0.0,
        suboptimal: bool = False,
        hold: int = 0,
    ) -> None:
        """A behaviour for `env`.

        `aim_error`: standard deviation (m) of a fixed error in the first aim, corrected after a miss.
        `suboptimal`: with probability `astray` it closes at a random position, at most `tries` times.
        `hold`: steps for which it keeps the object; one that slips away is taken again.
        """
        super().__init__(env, rng, hold)
        self._aim = np.append(rng.normal(0.0, 1.0, 2) * aim_error, 0.0)
        self._height = env.workspace.clearance
        self._tries = self.tries if suboptimal else 0
        self._astray = self._mistake()

    def grip(self) -> np.ndarray:
        """Position at which the fingers close, (3,) m."""
        return self.env.grip_place()

    def achieved(self) -> bool:
        return bool(np.linalg.norm(self.grip() - self.gripper()) < SLIPPED)

    def somewhere(self) -> np.ndarray:
        """A random position where the object might have been, (3,) m."""
        low, high = self.env.object_range()
        return self.rng.uniform(low, high)

    def act(self) -> np.ndarray:
        if self.gone:
            self.restart()
        target = (self.grip() if self._astray is None else self._astray) + self._aim
        error = target - self.gripper()
        if self.phase == 0 and sideways(error) < ALIGNED and self.env.arm.is_open:
            self.enter(1)
        if self.phase == 1:
            self.steps += 1
            if sideways(error) > LOST or self.steps > DESCENT_STEPS:
                self.restart()
            elif -error[2] < REACHED:
                self.enter(2)
        if self.phase == 3:
            height = self.gripper()[2] - self._height
            if self._astray is not None and self._tries > 1 and height > self.noticed:
                self._tries -= 1
                self._astray = self._mistake()
                self.restart()
            elif self._astray is None and np.linalg.norm(error - self._aim) > SLIPPED:
                self.restart()
            elif height > LIFTED:
                self.enter(4)
        return self._command(target, error)

    def restart(self) -> None:
        super().restart()
        self._aim = np.zeros(3)

    def _mistake(self) -> np.ndarray | None:
        """Position of the next attempt if it goes astray, else None."""
        return self.somewhere() if self._tries and self.rng.random() < self.astray else None

    def _command(self, target: np.ndarray, error: np.ndarray) -> np.ndarray:
        if self.phase == 0:
            # Never cross the drawer's walls at low height: rise first, then move sideways.
            if self.gripper()[2] < self._height - self.hover - 0.03 and sideways(error) > LOST:
                return self.toward(raised(self.gripper(), self._height - 0.005), OPEN)
            return self.toward(raised(target, self._height - self.hover), OPEN)
        if self.phase == 1:
            return self.toward(target, OPEN)
        if self.phase == 2:
            self.steps += 1
            if self.steps >= CLOSING_STEPS:
                self.enter(3)
            return self.toward(target, CLOSE)
        if self.phase == 3:
            return self.toward(raised(self.gripper(), self._height + LIFT), CLOSE)
        return self.finish(CLOSE)
