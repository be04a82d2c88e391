"""The paper's drawer scene: two stacked drawers, the object in the lower one, and two kinds of obstacle.

`closed`: the lower drawer must be opened. `blocked_drawer`: the upper drawer is half open above the lower
one's handle and must be pushed shut first. `blocked_object`: an arch stands in front of the lower drawer,
over its handle, where the fingers would go, and must be moved away first. `open` is where the task begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cog.envs import scene
from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.chains import CloseThenOpen, MoveBlocker, MoveBlockerThenOpen
from cog.envs.behaviours.close_drawer import CloseTopDrawer
from cog.envs.cabinet import DRAWER_CENTRE, DRAWER_FLOOR, HANDLE_GAP, TOP, Cabinet, leftmost
from cog.envs.drawer_grasp import DrawerGrasp, in_drawer
from cog.envs.objects import BLOCKER_BASE, BLOCKER_HEIGHT, Thing, load_object
from cog.envs.physics.placement import APART, squeezed, turned_extents
from cog.envs.physics.settings import V1
from cog.envs.scene import Camera, Range, Workspace, draw, outside
from cog.envs.tabletop import PROPRIO_SIZE, length
from cog.signals.stages import LOST

# --- Constants of the scene ----------------------------------------------------------------------
CABINET_URDF = scene.ASSETS / "double_cabinet.urdf"
CABINET_POSITION = np.array([0.33, -0.02, 0.0])  # middle of the lower front face, on the table
DRAWER_TRAVEL = 0.13  # m, of both drawers; the stops are 0.01 m further
FRONT_WALL = 0.067  # m, from the middle of the lower drawer's tray to the inside of its front
TRAY_POSITION = np.array([0.145, 0.215, 0.0])  # m, middle of the tray, which never moves
TRAY_FLOOR = 0.004  # m
TRAY_INSIDE = 0.076  # m, from the tray's middle to its rim
TRAY_HALF = 0.08  # m, to the outside of the rim
BLOCKING = np.array([0.0, 0.041, 0.0])  # m, position of the blocker over the handle; drawer's frame


@dataclass(frozen=True)
class Start:
    """A named distribution of initial states: uniform ranges, each (low, high)."""

    opening: Range
    """Opening of the lower drawer as a fraction of its travel."""
    top_opening: Range = (0.0, 0.02)
    """Opening of the upper drawer as a fraction of its travel."""
    blocked: bool = False
    """Whether the blocker stands over the handle; otherwise in the tray."""
    gripper: tuple[Range, ...] = ((-0.04, 0.04), (-0.05, 0.06), (-0.02, 0.04))
    """Gripper centre relative to the neutral position, one range per axis (m)."""
    cabinet: tuple[Range, ...] = ((-0.02, 0.02), (-0.02, 0.02))
    """Cabinet position relative to its nominal position, x and y (m)."""
    cabinet_yaw: Range = (-0.08, 0.08)
    """Cabinet heading relative to its nominal one (rad)."""
    object: tuple[Range, ...] = ((-0.028, 0.028), (-0.04, 0.046))
    """Object position relative to the middle of the lower tray, x and y (m); limited by the front wall."""
    object_yaw: Range = (-0.4, 0.4)
    """Object heading (rad)."""
    blocker: tuple[Range, ...] = ((-0.006, 0.006), (-0.006, 0.006))
    """Blocker position over the handle relative to `BLOCKING`, x and y (m)."""
    aside: tuple[Range, ...] = ((-0.015, 0.015), (-0.025, 0.025))
    """Blocker position relative to the middle of the tray, x and y (m)."""
    shifted: bool = False
    """Whether the cabinet is placed outside its range, at one to two times its bounds."""


_BASE = {
    # Drawers overshoot, and objects in them slide forward, often to the front wall.
    "open": Start(opening=(0.88, 1.07), object=((-0.045, 0.045), (-0.04, 0.07))),
    "closed": Start(opening=(0.0, 0.02)),
    "blocked_drawer": Start(opening=(0.0, 0.02), top_opening=(0.60, 0.72)),
    "blocked_object": Start(opening=(0.0, 0.02), blocked=True),
}
STARTS = _BASE | {f"{name}_shifted": replace(start, shifted=True) for name, start in _BASE.items()}


class DoubleDrawer(DrawerGrasp):
    """A WidowX-250 in front of a cabinet with two drawers, a tray and an arch that may be in the way.

    Success: `object_height` > 0.10 m and `object_gripper_distance` < 0.06 m. The state observation (27,)
    appends object position (m) and quaternion, opening of the lower drawer, handle position (m), cabinet
    position and heading, opening of the upper drawer, blocker position (m) and the height of its upright axis
    (m).
    """

    workspace = Workspace(
        low=np.array([0.13, -0.12, 0.022]),
        high=np.array([0.43, 0.24, 0.27]),
        neutral=np.array([0.30, 0.08, 0.20]),
        clearance=0.165,
    )
    camera = Camera(eye=(0.70, 0.12, 0.50), target=(0.275, 0.05, 0.045), field=43.0)
    starts: ClassVar[tuple[str, ...]] = tuple(STARTS)
    open_range: ClassVar[tuple[Range, ...]] = STARTS["open"].object
    signal_names: ClassVar[tuple[str, ...]] = (
        *DrawerGrasp.signal_names,
        "top_drawer_opening",
        "blocker_gap_distance",
        "blocker_gripper_distance",
        "blocker_height",
    )
    behaviours: ClassVar[Mapping[str, type[Behaviour]]] = {
        **DrawerGrasp.behaviours,
        "close_top_drawer": CloseTopDrawer,
        "close_then_open": CloseThenOpen,
        "move_blocker": MoveBlocker,
        "move_blocker_then_open": MoveBlockerThenOpen,
    }
    state_size = PROPRIO_SIZE + 3 + 4 + 1 + 3 + 3 + 1 + 3 + 1

    def furnish(self, start: str, thing: Thing, rng: np.random.Generator) -> np.ndarray:
        chosen, client = STARTS[start], self._client
        openings = [float(rng.uniform(*chosen.opening)), float(rng.uniform(*chosen.top_opening))]
        gripper = self.workspace.neutral + draw(chosen.gripper, rng)
        shift = draw(chosen.cabinet, rng)
        if chosen.shifted:
            shift = outside(shift, chosen.cabinet)
            shift[0] = abs(shift[0])  # away from the tray, with which an open drawer would collide
        yaw = float(rng.uniform(*chosen.cabinet_yaw))
        if self.physics.apart:  # so far from the tray that the drawer passes it
            room = TRAY_POSITION[0] + TRAY_HALF + APART - leftmost(yaw, DRAWER_TRAVEL)
            shift[0] = max(shift[0], room - CABINET_POSITION[0])
        cabinet = Cabinet(
            client, CABINET_URDF, CABINET_POSITION + np.append(shift, 0.0), yaw, DRAWER_TRAVEL, openings
        )
        self.cabinet = cabinet
        client.load(scene.ASSETS / "wide_tray.urdf", TRAY_POSITION, fixed=True)
        across, along = draw(chosen.object, rng)
        turn = float(rng.uniform(*chosen.object_yaw))
        if self.physics.apart:
            across, along = in_drawer(np.array([across, along]), thing, turn)
        else:
            along = min(along, FRONT_WALL - thing.size[1] / 2)
        place = DRAWER_CENTRE + np.array([across, along, DRAWER_FLOOR + thing.height / 2])
        self.object = load_object(client, thing, cabinet.in_world(place), yaw + turn)
        blocking = cabinet.in_world(BLOCKING + np.append(draw(chosen.blocker, rng), 0.0))
        offset = draw(chosen.aside, rng)
        if self.physics.apart:
            bounds = np.array([high for _, high in chosen.aside])
            offset = squeezed(offset, bounds, TRAY_INSIDE - turned_extents(*BLOCKER_BASE, yaw))
        aside = TRAY_POSITION + np.append(offset, TRAY_FLOOR)
        place = blocking if chosen.blocked else aside
        self.blocker = client.load(scene.ASSETS / "blocker.urdf", place, yaw)
        return gripper

    def tray_position(self) -> np.ndarray:
        """Middle of the tray, (3,) m."""
        return TRAY_POSITION

    def blocker_position(self) -> np.ndarray:
        """Centre of mass of the blocker, (3,) m."""
        return self._client.position(self.blocker)

    def signals(self) -> dict[str, float]:
        blocker = self.blocker_position()
        gap = self.cabinet.in_world(HANDLE_GAP)
        return super().signals() | {
            "top_drawer_opening": self.cabinet.opening(TOP),
            "blocker_gap_distance": length((blocker - gap)[:2]),
            "blocker_gripper_distance": length(blocker - self.gripper_position()),
            "blocker_height": float(blocker[2]),
        }

    def state(self) -> list[Any]:
        position, quaternion = self._client.pose(self.blocker)
        _, _, up = np.array(self._client.api.getMatrixFromQuaternion(quaternion.tolist())).reshape(3, 3)
        return [*super().state(), [self.cabinet.opening(TOP)], position, [up[2] * BLOCKER_HEIGHT]]


class DoubleDrawerV1(DoubleDrawer):
    """The same with the physics of version 1."""

    physics = V1
    stages = (*DoubleDrawer.stages, LOST)
