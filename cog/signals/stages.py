"""How far an episode got, judged from its recorded signals alone."""

from collections.abc import Mapping

import numpy as np

HANDLE_REACHED = 0.04  # m, handle-gripper distance at which the fingers are at the handle
DRAWER_OPEN = 0.80  # share of the travel from which the object can be reached; open starts begin beyond it
OBJECT_REACHED = 0.035  # m, object-gripper distance at which the fingers are around the object
OBJECT_LIFTED = 0.05  # m, object height above the table that only a grasp explains (it rests at 0.026)
OBJECT_HELD = 0.06  # m, object-gripper distance below which a lifted object is in the gripper

STAGES = (
    "never reached the handle",
    "reached the handle, drawer not opened",
    "drawer open, never reached the object",
    "reached the object, no grasp",
    "grasped, dropped or out of time",
    "success",
)
"""From least to most; an episode is put at the last one that it attained."""

FAILURE = "failure"  # for environments that do not record the signals above
NEEDED = ("object_height", "object_gripper_distance", "drawer_opening", "handle_gripper_distance")


def furthest_stage(signals: Mapping[str, np.ndarray], success: bool) -> str:
    """The furthest of `STAGES` for signals (T + 1,) of one episode; `FAILURE` if they do not tell."""
    if success:
        return STAGES[5]
    if any(name not in signals for name in NEEDED):
        return FAILURE
    height, distance, opening, handle = (np.asarray(signals[name]) for name in NEEDED)
    if ((height > OBJECT_LIFTED) & (distance < OBJECT_HELD)).any():
        return STAGES[4]
    if (opening > DRAWER_OPEN).any():
        # Above a closed drawer the gripper may be as near to the object as it is when around it.
        return STAGES[3] if (distance[opening > DRAWER_OPEN] < OBJECT_REACHED).any() else STAGES[2]
    return STAGES[1] if (handle < HANDLE_REACHED).any() else STAGES[0]
