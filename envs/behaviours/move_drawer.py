"""Move a drawer: the common part of opening and closing."""

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cog.envs.behaviours.base import Behaviour, raised, sideways

if TYPE_CHECKING:
    from cog.envs.drawer_grasp import DrawerGrasp

DESCENT_STEPS = 8  # a descent that takes longer is stuck on an edge
STALLED_STEPS = 3  # moving steps without progress before it tries again
PROGRESS = 0.01  # share of the travel that counts as progress
LEAD = 0.04  # m, how far ahead of the gripper the movement aims
FLIP = 0.5  # probability that a clumsy movement goes the wrong way for a step (the reference's figure)
CLUMSY_TRIES = 2  # descents after which a clumsy behaviour gives up
SLACK = 0.02  # share of the travel that a drawer may move back when it is let go


class MoveDrawer(Behaviour):
    """Phases: 0 above the drawer, 1 descend, 2 move it, 3 lift, 4 return to neutral; a stall restarts."""

    drawer: ClassVar[int] = 0
    """Which drawer, from the bottom up."""
    direction: ClassVar[int]
    """1 to open, -1 to close."""
    goal: ClassVar[float]
    """Opening beyond which, in that direction, the movement is complete (share of the travel)."""
    fingers: ClassVar[float]
    """Gripper command throughout."""
    hover: ClassVar[float]
    """Height (m) below the clearance from which the fingers descend."""
    reached: ClassVar[float]
    """Height (m) below which the fingers are at the drawer."""
    aligned: ClassVar[float]
    """Horizontal error (m) that allows the descent."""
    lost: ClassVar[float] = math.inf
    """Horizontal error (m) that stops the descent."""
    speed: ClassVar[float] = 1.0
    """Largest component of the movement, as a share of a full step."""
    back: ClassVar[float] = -math.inf
    """Least position along the movement (m), relative to its start, that a step the wrong way may reach."""
    patience: ClassVar[int]
    """Steps after which a clumsy movement gives up."""

    def __init__(
        self,
        env: "DrawerGrasp",
        rng: np.random.Generator,
        aim_error: float = 0.0,
        suboptimal: bool = False,
        hold: int = 0,
    ) -> None:
        """A behaviour for `env`.

        `aim_error`: standard deviation (m) of a fixed error in the first aim, corrected after a miss.
        `suboptimal`: each step of the movement goes the wrong way with probability `FLIP`, until it gives up.
        `hold`: steps for which it stays clear of the moved drawer.
        """
        super().__init__(env, rng, hold)
        self.env: DrawerGrasp = env
        self.clearance = env.workspace.clearance
        self._furthest = 0.0
        self._aim = np.append(rng.normal(0.0, 1.0, 2) * aim_error, 0.0)
        self._clumsy = suboptimal
        self._moves = 0

    @abstractmethod
    def place(self) -> np.ndarray:
        """Position at which the fingers move the drawer, (3,) m."""

    def achieved(self) -> bool:
        return self.direction * self.env.cabinet.opening(self.drawer) > self.direction * self.goal

    def stands(self) -> bool:
        moved = self.direction * self.env.cabinet.opening(self.drawer)
        return moved > self.direction * self.goal - SLACK

    def act(self) -> np.ndarray:
        if self.gone:
            self.restart()
        target = self.place() + self._aim
        error = target - self.gripper()
        moved = self.direction * self.env.cabinet.opening(self.drawer)
        if self.phase < 3 and (self.achieved() or self._gives_up()):
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
            self._moves += 1
            self.steps = 0 if self._clumsy or moved > self._furthest + PROGRESS else self.steps + 1
            self._furthest = max(self._furthest, moved)
            if self.steps > STALLED_STEPS:
                self.restart()
        if self.phase == 3 and self.gripper()[2] > self.clearance - 0.02:
            self.enter(4)
        return self._command(target, error)

    def restart(self) -> None:
        super().restart()
        self._aim = np.zeros(3)

    def _gives_up(self) -> bool:
        return self._clumsy and (self._moves >= self.patience or self.recoveries >= CLUMSY_TRIES)

    def _command(self, target: np.ndarray, error: np.ndarray) -> np.ndarray:
        if self.phase == 0:
            # Never cross the furniture at low height: rise first, then move sideways.
            if self.gripper()[2] < self.clearance - 0.04 and sideways(error) > self.aligned:
                return self.toward(raised(self.gripper(), self.clearance), self.fingers)
            return self.toward(raised(target, self.clearance - self.hover), self.fingers)
        if self.phase == 1:
            return self.toward(target, self.fingers)
        if self.phase == 2:
            # Stay on the drawer's axis, so that the fingers keep their contact.
            axis = self.direction * self.env.cabinet.pull_direction()
            along = (self.gripper() - target) @ axis
            lead = -LEAD if self._clumsy and self.rng.random() < FLIP else LEAD
            speed = 1.0 if self._clumsy else self.speed
            return self.toward(target + axis * max(along + lead, self.back), self.fingers, speed)
        if self.phase == 3:
            return self.toward(raised(self.gripper(), self.clearance + 0.03), self.fingers)
        return self.finish(self.fingers)
