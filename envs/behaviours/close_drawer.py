"""Close the drawer: push the handle's plate from the front."""

import numpy as np

from cog.envs import scene
from cog.envs.behaviours.base import CLEARANCE, CLOSE, raised
from cog.envs.behaviours.move_drawer import MoveDrawer

IN_FRONT = np.array([0.0, 0.045, 0.0])  # m, from the plate to where the push begins; drawer's frame
PUSH_HEIGHT = 0.045  # m


class CloseDrawer(MoveDrawer):
    """Phases: 0 before the handle, 1 descend, 2 push, 3 lift, 4 return to neutral; a stall starts again."""

    phases = ("before the handle", "descend", "push", "lift", "return to neutral")
    direction = -1
    wanted = 0.04
    fingers = CLOSE
    hover = CLEARANCE
    reached = PUSH_HEIGHT + 0.01
    aligned = 0.02

    def target(self) -> np.ndarray:
        place = self.env.in_world(scene.HANDLE_PLATE + IN_FRONT)
        # The workspace ends before the place from which an open drawer is pushed straight: stay inside.
        return raised(np.clip(place, scene.WORKSPACE_LOW, scene.WORKSPACE_HIGH), PUSH_HEIGHT)
