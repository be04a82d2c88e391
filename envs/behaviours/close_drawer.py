"""Close a drawer: push the handle's plate of the lower one, or the bare front of the upper one."""

import numpy as np

from cog.envs.behaviours.base import CLOSE, raised
from cog.envs.behaviours.move_drawer import MoveDrawer
from cog.envs.cabinet import HANDLE_PLATE, TOP, TOP_FACE

IN_FRONT = np.array([0.0, 0.045, 0.0])  # m, from the plate or front to the start of the push; drawer's frame
PUSH_HEIGHT = 0.045  # m


class CloseDrawer(MoveDrawer):
    """Phases: 0 before the handle, 1 descend, 2 push, 3 lift, 4 return to neutral; a stall restarts."""

    phases = ("before the handle", "descend", "push", "lift", "return to neutral")
    direction = -1
    goal = 0.04
    fingers = CLOSE
    hover = 0.0
    reached = PUSH_HEIGHT + 0.01
    aligned = 0.02
    patience = 30

    def place(self) -> np.ndarray:
        place = self.env.cabinet.in_world(HANDLE_PLATE + IN_FRONT)
        # The straight push of an open drawer would start outside the workspace: stay inside.
        return raised(np.clip(place, self.env.workspace.low, self.env.workspace.high), PUSH_HEIGHT)


class CloseTopDrawer(MoveDrawer):
    """Phases: 0 before the front, 1 descend, 2 push, 3 lift, 4 return to neutral; a stall restarts."""

    phases = ("before the upper drawer", "descend", "push", "lift", "return to neutral")
    drawer = TOP
    direction = -1
    goal = 0.04
    fingers = CLOSE
    hover = 0.0
    reached = TOP_FACE[2] + 0.012
    aligned = 0.02
    back = 0.0  # no further from the front than the start of the push
    patience = 30

    def place(self) -> np.ndarray:
        return self.env.cabinet.in_world(TOP_FACE + IN_FRONT, TOP)
