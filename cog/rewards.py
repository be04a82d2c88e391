"""Reward rules by name: predicates on recorded signals, from which any episode can be relabelled."""

from collections.abc import Callable, Mapping

import numpy as np

Signals = Mapping[str, np.ndarray]
Predicate = Callable[[Signals], np.ndarray]

GRASP_HEIGHT = 0.10  # m above the table that the object must exceed
GRASP_DISTANCE = 0.06  # m, largest distance between object and gripper centre
OPEN_FRACTION = 0.90  # share of the drawer's travel from which it counts as open


def grasp_success(signals: Signals) -> np.ndarray:
    """The object is off the ground and in the gripper, (T,) bool; the demo's task."""
    lifted = signals["object_height"] > GRASP_HEIGHT
    held = signals["object_gripper_distance"] < GRASP_DISTANCE
    return np.asarray(lifted & held)


def drawer_opened(signals: Signals) -> np.ndarray:
    """The drawer is out by at least 90 % of its travel, (T,) bool."""
    return np.asarray(signals["drawer_opening"] > OPEN_FRACTION)


PREDICATES: dict[str, Predicate] = {"grasp_success": grasp_success, "drawer_opened": drawer_opened}
