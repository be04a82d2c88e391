"""Carry: set a held object down in the tray; the same for the blocker, including its grasp."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cog.envs.behaviours.base import CLOSE, OPEN, Behaviour, raised, sideways
from cog.envs.behaviours.grasp import Grasp
from cog.envs.cabinet import HANDLE_GAP
from cog.envs.objects import BLOCKER_CENTRE, BLOCKER_HEIGHT
from cog.signals.predicates import MOVED_DISTANCE, PLACED_DISTANCE, PLACED_HEIGHT

if TYPE_CHECKING:
    from cog.envs.tabletop import Tabletop

ABOVE_TRAY = 0.025  # m, horizontal error that allows lowering
LOWERED = 0.012  # m, error in height at which the fingers open
SINK_STEPS = 8  # if lowering takes longer, the object stands on something: release it
CLEAR = 0.05  # m above the release height, from which the arm returns to neutral
ASTRAY = 0.5  # probability that a clumsy placing misses (the reference's figure)
FARTHEST = 0.20  # m, largest error of a clumsy placing
MISS_RANGE = (0.02, 0.10)  # m, distance from the knob at which a clumsy grasp closes
GRIP_BELOW_TOP = 0.02  # m, where the blocker is held


class Place(Behaviour):
    """Phases: 0 above the tray, 1 lower, 2 release, 3 lift, 4 return to neutral."""

    release_height: ClassVar[float] = 0.03
    """Height (m) at which the fingers release."""
    phases = ("above the tray", "lower", "release", "lift", "return to neutral")

    def __init__(
        self, env: "Tabletop", rng: np.random.Generator, suboptimal: bool = False, hold: int = 0
    ) -> None:
        """A behaviour for `env`.

        `suboptimal`: with probability one half it aims up to 20 cm away from the tray.
        `hold`: steps for which it stays clear of what it has placed.
        """
        super().__init__(env, rng, hold)
        self._carry = env.workspace.clearance + 0.03
        self._error: np.ndarray = np.zeros(3)
        if suboptimal and rng.random() < ASTRAY:
            angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(0.06, FARTHEST)
            self._error = distance * np.array([np.cos(angle), np.sin(angle), 0.0])

    def destination(self) -> np.ndarray:
        """Position at which the gripper releases, (3,) m."""
        env: Any = self.env
        return np.asarray(env.tray_position() + np.array([0.0, 0.0, self.release_height]))

    def stands(self) -> bool:
        env: Any = self.env
        thing = env.object_position()
        return bool(thing[2] < PLACED_HEIGHT and sideways(thing - env.tray_position()) < PLACED_DISTANCE)

    def act(self) -> np.ndarray:
        low, high = self.env.workspace.low, self.env.workspace.high
        target = np.clip(self.destination() + self._error, low, high)
        error = target - self.gripper()
        if self.phase == 0 and sideways(error) < ABOVE_TRAY:
            self.enter(1)
        if self.phase == 1:
            self.steps += 1
            if -error[2] < LOWERED or self.steps > SINK_STEPS:
                self.enter(2)
        elif self.phase == 2:
            self.enter(3)
        if self.phase == 3 and -error[2] > CLEAR:
            self.enter(4)
        if self.phase == 0:
            if self.gripper()[2] < self._carry - 0.04:
                return self.toward(raised(self.gripper(), self._carry), CLOSE)
            return self.toward(raised(target, self._carry), CLOSE)
        if self.phase == 1:
            return self.toward(target, CLOSE)
        if self.phase == 2:
            return self.toward(self.gripper(), OPEN)
        if self.phase == 3:
            return self.toward(raised(self.gripper(), self._carry), OPEN)
        return self.finish(OPEN)


class GraspBlocker(Grasp):
    """Take the arch by its knob; the phases are those of `Grasp`."""

    hover = -0.02  # the knob is higher than all other furniture
    astray = 0.75
    tries = 3
    noticed = 0.02  # so that the data also show how to recover with empty fingers high up

    def grip(self) -> np.ndarray:
        env: Any = self.env
        return np.asarray(
            env.blocker_position() + np.array([0.0, 0.0, BLOCKER_HEIGHT - BLOCKER_CENTRE - GRIP_BELOW_TOP])
        )

    def somewhere(self) -> np.ndarray:
        """A random position near the knob, at the height of the grip."""
        angle, distance = self.rng.uniform(-np.pi, np.pi), self.rng.uniform(*MISS_RANGE)
        return self.grip() + distance * np.array([np.cos(angle), np.sin(angle), 0.0])


class PlaceBlocker(Place):
    """Set the arch down in the tray; the phases are those of `Place`."""

    release_height = BLOCKER_HEIGHT - GRIP_BELOW_TOP + 0.005

    def stands(self) -> bool:
        env: Any = self.env
        return sideways(env.blocker_position() - env.cabinet.in_world(HANDLE_GAP)) > MOVED_DISTANCE
