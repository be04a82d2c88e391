"""The paper's pick-and-place scene: an object on the table, or already in the gripper, and a tray for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cog.envs import scene
from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.carry import Place
from cog.envs.behaviours.chains import PickAndPlace
from cog.envs.objects import Thing, load_object
from cog.envs.physics.placement import beside, half_extents
from cog.envs.physics.settings import V1
from cog.envs.scene import Camera, Range, Workspace, draw, outside
from cog.envs.tabletop import PROPRIO_SIZE, Tabletop, length
from cog.signals.predicates import Signals, above_tray, object_held, object_reached, placed, set_down
from cog.signals.stages import LOST, Stage, always

# --- Constants of the scene ----------------------------------------------------------------------
TRAY_POSITION = np.array([0.20, -0.02, 0.0])  # nominal middle of the tray
TRAY_HALF = np.array([0.055, 0.055])  # m, from its middle to the outside of its rim
OBJECT_POSITION = np.array([0.31, 0.09, 0.0])  # nominal position of the object on the table


@dataclass(frozen=True)
class Start:
    """A named distribution of initial states: uniform ranges, each (low, high)."""

    held: bool
    """Whether the object is in the closed gripper; otherwise on the table."""
    gripper: tuple[Range, ...] = ((-0.03, 0.03), (-0.03, 0.03), (-0.02, 0.03))
    """Gripper centre relative to the neutral position, one range per axis (m)."""
    tray: tuple[Range, ...] = ((-0.02, 0.02), (-0.02, 0.02))
    """Tray position relative to its nominal position, x and y (m)."""
    object: tuple[Range, ...] = ((-0.045, 0.045), (-0.04, 0.04))
    """Object position on the table relative to its nominal position, x and y (m)."""
    object_yaw: Range = (-0.3, 0.3)
    """Object heading (rad)."""
    grip: tuple[Range, ...] = ((-0.004, 0.004), (-0.018, 0.018), (-0.008, 0.008))
    """Position of a held object relative to the gripper's centre (m), as spread out as in real grasps."""
    grip_yaw: Range = (-0.5, 0.5)
    """Heading of a held object between the open fingers (rad); closing turns it further."""
    shifted: bool = False
    """Whether the tray is outside its range, at one to two times its bounds, and the object 5 cm aside."""


_BASE = {"held": Start(held=True), "table": Start(held=False)}
STARTS = _BASE | {f"{name}_shifted": replace(start, shifted=True) for name, start in _BASE.items()}


def held_above_tray(signals: Signals) -> np.ndarray:
    """The gripper holds the object above the tray, (T,) bool; a thrown object above it does not count."""
    return np.asarray(object_held(signals) & above_tray(signals))


class PickPlace(Tabletop):
    """A WidowX-250 in front of an object and a tray.

    Success is `placed`: the object lies in the tray (`object_tray_distance` < 0.045 m, `object_height` <
    0.05 m) and the fingers have let go of it (`gripper_opening` > 0.8). The state observation (18,) appends
    object position (m) and quaternion and tray position (m).
    """

    workspace = Workspace(
        low=np.array([0.13, -0.12, 0.018]),
        high=np.array([0.43, 0.24, 0.25]),
        neutral=np.array([0.28, 0.06, 0.15]),
        clearance=0.09,
    )
    camera = Camera(eye=(0.60, 0.07, 0.40), target=(0.265, 0.045, 0.03), field=37.0)
    starts: ClassVar[tuple[str, ...]] = tuple(STARTS)
    signal_names: ClassVar[tuple[str, ...]] = (
        "object_height",
        "object_gripper_distance",
        "object_tray_distance",
        "gripper_opening",
        "gripper_height",
    )
    stages: ClassVar[Sequence[Stage]] = (
        ("never reached the object", always),
        ("reached the object, no grasp", object_reached),
        ("grasped, never above the tray", object_held),
        ("above the tray, not set down", held_above_tray),
        ("set down in the tray, not released", set_down),
    )
    behaviours: ClassVar[Mapping[str, type[Behaviour]]] = {
        **Tabletop.behaviours,
        "place": Place,
        "pick_and_place": PickAndPlace,
    }
    state_size = PROPRIO_SIZE + 3 + 4 + 3

    def furnish(self, start: str, thing: Thing, rng: np.random.Generator) -> np.ndarray:
        chosen = STARTS[start]
        gripper = self.workspace.neutral + draw(chosen.gripper, rng)
        tray, spot = draw(chosen.tray, rng), draw(chosen.object, rng)
        if chosen.shifted:
            tray, spot = outside(tray, chosen.tray), spot + np.array([0.0, 0.05])
        self._tray_position = TRAY_POSITION + np.append(tray, 0.0)
        self._client.load(scene.ASSETS / "tray.urdf", self._tray_position, fixed=True)
        offset = draw(chosen.grip, rng)
        yaw = float(rng.uniform(*(chosen.grip_yaw if chosen.held else chosen.object_yaw)))
        if self.physics.apart:
            clear = beside(
                OBJECT_POSITION[:2] + spot, half_extents(thing, yaw), self._tray_position[:2], TRAY_HALF
            )
            spot = clear - OBJECT_POSITION[:2]
        on_table = OBJECT_POSITION + np.append(spot, thing.height / 2)
        self._held = chosen.held
        place = gripper + offset if chosen.held else on_table
        self.object = load_object(self._client, thing, place, yaw)
        return gripper

    def arrange(self) -> None:
        if self._held:
            self.arm.close_around(self.object)

    def tray_position(self) -> np.ndarray:
        """Middle of the tray, (3,) m."""
        return self._tray_position

    def object_range(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.array(STARTS["table"].object).T
        height = self.object_position()[2]
        return np.append(OBJECT_POSITION[:2] + low, height), np.append(OBJECT_POSITION[:2] + high, height)

    def signals(self) -> dict[str, float]:
        gripper, thing = self.gripper_position(), self.object_position()
        return {
            "object_height": float(thing[2]),
            "object_gripper_distance": length(thing - gripper),
            "object_tray_distance": length((thing - self._tray_position)[:2]),
            "gripper_opening": self.finger_opening(),
            "gripper_height": float(gripper[2]),
        }

    def success(self, signals: Mapping[str, float]) -> bool:
        return bool(placed(signals))

    def state(self) -> list[Any]:
        return [*self._client.pose(self.object), self._tray_position]


class PickPlaceV1(PickPlace):
    """The same with the physics of version 1."""

    physics = V1
    stages = (*PickPlace.stages, LOST)
