"""A cabinet with sliding drawers: positions of its handles and openings of its drawers.

All points are given in the drawer's frame: origin below the middle of its front face, on the table when the
drawer is closed; y is the direction in which it opens.
"""

from pathlib import Path

import numpy as np

from cog.envs.bullet import Client

HANDLE_GAP = np.array([0.0, 0.040, 0.03])  # m, between front and plate, where the fingers hook in
HANDLE_PLATE = np.array([0.0, 0.077, 0.04])  # m, middle of the T's plate
DRAWER_CENTRE = np.array([0.0, -0.067, 0.0])  # m, of the tray
DRAWER_INSIDE = np.array([[-0.078, -0.059], [0.078, 0.067]])  # m, corners of the tray, from its middle
DRAWER_FLOOR = 0.011  # m, height of the tray's upper side
BOTTOM, TOP = 0, 1  # drawers of a cabinet with two
FINGER_ROOM = 0.018  # m, between a side wall and an object, so that a finger fits in
FINGER_REACH = 0.049  # m, from the gripper's centre to past the outside of an open finger
DRAWER_OUTLINE = np.array([[-0.09, 0.0], [-0.09, 0.01], [-0.05, 0.083]])  # m, its corners on the left
STOP = 0.01  # m, from the end of a drawer's travel to its stop
TOP_FACE = np.array([0.0, -0.025, 0.108])  # m, middle of the upper drawer's front
SLIDE_FORCE = 6.0  # N, friction of a slide


def leftmost(yaw: float, travel: float) -> float:
    """Least x of a drawer at its stop, of a cabinet of this heading (rad); m from its position."""
    corners = DRAWER_OUTLINE + np.array([0.0, travel + STOP])
    return float((corners @ np.array([np.cos(yaw), -np.sin(yaw)])).min())


class Cabinet:
    """A cabinet in a PyBullet world; its sliding joints, in order, are its drawers from the bottom up."""

    def __init__(
        self,
        client: Client,
        urdf: Path,
        position: np.ndarray,
        yaw: float,
        travel: float,
        openings: list[float],
    ) -> None:
        """Load it at `position` (3,) m with heading `yaw` rad, each drawer out by a share of `travel` m."""
        api = client.api
        self._api = api
        self._body = client.load(urdf, position, yaw, fixed=True)
        joints = range(api.getNumJoints(self._body))
        self._joints = [j for j in joints if api.getJointInfo(self._body, j)[2] == api.JOINT_PRISMATIC]
        self.position, self.yaw, self.travel = position, yaw, travel
        cos, sin = np.cos(yaw), np.sin(yaw)
        self._axes = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        self._out = [opening * travel for opening in openings]
        for joint, out in zip(self._joints, self._out, strict=True):
            api.resetJointState(self._body, joint, out)
            api.setJointMotorControl2(
                self._body, joint, api.VELOCITY_CONTROL, targetVelocity=0.0, force=SLIDE_FORCE
            )

    def look(self) -> None:
        """Read the openings of the drawers once."""
        self._out = [float(self._api.getJointState(self._body, joint)[0]) for joint in self._joints]

    def opening(self, drawer: int = 0) -> float:
        """Opening of a drawer as a share of its travel, in [0, 1]."""
        return min(max(self._out[drawer] / self.travel, 0.0), 1.0)

    def in_world(self, point: np.ndarray, drawer: int = 0) -> np.ndarray:
        """A point (3,) in a drawer's frame, in world coordinates."""
        shifted = point + np.array([0.0, self._out[drawer], 0.0])
        world: np.ndarray = self.position + self._axes @ shifted
        return world

    def in_drawer(self, place: np.ndarray, drawer: int = 0) -> np.ndarray:
        """A place (3,) in the world, in a drawer's frame."""
        local: np.ndarray = self._axes.T @ (place - self.position) - np.array([0.0, self._out[drawer], 0.0])
        return local

    def pull_direction(self) -> np.ndarray:
        """Unit vector (3,) along which the drawers open."""
        direction: np.ndarray = self._axes[:, 1]
        return direction
