"""Predicates on recorded signals: reward rules by name, the success of a scene, how far an episode got.

Every threshold of a scene is defined here and nowhere else, so that labels agree with the scene.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cog.signals.success import SuccessBy, success_frames

Signals = Mapping[str, Any]
"""Name -> values (T,) of an episode, or the one value of a frame."""
Predicate = Callable[[Signals], np.ndarray]
"""Whether something holds at each frame, (T,) bool, or at the one frame, () bool."""

GRASP_HEIGHT = 0.10  # m, height above the table that the object must exceed
GRASP_DISTANCE = 0.06  # m, largest distance between object and gripper centre
OPEN_FRACTION = 0.90  # share of the drawer's travel from which it counts as open
CLOSED_FRACTION = 0.08  # share of the upper drawer's travel below which it is out of the way
MOVED_DISTANCE = 0.08  # m, from the handle, beyond which a blocking object is out of the way
PLACED_DISTANCE = 0.045  # m, largest horizontal distance between object and tray
PLACED_HEIGHT = 0.05  # m, largest height of the object's centre
RELEASED_OPENING = 0.8  # least opening of fingers that have let go
HANDLE_REACHED = 0.04  # m, handle-gripper distance at which the fingers are at the handle
ACCESSIBLE_FRACTION = 0.80  # share of the travel from which the object can be taken; open starts lie beyond
OBJECT_REACHED = 0.035  # m, object-gripper distance at which the fingers are around the object
OBJECT_LIFTED = 0.05  # m, height that the object reaches only in a grasp; it rests below 0.03
OBJECT_LOST = -0.03  # m, height of an object beside the table, whose top is at 0


def grasp_success(signals: Signals) -> np.ndarray:
    """The object is off the ground and in the gripper, (T,) bool; the demo's task."""
    lifted = signals["object_height"] > GRASP_HEIGHT
    in_gripper = signals["object_gripper_distance"] < GRASP_DISTANCE
    return np.asarray(lifted & in_gripper)


def drawer_opened(signals: Signals) -> np.ndarray:
    """The drawer is out by at least 90 % of its travel, (T,) bool."""
    return np.asarray(signals["drawer_opening"] > OPEN_FRACTION)


def top_drawer_closed(signals: Signals) -> np.ndarray:
    """The upper drawer is in, but for 8 % of its travel, (T,) bool."""
    return np.asarray(signals["top_drawer_opening"] < CLOSED_FRACTION)


def blocker_moved(signals: Signals) -> np.ndarray:
    """The blocking object is no longer where the fingers take the handle, (T,) bool."""
    return np.asarray(signals["blocker_gap_distance"] > MOVED_DISTANCE)


def handle_reached(signals: Signals) -> np.ndarray:
    """The fingers are at the handle, (T,) bool."""
    return np.asarray(signals["handle_gripper_distance"] < HANDLE_REACHED)


def drawer_accessible(signals: Signals) -> np.ndarray:
    """The drawer is out so far that the object can be taken, (T,) bool."""
    return np.asarray(signals["drawer_opening"] > ACCESSIBLE_FRACTION)


def object_reached(signals: Signals) -> np.ndarray:
    """The fingers are around the object, or above it, (T,) bool."""
    return np.asarray(signals["object_gripper_distance"] < OBJECT_REACHED)


def object_held(signals: Signals) -> np.ndarray:
    """The object is off its support and in the gripper, (T,) bool."""
    lifted = signals["object_height"] > OBJECT_LIFTED
    return np.asarray(lifted & (signals["object_gripper_distance"] < GRASP_DISTANCE))


def above_tray(signals: Signals) -> np.ndarray:
    """The object is within the tray's bounds seen from above, at any height, (T,) bool."""
    return np.asarray(signals["object_tray_distance"] < PLACED_DISTANCE)


def set_down(signals: Signals) -> np.ndarray:
    """The object is in the tray, held or not, (T,) bool."""
    return np.asarray(above_tray(signals) & (signals["object_height"] < PLACED_HEIGHT))


def placed(signals: Signals) -> np.ndarray:
    """The object lies in the tray and the fingers have let go of it, (T,) bool; the pick-and-place task."""
    return np.asarray(set_down(signals) & (signals["gripper_opening"] > RELEASED_OPENING))


def object_lost(signals: Signals) -> np.ndarray:
    """The object has left the table, (T,) bool."""
    return np.asarray(signals["object_height"] < OBJECT_LOST)


def recorded_success(signals: Signals) -> np.ndarray:
    """The source called this frame a success, (T,) bool; for imported and written data."""
    return np.asarray(signals["success"] > 0)


def lasting_success(signals: Signals) -> np.ndarray:
    """It did so here and at all later frames, (T,) bool; `recorded_success` where data count by the last."""
    return success_frames(signals["success"], "last")


PREDICATES: dict[str, Predicate] = {
    "grasp_success": grasp_success,
    "drawer_opened": drawer_opened,
    "top_drawer_closed": top_drawer_closed,
    "blocker_moved": blocker_moved,
    "placed": placed,
    "recorded_success": recorded_success,
}
"""What a reward rule may name."""

BY: Mapping[SuccessBy, Mapping[str, Predicate]] = {"any": {}, "last": {"recorded_success": lasting_success}}
"""Where the rule by which a dataset counts successes gives a predicate another meaning."""

KEPT: Mapping[str, str] = {"classifier": "cog.classifier.network:open_classifier"}
"""Rules stored in folders: kind -> the `module:function` that opens one, imported when a rule names it."""
