"""Open the drawer: hook the fingers behind the handle's plate and pull."""

import numpy as np

from cog.envs import scene
from cog.envs.behaviours.base import CLEARANCE, OPEN
from cog.envs.behaviours.move_drawer import MoveDrawer
from cog.envs.drawer_grasp import DrawerGrasp


class OpenDrawer(MoveDrawer):
    """Phases: 0 above the handle, 1 descend, 2 pull, 3 lift, 4 return to neutral; a stall starts again."""

    phases = ("above the handle", "descend", "pull", "lift", "return to neutral")
    direction = 1
    wanted = 0.92
    fingers = OPEN
    hover = CLEARANCE - 0.02
    reached = 0.042  # the fingers are behind the plate
    aligned = 0.012
    lost = 0.030
    speed = 0.6  # gently, so that the object does not slide in the tray

    def __init__(self, env: DrawerGrasp, rng: np.random.Generator, aim_error: float = 0.0) -> None:
        """`aim_error`: standard deviation (m) of a fixed error in the first aim, corrected after a miss."""
        super().__init__(env, rng)
        self._aim = np.append(rng.normal(0.0, 1.0, 2) * aim_error, 0.0)

    def target(self) -> np.ndarray:
        return self.env.in_world(scene.HANDLE_GAP) + self._aim

    def restart(self) -> None:
        super().restart()
        self._aim = np.zeros(3)
