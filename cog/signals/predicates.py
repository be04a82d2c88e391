"""Reward rules by name: predicates on recorded signals, from which any episode can be relabelled."""

from collections.abc import Callable, Mapping

import numpy as np

Signals = Mapping[str, np.ndarray]
Predicate = Callable[[Signals], np.ndarray]

GRASP_HEIGHT = 0.10  # m above the table that the object must exceed
GRASP_DISTANCE = 0.06  # m, largest distance between object and gripper centre
OPEN_FRACTION = 0.90  # share of the drawer's travel from which it counts as open
CLOSED_FRACTION = 0.08  # share of the upper drawer's travel below which it is out of the way
MOVED_DISTANCE = 0.08  # m, from the handle, beyond which a blocking object is out of the way
PLACED_DISTANCE = 0.045  # m, largest horizontal distance between object and tray
PLACED_HEIGHT = 0.05  # m, largest height of the object's centre
RELEASED_OPENING = 0.8  # least opening of fingers that have let go


def grasp_success(signals: Signals) -> np.ndarray:
    """The object is off the ground and in the gripper, (T,) bool; the demo's task."""
    lifted = signals["object_height"] > GRASP_HEIGHT
    held = signals["object_gripper_distance"] < GRASP_DISTANCE
    return np.asarray(lifted & held)


def drawer_opened(signals: Signals) -> np.ndarray:
    """The drawer is out by at least 90 % of its travel, (T,) bool."""
    return np.asarray(signals["drawer_opening"] > OPEN_FRACTION)


def top_drawer_closed(signals: Signals) -> np.ndarray:
    """The upper drawer is in, but for 8 % of its travel, (T,) bool."""
    return np.asarray(signals["top_drawer_opening"] < CLOSED_FRACTION)


def blocker_moved(signals: Signals) -> np.ndarray:
    """The blocking object is no longer where the fingers take the handle, (T,) bool."""
    return np.asarray(signals["blocker_gap_distance"] > MOVED_DISTANCE)


def placed(signals: Signals) -> np.ndarray:
    """The object lies in the tray and the fingers have let go of it, (T,) bool; the pick-and-place task."""
    inside = signals["object_tray_distance"] < PLACED_DISTANCE
    down = signals["object_height"] < PLACED_HEIGHT
    return np.asarray(inside & down & (signals["gripper_opening"] > RELEASED_OPENING))


def recorded_success(signals: Signals) -> np.ndarray:
    """The source called this frame a success, (T,) bool; for imported and written data."""
    return np.asarray(signals["success"] > 0)


PREDICATES: dict[str, Predicate] = {
    "grasp_success": grasp_success,
    "drawer_opened": drawer_opened,
    "top_drawer_closed": top_drawer_closed,
    "blocker_moved": blocker_moved,
    "placed": placed,
    "recorded_success": recorded_success,
}

KEPT: Mapping[str, str] = {"classifier": "cog.classifier.network:open_classifier"}
"""Rules kept in folders: kind -> the `module:function` that opens one, imported when a rule names it."""
