"""Close the drawer: push the handle's plate from the front."""

import numpy as np

from cog.envs import scene
from cog.envs.behaviours.base import CLEARANCE, CLOSE, RETURN, Behaviour, raised, sideways
from cog.envs.drawer_grasp import DrawerGrasp

IN_FRONT = np.array([0.0, 0.045, 0.0])  # m, from the plate to where the push begins; drawer's frame
PUSH_HEIGHT = 0.045  # m
ALIGNED = 0.02  # m, horizontal error that allows the descent
DESCENT_STEPS = 8
STALLED_STEPS = 3
PROGRESS = 0.01  # share of the travel that counts as progress
CLOSED = 0.04  # share of the travel at which the drawer is closed
PUSH = 0.04  # m, how far ahead of the gripper the push aims


class CloseDrawer(Behaviour):
    """Phases: 0 before the handle, 1 descend, 2 push, 3 lift, 4 return to neutral; a stall starts again."""

    phases = ("before the handle", "descend", "push", "lift", "return to neutral")

    def __init__(self, env: DrawerGrasp, rng: np.random.Generator) -> None:
        super().__init__(env, rng)
        self._steps = 0
        self._least = 1.0

    def act(self) -> np.ndarray:
        target = self.env.in_world(scene.HANDLE_PLATE + IN_FRONT)
        # The workspace ends before the place from which an open drawer is pushed straight: stay inside.
        target = np.clip(target, scene.WORKSPACE_LOW, scene.WORKSPACE_HIGH)
        error = target - self.gripper()
        opening = self.env.drawer_opening()
        if opening < CLOSED and self.phase < 3:
            self._enter(3)
        if self.phase == 0 and sideways(error) < ALIGNED:
            self._enter(1)
        if self.phase == 1:
            self._steps += 1
            if self._steps > DESCENT_STEPS:
                self.restart()
            elif self.gripper()[2] < PUSH_HEIGHT + 0.01:
                self._enter(2)
                self._least = opening
        if self.phase == 2:
            self._steps = 0 if opening < self._least - PROGRESS else self._steps + 1
            self._least = min(self._least, opening)
            if self._steps > STALLED_STEPS:
                self.restart()
        if self.phase == 3 and self.gripper()[2] > CLEARANCE - 0.02:
            self._enter(4)
        return self._command(target, error)

    def restart(self) -> None:
        super().restart()
        self._steps = 0

    def _command(self, target: np.ndarray, error: np.ndarray) -> np.ndarray:
        if self.phase == 0:
            if self.gripper()[2] < CLEARANCE - 0.04 and sideways(error) > ALIGNED:
                return self.toward(raised(self.gripper(), CLEARANCE), CLOSE)
            return self.toward(raised(target, CLEARANCE), CLOSE)
        if self.phase == 1:
            return self.toward(raised(target, PUSH_HEIGHT), CLOSE)
        if self.phase == 2:
            push = -self.env.pull_direction()
            along = (self.gripper() - target) @ push
            return self.toward(raised(target + push * (along + PUSH), PUSH_HEIGHT), CLOSE)
        if self.phase == 3:
            return self.toward(raised(self.gripper(), CLEARANCE + 0.03), CLOSE)
        self.done = True
        return self.toward(self.gripper(), CLOSE, neutral=RETURN)

    def _enter(self, phase: int) -> None:
        self.phase = phase
        self._steps = 0
