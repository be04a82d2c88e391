"""The drawer scene: every constant in one block, and the furniture they place.

Frame: origin at the robot's base on the table, x forward, y to the left, z up; lengths in m, angles in rad.
The cabinet stands to the robot's right and its drawer slides along the cabinet's own +y axis.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

ASSETS = Path(__file__).parent / "assets"

# --- Simulation ----------------------------------------------------------------------------------
TIME_STEP = 1 / 240  # s, one physics substep
SUBSTEPS = 10  # substeps an action lasts: 24 actions a second, as in the paper
GRIPPER_SUBSTEPS = 16  # more substeps when the gripper opens or closes
NEUTRAL_SUBSTEPS = 48  # more substeps when the arm returns to its neutral pose
SOLVER_ITERATIONS = 40
GRAVITY = -9.81  # m/s²

# --- Action scales: what a component of 1 asks for in one step -----------------------------------
POSITION_SCALE = 0.05  # m
ROTATION_SCALE = 0.10  # rad
SWITCH = 0.5  # a gripper or neutral component beyond this switches

# --- Workspace of the gripper centre -------------------------------------------------------------
WORKSPACE_LOW = np.array([0.17, -0.12, 0.022])
WORKSPACE_HIGH = np.array([0.41, 0.24, 0.24])
ROTATION_LIMIT = np.array([0.35, 0.35, 0.60])  # roll, pitch, yaw away from pointing down
NEUTRAL_POSITION = np.array([0.29, 0.06, 0.17])

# --- Furniture -----------------------------------------------------------------------------------
CABINET_POSITION = np.array([0.29, -0.02, 0.0])  # middle of the front face, on the table
DRAWER_TRAVEL = 0.13  # from closed to open; the stop is 0.01 m further, so that a pull does not bounce back
DRAWER_FORCE = 6.0  # N, friction of the slide
DRAWER_CENTRE = np.array([0.0, -0.067, 0.0])  # of the tray, in the drawer's frame
HANDLE_GAP = np.array([0.0, 0.040, 0.03])  # between front and plate, where fingers hook; drawer's frame
HANDLE_PLATE = np.array([0.0, 0.077, 0.04])  # middle of the T's plate; drawer's frame
DRAWER_FLOOR = 0.011  # height of the tray's upper side
OBJECT_SIZE = 0.035  # edge of the cube

# --- Success: the object is off the ground and in the gripper ------------------------------------
SUCCESS_HEIGHT = 0.10  # m, `object_height` must exceed it
SUCCESS_DISTANCE = 0.06  # m, `object_gripper_distance` must stay below it

# --- Camera --------------------------------------------------------------------------------------
CAMERA_EYE = (0.66, 0.06, 0.46)
CAMERA_TARGET = (0.28, 0.03, 0.03)
CAMERA_FIELD = 42.0  # degrees, vertical field of view


@dataclass(frozen=True)
class Start:
    """A named distribution of initial states: uniform ranges, each (low, high)."""

    opening: tuple[float, float]
    """Drawer opening as a fraction of its travel."""
    gripper: tuple[tuple[float, float], ...] = ((-0.04, 0.04), (-0.05, 0.06), (-0.03, 0.04))
    """Gripper centre relative to the neutral position, one range per axis (m)."""
    cabinet: tuple[tuple[float, float], ...] = ((-0.02, 0.02), (-0.02, 0.02))
    """Cabinet position relative to its nominal place, x and y (m)."""
    cabinet_yaw: tuple[float, float] = (-0.08, 0.08)
    """Cabinet heading about its nominal one (rad)."""
    object: tuple[tuple[float, float], ...] = ((-0.028, 0.028), (-0.04, 0.04))
    """Object position relative to the middle of the drawer's tray, x and y (m)."""
    object_yaw: tuple[float, float] = (-0.3, 0.3)
    """Object heading (rad)."""


STARTS: dict[str, Start] = {"open": Start(opening=(0.88, 1.0)), "closed": Start(opening=(0.0, 0.02))}


@dataclass(frozen=True)
class Layout:
    """One initial state drawn from a start."""

    opening: float
    gripper: np.ndarray
    cabinet: np.ndarray
    cabinet_yaw: float
    object: np.ndarray
    object_yaw: float


def draw_layout(start: Start, rng: np.random.Generator) -> Layout:
    """Draw an initial state: gripper (3,) m, cabinet (3,) m, object (3,) m in the drawer's frame."""

    def uniform(ranges: tuple[tuple[float, float], ...]) -> np.ndarray:
        return np.array([rng.uniform(low, high) for low, high in ranges])

    return Layout(
        opening=float(rng.uniform(*start.opening)),
        gripper=NEUTRAL_POSITION + uniform(start.gripper),
        cabinet=CABINET_POSITION + np.append(uniform(start.cabinet), 0.0),
        cabinet_yaw=float(rng.uniform(*start.cabinet_yaw)),
        object=DRAWER_CENTRE + np.append(uniform(start.object), DRAWER_FLOOR + OBJECT_SIZE / 2),
        object_yaw=float(rng.uniform(*start.object_yaw)),
    )
