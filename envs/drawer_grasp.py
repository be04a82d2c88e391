"""The drawer-and-grasp scene: take the object out of a drawer that starts open or closed.

The cabinet stands to the robot's right and its drawer slides along the cabinet's own +y axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cog.envs import scene
from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.close_drawer import CloseDrawer
from cog.envs.behaviours.open_drawer import OpenDrawer
from cog.envs.cabinet import (
    DRAWER_CENTRE,
    DRAWER_FLOOR,
    DRAWER_INSIDE,
    FINGER_REACH,
    FINGER_ROOM,
    HANDLE_GAP,
    Cabinet,
)
from cog.envs.objects import Thing, load_object
from cog.envs.physics.placement import half_extents, within
from cog.envs.physics.settings import V1
from cog.envs.scene import Camera, Range, Workspace, draw, outside
from cog.envs.tabletop import PROPRIO_SIZE, Tabletop, length
from cog.signals.predicates import (
    Signals,
    drawer_accessible,
    grasp_success,
    handle_reached,
    object_held,
    object_reached,
)
from cog.signals.stages import LOST, Stage, always

# --- Constants of the scene ----------------------------------------------------------------------
CABINET_URDF = scene.ASSETS / "cabinet.urdf"
CABINET_POSITION = np.array([0.29, -0.02, 0.0])  # middle of the front face, on the table
DRAWER_TRAVEL = 0.13  # m; the stop is 0.01 m further out, so that a pull does not bounce back
DRAWER_HEIGHT = 0.05  # m, height of its side walls


@dataclass(frozen=True)
class Start:
    """A named distribution of initial states: uniform ranges, each (low, high)."""

    opening: Range
    """Drawer opening as a fraction of its travel."""
    gripper: tuple[Range, ...] = ((-0.04, 0.04), (-0.05, 0.06), (-0.03, 0.04))
    """Gripper centre relative to the neutral position, one range per axis (m)."""
    cabinet: tuple[Range, ...] = ((-0.02, 0.02), (-0.02, 0.02))
    """Cabinet position relative to its nominal position, x and y (m)."""
    cabinet_yaw: Range = (-0.08, 0.08)
    """Cabinet heading relative to its nominal one (rad)."""
    object: tuple[Range, ...] = ((-0.028, 0.028), (-0.04, 0.04))
    """Object position relative to the middle of the drawer's tray, x and y (m)."""
    object_yaw: Range = (-0.3, 0.3)
    """Object heading (rad)."""
    shifted: bool = False
    """Whether the cabinet is placed outside its range, at one to two times its bounds."""


_BASE = {"open": Start(opening=(0.88, 1.0)), "closed": Start(opening=(0.0, 0.02))}
STARTS = _BASE | {f"{name}_shifted": replace(start, shifted=True) for name, start in _BASE.items()}


@dataclass(frozen=True)
class Layout:
    """An initial state drawn from a start."""

    opening: float
    gripper: np.ndarray
    cabinet: np.ndarray
    cabinet_yaw: float
    object: np.ndarray
    object_yaw: float


def draw_layout(start: Start, rng: np.random.Generator) -> Layout:
    """Draw an initial state: gripper (3,) m, cabinet (3,) m, object (2,) m from the middle of the tray."""
    opening = float(rng.uniform(*start.opening))
    gripper = DrawerGrasp.workspace.neutral + draw(start.gripper, rng)
    cabinet = draw(start.cabinet, rng)
    return Layout(
        opening=opening,
        gripper=gripper,
        cabinet=CABINET_POSITION
        + np.append(outside(cabinet, start.cabinet) if start.shifted else cabinet, 0.0),
        cabinet_yaw=float(rng.uniform(*start.cabinet_yaw)),
        object=draw(start.object, rng),
        object_yaw=float(rng.uniform(*start.object_yaw)),
    )


def object_reached_in_drawer(signals: Signals) -> np.ndarray:
    """The fingers are around the object, (T,) bool; being as near above a closed drawer does not count."""
    return np.asarray(drawer_accessible(signals) & object_reached(signals))


def in_drawer(spot: np.ndarray, thing: Thing, turn: float) -> np.ndarray:
    """The nearest place to `spot` where fingers fit at both sides; (2,) m from the middle of the tray."""
    low, high = DRAWER_INSIDE + np.array([[FINGER_ROOM, 0.0], [-FINGER_ROOM, 0.0]])
    return within(spot, half_extents(thing, turn), low, high)


