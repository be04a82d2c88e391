"""Shared by all scenes: simulation constants, action scales, and types for workspace, camera and ranges.

Frame: origin at the robot's base on the table, x forward, y to the left, z up; lengths in m, angles in rad.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

ASSETS = Path(__file__).parent / "assets"

# --- Simulation ----------------------------------------------------------------------------------
TIME_STEP = 1 / 240  # s, one physics substep
GRIPPER_SUBSTEPS = 16  # additional substeps when the gripper opens or closes
NEUTRAL_SUBSTEPS = 48  # additional substeps when the arm returns to its neutral pose
SETTLE_SUBSTEPS = 12  # after an initial state is laid out, objects settle by a fraction of a millimetre
GRAVITY = -9.81  # m/s²

# --- Action scales: movement in one step for a component of 1 ------------------------------------
POSITION_SCALE = 0.05  # m
ROTATION_SCALE = 0.10  # rad
SWITCH = 0.5  # threshold of the gripper and neutral components
ROTATION_LIMIT = np.array([0.35, 0.35, 0.60])  # roll, pitch, yaw relative to pointing down

Range = tuple[float, float]
"""Lowest and highest value of a uniform distribution."""


@dataclass(frozen=True)
class Workspace:
    """Bounds of the gripper's centre, (3,) m each."""

    low: np.ndarray
    """Lowest corner."""
    high: np.ndarray
    """Highest corner."""
    neutral: np.ndarray
    """Position in the neutral pose."""
    clearance: float
    """Height (m) at which the fingers pass over all furniture."""

    def __post_init__(self) -> None:
        """Refuse changes: all environments of a scene share it."""
        for corner in (self.low, self.high, self.neutral):
            corner.setflags(write=False)


@dataclass(frozen=True)
class Camera:
    """A camera, in the frame of the world or of what it is fixed to."""

    eye: tuple[float, float, float]
    """Position of the camera (m)."""
    target: tuple[float, float, float]
    """Point that it looks at (m)."""
    field: float
    """Vertical field of view (degrees)."""
    up: tuple[float, float, float] = (0, 0, 1)
    """Direction that is up in its pictures."""
    nearest: float = 0.05
    """Distance (m) below which it sees nothing."""


def draw(ranges: tuple[Range, ...], rng: np.random.Generator) -> np.ndarray:
    """One uniform draw from each range."""
    return np.array([rng.uniform(low, high) for low, high in ranges])


def outside(values: np.ndarray, ranges: tuple[Range, ...]) -> np.ndarray:
    """Draws from symmetric ranges, moved outside them: a value v within ±b becomes one between ±b and ±2b."""
    return values + np.copysign([high for _, high in ranges], values)
