"""What all scenes share: simulation, action scales, and how each names its workspace, camera and ranges.

Frame: origin at the robot's base on the table, x forward, y to the left, z up; lengths in m, angles in rad.
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
SETTLE_SUBSTEPS = 12  # after an initial state is laid out, things fall the last fraction of a millimetre
SOLVER_ITERATIONS = 40
GRAVITY = -9.81  # m/s²

# --- Action scales: what a component of 1 asks for in one step -----------------------------------
POSITION_SCALE = 0.05  # m
ROTATION_SCALE = 0.10  # rad
SWITCH = 0.5  # a gripper or neutral component beyond this switches
ROTATION_LIMIT = np.array([0.35, 0.35, 0.60])  # roll, pitch, yaw away from pointing down

Range = tuple[float, float]
"""Lowest and highest value of a uniform distribution."""


@dataclass(frozen=True)
class Workspace:
    """Where the gripper's centre may go, (3,) m each."""

    low: np.ndarray
    """Lowest corner."""
    high: np.ndarray
    """Highest corner."""
    neutral: np.ndarray
    """Where the neutral pose holds it."""
    clearance: float
    """Height (m) at which the fingers pass over all furniture."""


@dataclass(frozen=True)
class Camera:
    """The one camera of a scene."""

    eye: tuple[float, float, float]
    """Where it stands (m)."""
    target: tuple[float, float, float]
    """What it looks at (m)."""
    field: float
    """Vertical field of view (degrees)."""


def draw(ranges: tuple[Range, ...], rng: np.random.Generator) -> np.ndarray:
    """One uniform draw from each range."""
    return np.array([rng.uniform(low, high) for low, high in ranges])


def outside(values: np.ndarray, ranges: tuple[Range, ...]) -> np.ndarray:
    """Draws from symmetric ranges, moved outside them: a value v within ±b becomes one between ±b and ±2b."""
    return values + np.copysign([high for _, high in ranges], values)
