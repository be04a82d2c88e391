"""The WidowX-250's inverse kinematics in closed form: exact, and the same whatever pose the arm comes from.

The axes of the last three joints meet in one point, the centre of the wrist. So three joints place that
point, as in a planar arm of two links on a turntable, and three turn the gripper about it.
"""

import math

import numpy as np

SHOULDER = 0.11065  # m, height of the shoulder's axis above the table
ELBOW = (0.04975, 0.25)  # m, from the shoulder to the elbow along x and z of the upper arm
FOREARM = 0.25  # m, from the elbow to the centre of the wrist
HAND = 0.178  # m, from the centre of the wrist to the gripper's centre
UPPER_ARM = math.hypot(*ELBOW)
LEAN = math.atan2(ELBOW[1], ELBOW[0])  # rad, elevation of the elbow with all joints at 0


def joint_angles(position: np.ndarray, axes: np.ndarray) -> tuple[float, ...]:
    """Angles (6,) rad of the pose with the elbow up that brings the gripper there.

    `position` (3,) m is the gripper's centre, `axes` (3, 3) its axes as columns; the fingers point along x.
    Out of reach, the arm is stretched towards the position.
    """
    (xx, yx, zx), (xy, yy, zy), (xz, yz, zz) = axes.tolist()
    px, py, pz = position.tolist()
    x, y, z = px - HAND * xx, py - HAND * xy, pz - HAND * xz - SHOULDER
    waist = math.atan2(y, x)
    reach = math.hypot(x, y)
    distance = math.hypot(reach, z)
    elevation = math.atan2(z, reach)
    at_shoulder = _corner(UPPER_ARM, distance, FOREARM)
    at_wrist = _corner(FOREARM, distance, UPPER_ARM)
    shoulder = LEAN - elevation - at_shoulder
    pitch = at_wrist - elevation  # of the forearm, downwards
    # The gripper's axes as the forearm sees them: a turn about x, one about y, and one about x again.
    cos, sin = math.cos(waist), math.sin(waist)
    down, along = math.sin(pitch), math.cos(pitch)
    ahead = cos * xx + sin * xy
    forward = along * ahead - down * xz
    sideways = cos * xy - sin * xx
    upward = down * ahead + along * xz
    left = along * (cos * yx + sin * yy) - down * yz
    over = along * (cos * zx + sin * zy) - down * zz
    bend = math.atan2(math.hypot(sideways, upward), forward)
    return (waist, shoulder, pitch - shoulder, math.atan2(sideways, -upward), bend, math.atan2(left, over))


def _corner(one: float, other: float, opposite: float) -> float:
    """The angle (rad) of a triangle between two sides; 0 or pi where its sides cannot meet."""
    cosine = (one * one + other * other - opposite * opposite) / (2 * one * max(other, 1e-9))
    return math.acos(min(1.0, max(-1.0, cosine)))
