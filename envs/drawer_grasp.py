"""The drawer-and-grasp environment: take the object out of a drawer that starts open or closed."""

import math
from typing import Any, ClassVar, Literal, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from cog.envs import scene
from cog.envs.arm import Arm
from cog.envs.bullet import Client
from cog.errors import UsageError

PROPRIO_SIZE = 8
STATE_SIZE = PROPRIO_SIZE + 3 + 4 + 1 + 3 + 3
ACTION_SIZE = 8
SLIDE_JOINT = 0
SETTLE_SUBSTEPS = 12  # the object falls the last fraction of a millimetre


class DrawerGrasp(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A WidowX-250 before a cabinet with one drawer that holds a cube.

    Action (8,) in [-1, 1]: Δx, Δy, Δz (`scene.POSITION_SCALE` m per unit), Δroll, Δpitch, Δyaw
    (`scene.ROTATION_SCALE` rad per unit), gripper (> 0.5 opens, < -0.5 closes, else as it is), neutral
    (> 0.5 returns the arm to its neutral pose; the gripper stays as it is, so a held object stays held).

    Observation: `image` (H, W, 3) uint8 and `proprio` (8,) float32: gripper centre relative to neutral (m),
    rotation away from pointing down (rad), finger opening (0 to 1), gripper command (1 open, 0 closed).
    With `observation="state"`: `state` (22,) float32, the proprio values, object position (m) and quaternion,
    drawer opening, handle position (m), cabinet position and heading.

    Reward: 1 on a step that ends in success, else 0. Success: `object_height` > 0.10 m and
    `object_gripper_distance` < 0.06 m (`scene.SUCCESS_HEIGHT`, `scene.SUCCESS_DISTANCE`). With
    `terminate_on_success` the episode ends there; without, the reward persists for as long as the object is
    held and the episode never terminates.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 24}  # noqa: RUF012
    starts: ClassVar[tuple[str, ...]] = tuple(scene.STARTS)
    signal_names: ClassVar[tuple[str, ...]] = (
        "object_height",
        "object_gripper_distance",
        "drawer_opening",
        "handle_gripper_distance",
        "gripper_opening",
        "gripper_height",
        "object_drawer_distance",
    )

    def __init__(
        self,
        start: str = "open",
        observation: Literal["image", "state"] = "image",
        image_size: int = 48,
        terminate_on_success: bool = True,
        render_mode: str | None = "rgb_array",
        render_size: int = 384,
    ) -> None:
        if observation not in ("image", "state"):
            raise UsageError(f"observation {observation!r} is unknown; choose 'image' or 'state'")
        if image_size < 8 or render_size < 8:
            raise UsageError("image_size and render_size must be at least 8 pixels")
        self._start = self._checked(start)
        self._observation = observation
        self._image_size = image_size
        self._render_size = render_size
        self.terminate_on_success = terminate_on_success
        self.render_mode = render_mode
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self.observation_space = self._space()
        self._client = Client()
        self._client.rebuild()
        self.arm = Arm(self._client)
        self._neutral = self.arm.neutral_angles()
        self._pose = self.arm.pose()
        self._finger_opening = self.arm.opening()
        self._travel = 0.0  # how far the drawer is out, m
        self._clipped = 0

    # --- Gymnasium -------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Draw an initial state from the start; `seed` alone fixes the episode bit for bit.

        `options={"start": name}` uses another start for this episode only.
        """
        super().reset(seed=seed)
        self.start = self._checked((options or {}).get("start", self._start))
        layout = scene.draw_layout(scene.STARTS[self.start], self.np_random)
        self._build(layout)
        self._clipped = 0
        signals = self.signals()
        return self._observe(), self._info(signals)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Apply an action (8,) for `scene.SUBSTEPS` substeps.

        Raises:
            UsageError: the action has another shape, NaN or infinity; the simulator has not moved.
        """
        command = self._admit(action)
        position, rotation = self._pose
        self.arm.move(
            position + scene.POSITION_SCALE * command[:3], rotation + scene.ROTATION_SCALE * command[3:6]
        )
        substeps = scene.SUBSTEPS
        if abs(command[6]) > scene.SWITCH and self.arm.grip(bool(command[6] > 0)):
            substeps += scene.GRIPPER_SUBSTEPS
        self._client.step(substeps)
        if command[7] > scene.SWITCH:
            self.arm.drive_to(self._neutral)
            self._client.step(scene.NEUTRAL_SUBSTEPS)
        self._look()
        signals = self.signals()
        info = self._info(signals)
        terminated = bool(info["success"] and self.terminate_on_success)
        return self._observe(), float(info["success"]), terminated, False, info

    def render(self) -> np.ndarray:
        """The scene for people, (render_size, render_size, 3) uint8; never what the policy sees."""
        return self._client.image(self._render_size, self._render_size)

    def close(self) -> None:
        """Disconnect from the simulator; may be called twice."""
        self._client.close()

    # --- What behaviours and signals are computed from -------------------------------------------

    def object_position(self) -> np.ndarray:
        """Centre of the object, (3,) m."""
        return np.array(self._client.api.getBasePositionAndOrientation(self._object)[0])

    def drawer_opening(self) -> float:
        """Opening of the drawer as a fraction of its travel."""
        return min(max(self._travel / scene.DRAWER_TRAVEL, 0.0), 1.0)

    def in_world(self, point: np.ndarray) -> np.ndarray:
        """A point (3,) of the drawer's frame, in the world's."""
        shifted = point + np.array([0.0, self._travel, 0.0])
        return self._cabinet_position + self._cabinet_axes @ shifted

    def pull_direction(self) -> np.ndarray:
        """Unit vector (3,) along which the drawer opens."""
        return self._cabinet_axes[:, 1]

    def signals(self) -> dict[str, float]:
        """Named scalars of the simulator's state, from which any reward can be computed later."""
        gripper, _ = self._pose
        thing = self.object_position()
        handle = self.in_world(scene.HANDLE_GAP)
        tray = self.in_world(scene.DRAWER_CENTRE)
        return {
            "object_height": float(thing[2]),
            "object_gripper_distance": _length(thing - gripper),
            "drawer_opening": self.drawer_opening(),
            "handle_gripper_distance": _length(handle - gripper),
            "gripper_opening": self._finger_opening,
            "gripper_height": float(gripper[2]),
            "object_drawer_distance": _length((thing - tray)[:2]),
        }

    # --- Parts of a step -------------------------------------------------------------------------

    def _checked(self, start: str) -> str:
        if start not in scene.STARTS:
            raise UsageError(f"start {start!r} is unknown; this environment has: {', '.join(scene.STARTS)}")
        return start

    def _space(self) -> spaces.Space[dict[str, np.ndarray]]:
        def numbers(size: int) -> spaces.Box:
            return spaces.Box(-np.inf, np.inf, (size,), np.float32)

        if self._observation == "state":
            return cast("spaces.Space[dict[str, np.ndarray]]", spaces.Dict(state=numbers(STATE_SIZE)))
        pixels = spaces.Box(0, 255, (self._image_size, self._image_size, 3), np.uint8)
        space = spaces.Dict(image=pixels, proprio=numbers(PROPRIO_SIZE))
        return cast("spaces.Space[dict[str, np.ndarray]]", space)

    def _admit(self, action: np.ndarray) -> np.ndarray:
        command = np.asarray(action, dtype=np.float64)
        if command.shape != (ACTION_SIZE,):
            raise UsageError(f"an action has shape ({ACTION_SIZE},), got {command.shape}")
        size = np.abs(command)
        if size.max() <= 1.0:
            return command
        if not np.isfinite(command).all():
            raise UsageError(f"an action must be finite, got {command.tolist()}")
        self._clipped += int((size > 1.0).sum())
        return np.clip(command, -1.0, 1.0)

    def _build(self, layout: scene.Layout) -> None:
        client, api = self._client, self._client.api
        client.rebuild()
        self.arm = Arm(client)
        client.load(scene.ASSETS / "table.urdf", fixed=True)
        self._cabinet = client.load(
            scene.ASSETS / "cabinet.urdf", layout.cabinet, layout.cabinet_yaw, fixed=True
        )
        cos, sin = np.cos(layout.cabinet_yaw), np.sin(layout.cabinet_yaw)
        self._cabinet_position = layout.cabinet
        self._cabinet_yaw = layout.cabinet_yaw
        self._cabinet_axes = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        api.resetJointState(self._cabinet, SLIDE_JOINT, layout.opening * scene.DRAWER_TRAVEL)
        api.setJointMotorControl2(
            self._cabinet, SLIDE_JOINT, api.VELOCITY_CONTROL, targetVelocity=0.0, force=scene.DRAWER_FORCE
        )
        self._travel = layout.opening * scene.DRAWER_TRAVEL
        self._object = client.load(
            scene.ASSETS / "cube.urdf", self.in_world(layout.object), layout.cabinet_yaw + layout.object_yaw
        )
        self.arm.place(layout.gripper)
        client.step(SETTLE_SUBSTEPS)
        self._look()

    def _look(self) -> None:
        """Read once what signals, observations and the next action are computed from."""
        self._pose = self.arm.pose()
        self._finger_opening = self.arm.opening()
        self._travel = float(self._client.api.getJointState(self._cabinet, SLIDE_JOINT)[0])

    def _proprio(self) -> np.ndarray:
        position, rotation = self._pose
        relative = position - scene.NEUTRAL_POSITION
        return np.concatenate([relative, rotation, [self._finger_opening, float(self.arm.is_open)]])

    def _observe(self) -> dict[str, np.ndarray]:
        proprio = self._proprio().astype(np.float32)
        if self._observation == "image":
            image = self._client.image(self._image_size, self._image_size)
            return {"image": image, "proprio": proprio}
        position, quaternion = self._client.api.getBasePositionAndOrientation(self._object)
        place = np.append(self._cabinet_position[:2], self._cabinet_yaw)
        parts = [
            proprio,
            position,
            quaternion,
            [self.drawer_opening()],
            self.in_world(scene.HANDLE_GAP),
            place,
        ]
        return {"state": np.concatenate(parts).astype(np.float32)}

    def _info(self, signals: dict[str, float]) -> dict[str, Any]:
        lifted = signals["object_height"] > scene.SUCCESS_HEIGHT
        held = signals["object_gripper_distance"] < scene.SUCCESS_DISTANCE
        return {
            "signals": signals,
            "success": lifted and held,
            "clipped": self._clipped,
            "start": self.start,
        }


def _length(offset: np.ndarray) -> float:
    """Length of an offset, m."""
    return math.sqrt(offset @ offset)
