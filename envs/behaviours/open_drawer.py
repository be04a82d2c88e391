"""Open the drawer: hook the fingers behind the handle's plate and pull."""

import numpy as np

from cog.envs.behaviours.base import OPEN
from cog.envs.behaviours.move_drawer import MoveDrawer
from cog.envs.cabinet import HANDLE_GAP


class OpenDrawer(MoveDrawer):
    """Phases: 0 above the handle, 1 descend, 2 pull, 3 lift, 4 return to neutral; a stall restarts."""

    phases = ("above the handle", "descend", "pull", "lift", "return to neutral")
    direction = 1
    goal = 0.92
    fingers = OPEN
    hover = 0.02
    reached = 0.042  # the fingers are behind the plate
    aligned = 0.012
    lost = 0.030
    speed = 0.6  # gently, so that the object does not slide in the tray
    patience = 36

    def place(self) -> np.ndarray:
        return self.env.cabinet.in_world(HANDLE_GAP)


class HastyOpenDrawer(OpenDrawer):
    """The same, but the clumsy version gives up sooner, since it is last in the longest chain."""

    patience = 24