class DrawerGrasp(Tabletop):
    """A WidowX-250 in front of a cabinet with one drawer that contains an object.

    Success is `grasp_success`: `object_height` > 0.10 m and `object_gripper_distance` < 0.06 m. The state
    observation (22,) appends object position (m) and quaternion, drawer opening, handle position (m), cabinet
    position and heading.
    """

    workspace = Workspace(
        low=np.array([0.17, -0.12, 0.022]),
        high=np.array([0.41, 0.24, 0.24]),
        neutral=np.array([0.29, 0.06, 0.17]),
        clearance=0.13,
    )
    camera = Camera(eye=(0.66, 0.06, 0.46), target=(0.28, 0.03, 0.03), field=42.0)
    starts: ClassVar[tuple[str, ...]] = tuple(STARTS)
    open_range: ClassVar[tuple[Range, ...]] = STARTS["open"].object
    signal_names: ClassVar[tuple[str, ...]] = (
        "object_height",
        "object_gripper_distance",
        "drawer_opening",
        "handle_gripper_distance",
        "gripper_opening",
        "gripper_height",
        "object_drawer_distance",
    )
    stages: ClassVar[Sequence[Stage]] = (
        ("never reached the handle", always),
        ("reached the handle, drawer not opened", handle_reached),
        ("drawer open, never reached the object", drawer_accessible),
        ("reached the object, no grasp", object_reached_in_drawer),
        ("grasped, dropped or out of time", object_held),
    )
    behaviours: ClassVar[Mapping[str, type[Behaviour]]] = {
        **Tabletop.behaviours,
        "open_drawer": OpenDrawer,
        "close_drawer": CloseDrawer,
    }
    state_size = PROPRIO_SIZE + 3 + 4 + 1 + 3 + 3
    cabinet: Cabinet

    def furnish(self, start: str, thing: Thing, rng: np.random.Generator) -> np.ndarray:
        layout = draw_layout(STARTS[start], rng)
        self.cabinet = Cabinet(
            self._client, CABINET_URDF, layout.cabinet, layout.cabinet_yaw, DRAWER_TRAVEL, [layout.opening]
        )
        spot = layout.object
        if self.physics.apart:
            spot = in_drawer(spot, thing, layout.object_yaw)
        place = DRAWER_CENTRE + np.append(spot, DRAWER_FLOOR + thing.height / 2)
        heading = layout.cabinet_yaw + layout.object_yaw
        self.object = load_object(self._client, thing, self.cabinet.in_world(place), heading)
        return layout.gripper

    def object_range(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.array(self.open_range).T
        corners = [DRAWER_CENTRE + np.append(corner, 0.0) for corner in (low, high)]
        height = np.array([0.0, 0.0, self.object_position()[2]])
        near, far = (self.cabinet.in_world(corner) + height for corner in corners)
        return np.minimum(near, far), np.maximum(near, far)

    def grip_place(self) -> np.ndarray:
        """Where to close the fingers on the object: beside a wall, as near to it as the open ones fit."""
        place = super().grip_place()
        if not self.physics.exact:
            return place
        local = self.cabinet.in_drawer(place)
        across, height = DRAWER_INSIDE[1, 0] - FINGER_REACH, place[2]
        if height > DRAWER_HEIGHT or abs(local[0]) > DRAWER_INSIDE[1, 0]:
            return place
        local[0] = min(max(local[0], -across), across)
        return self.cabinet.in_world(local)

    def look(self) -> None:
        super().look()
        self.cabinet.look()

    def signals(self) -> dict[str, float]:
        gripper = self.gripper_position()
        thing = self.object_position()
        handle = self.cabinet.in_world(HANDLE_GAP)
        tray = self.cabinet.in_world(DRAWER_CENTRE)
        return {
            "object_height": float(thing[2]),
            "object_gripper_distance": length(thing - gripper),
            "drawer_opening": self.cabinet.opening(),
            "handle_gripper_distance": length(handle - gripper),
            "gripper_opening": self.finger_opening(),
            "gripper_height": float(gripper[2]),
            "object_drawer_distance": length((thing - tray)[:2]),
        }

    def success(self, signals: Mapping[str, float]) -> bool:
        return bool(grasp_success(signals))

    def state(self) -> list[Any]:
        cabinet = self.cabinet
        place = np.append(cabinet.position[:2], cabinet.yaw)
        return [*self._client.pose(self.object), [cabinet.opening()], cabinet.in_world(HANDLE_GAP), place]


class DrawerGraspV1(DrawerGrasp):
    """The same with the physics of version 1."""

    physics = V1
    stages = (*DrawerGrasp.stages, LOST)
