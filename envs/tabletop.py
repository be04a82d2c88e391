"""The base of every scene: a WidowX-250 at a table, seen by one camera or two, as a Gymnasium environment."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from cog.envs import scene
from cog.envs.arm import Arm
from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.grasp import Grasp
from cog.envs.behaviours.wander import Wander
from cog.envs.bullet import Client, OneWorld
from cog.envs.objects import OBJECT_SETS, Thing
from cog.envs.physics.settings import V0, Physics
from cog.envs.randomise import RANDOMISATIONS, randomise_camera, randomise_friction, randomise_lighting
from cog.errors import UsageError
from cog.signals.predicates import object_lost
from cog.signals.stages import Stage

PROPRIO_SIZE = 8
ACTION_SIZE = 8
WRIST = "wrist"  # name of the wrist camera's pictures


class Tabletop(OneWorld, gymnasium.Env[dict[str, np.ndarray], np.ndarray], ABC):
    """Base of all scenes.

    Action (8,) in [-1, 1]: Δx, Δy, Δz (`scene.POSITION_SCALE` m per unit), Δroll, Δpitch, Δyaw
    (`scene.ROTATION_SCALE` rad per unit), gripper (> 0.5 opens, < -0.5 closes, else no change), neutral
    (> 0.5 returns the arm to its neutral pose; the gripper stays as it is, so a held object stays held).

    Observation: `image` (H, W, 3) uint8 and `proprio` (8,) float32: gripper centre relative to neutral (m),
    rotation relative to pointing down (rad), finger opening (0 to 1), gripper command (1 open, 0 closed).
    With `wrist`, also `wrist` (H, W, 3) uint8, from a camera that is fixed beside the fingers and moves and
    turns with the gripper. It has the scene's light; `randomise="camera"` leaves it where it is mounted.
    With `observation="state"`: `state` float32, the proprio values, then the values that the scene appends.

    Reward: 1 on a step that ends in success, else 0. With `terminate_on_success` the episode ends there;
    otherwise the reward persists as long as the success, and the episode does not terminate. From version 1
    on an object that has left the table ends the episode, which has then failed for good, without reward.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    physics: ClassVar[Physics] = V0
    """What the scene's version simulates, and how."""
    workspace: ClassVar[scene.Workspace]
    """Workspace of the gripper."""
    camera: ClassVar[scene.Camera]
    """Camera of the scene."""
    starts: ClassVar[tuple[str, ...]]
    """Names of the distributions of initial states; the first is the default."""
    signal_names: ClassVar[tuple[str, ...]]
    """Names of the values of `signals`."""
    stages: ClassVar[Sequence[Stage]]
    """Failure stages, see `cog.signals.stages`, with predicates of `cog.signals.predicates`."""
    behaviours: ClassVar[Mapping[str, type[Behaviour]]] = {"grasp": Grasp, "wander": Wander}
    """Name -> scripted policy that can act here."""
    state_size: ClassVar[int]
    """Length of the state observation."""
    object: int
    """PyBullet's id of the object."""

    def __init__(
        self,
        start: str | None = None,
        observation: Literal["image", "state"] = "image",
        image_size: int = 48,
        terminate_on_success: bool = True,
        render_mode: str | None = "rgb_array",
        render_size: int = 384,
        objects: str = "cube",
        randomise: str | tuple[str, ...] = (),
        wrist: bool = False,
    ) -> None:
        """`objects` names a set of `cog.envs.objects`, `randomise` any of `cog.envs.randomise`.

        Raises:
            UsageError: an option has an unknown value.
        """
        if observation not in ("image", "state"):
            raise UsageError(f"observation {observation!r} is unknown", remedy="choose 'image' or 'state'")
        for name, size in (("image_size", image_size), ("render_size", render_size)):
            if not isinstance(size, Integral) or size < 8:
                raise UsageError(f"{name} is {size!r}; it must be a whole number of pixels, at least 8")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise UsageError(f"render_mode {render_mode!r} is unknown", remedy="choose 'rgb_array' or None")
        if objects not in OBJECT_SETS:
            raise UsageError(
                f"objects {objects!r} is unknown", remedy=f"choose one of: {', '.join(OBJECT_SETS)}"
            )
        randomise = (randomise,) if isinstance(randomise, str) else tuple(randomise)
        if unknown := set(randomise) - set(RANDOMISATIONS):
            known = ", ".join(RANDOMISATIONS)
            raise UsageError(f"randomise {sorted(unknown)[0]!r} is unknown", remedy=f"choose from: {known}")
        if not isinstance(wrist, bool):
            raise UsageError(f"wrist is {wrist!r}", remedy="make it true or false")
        if wrist and observation != "image":
            raise UsageError(
                f"wrist is true, but observation={observation!r} shows no pictures",
                remedy="observe images, or leave wrist out",
            )
        self._start = self._checked(self.starts[0] if start is None else start)
        self._observation = observation
        self._image_size = image_size
        self._render_size = render_size
        self._objects = OBJECT_SETS[objects]
        self._randomise = randomise
        self._wrist = wrist
        self.terminate_on_success = terminate_on_success
        rate = round(1 / (self.physics.substeps * scene.TIME_STEP))
        self.metadata = {**self.metadata, "render_fps": rate}
        self.render_mode = render_mode
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self.observation_space = self._space()
        self._client = Client(self.camera, self.physics)
        self._client.rebuild()
        self.arm = Arm(self._client, self.workspace, self.physics)
        self._neutral = self.arm.neutral_angles()
        self._pose = self.arm.pose()
        self._finger_opening = self.arm.opening()
        self._clipped = 0
        self._began = False  # whether there has been a reset

    # --- What a scene defines --------------------------------------------------------------------

    @abstractmethod
    def furnish(self, start: str, thing: Thing, rng: np.random.Generator) -> np.ndarray:
        """Draw an initial state, load furniture and `self.object`; return the gripper's position (3,) m.

        All random numbers come from `rng`; the world already contains the arm and the table.
        """

    @abstractmethod
    def object_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (3,) m of the region where an object to grasp may be now."""

    @abstractmethod
    def signals(self) -> dict[str, float]:
        """Named scalars of the simulator's state, from which rewards can be computed later."""

    @abstractmethod
    def success(self, signals: Mapping[str, float]) -> bool:
        """Whether the scene's task is solved: a predicate of `cog.signals.predicates` at one frame."""

    @abstractmethod
    def state(self) -> list[Any]:
        """Values of the state observation after the proprio values."""

    def arrange(self) -> None:
        """Called once the arm is in place; does nothing unless a scene overrides it."""

    def look(self) -> None:
        """Read the state from which signals, observations and the next action are computed, once a step."""
        self._pose = self.arm.pose()
        self._finger_opening = self.arm.opening()

    # --- Gymnasium -------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Draw an initial state from the start; `seed` alone determines it, bit for bit.

        `options={"start": name}` uses another start for this episode only.

        Raises:
            UsageError: there is no such start or option, or the environment is closed; all is as it was.
        """
        start = self._chosen(options)
        self._refuse_closed()
        super().reset(seed=seed)
        self.start = start
        self._build()
        self._began = True
        self._clipped = 0
        signals = self.signals()
        return self._observe(), self._info(signals)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Apply an action (8,) for `physics.substeps` substeps.

        Raises:
            UsageError: the action has another shape or is not finite, there was no reset, or the environment
                is closed; the simulator has not moved.
        """
        self._refuse_idle("stepped")
        command = self._checked_action(action)
        position, rotation = self._pose
        goal = self.arm.goal(
            position + scene.POSITION_SCALE * command[:3], rotation + scene.ROTATION_SCALE * command[3:6]
        )
        changes = abs(command[6]) > scene.SWITCH and self.arm.grip(bool(command[6] > 0))
        self.arm.travel(goal, self.physics.substeps, scene.GRIPPER_SUBSTEPS if changes else 0)
        if command[7] > scene.SWITCH:
            self.arm.travel(self._neutral, scene.NEUTRAL_SUBSTEPS)
        self.look()
        signals = self.signals()
        info = self._info(signals)
        terminated = bool(info["success"] and self.terminate_on_success) or self._has_lost(signals)
        return self._observe(), float(info["success"]), terminated, False, info

    def render(self) -> np.ndarray:
        """An image for people, (render_size, render_size, 3) uint8, not the policy's observation.

        Raises:
            UsageError: there was no reset, or the environment is closed or was built without pictures.
        """
        if self.render_mode is None:
            raise UsageError("nothing is drawn with render_mode=None", remedy="build it with 'rgb_array'")
        self._refuse_idle("drawn")
        return self._client.image(self._render_size, self._render_size)

    def close(self) -> None:
        """Disconnect from the simulator; a second call does nothing."""
        self._client.close()

    # --- State for behaviours and signals --------------------------------------------------------

    def gripper_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre of the gripper (3,) m and its rotation relative to pointing down (3,) rad."""
        position, rotation = self._pose
        return position.copy(), rotation.copy()

    def gripper_position(self) -> np.ndarray:
        """Centre of the gripper, (3,) m."""
        return self._pose[0].copy()

    def object_position(self) -> np.ndarray:
        """Centre of the object, (3,) m."""
        return self._client.position(self.object)

    def grip_place(self) -> np.ndarray:
        """Where to close the fingers on the object, (3,) m."""
        return self.object_position()

    def overlap(self) -> float:
        """How deep the two bodies that overlap most lie in each other, m."""
        return self._client.overlap()

    def finger_opening(self) -> float:
        """Opening of the fingers, from 0 (closed) to 1 (open)."""
        return self._finger_opening

    # --- Parts of a step -------------------------------------------------------------------------

    def _checked(self, start: str) -> str:
        if start not in self.starts:
            raise UsageError(f"start {start!r} is unknown", remedy=f"choose one of: {', '.join(self.starts)}")
        return start

    def _chosen(self, options: Any) -> str:
        """The start that options of `reset` choose."""
        if not isinstance(options, Mapping | None):
            raise UsageError(f"options are {options!r}", remedy='pass a dict, such as {"start": name}')
        if unknown := [name for name in options or {} if name != "start"]:
            raise UsageError(f"option {unknown[0]!r} is unknown", remedy="the only one is 'start'")
        return self._checked((options or {}).get("start", self._start))

    def _refuse_closed(self) -> None:
        if not self._client.api.is_open:
            raise UsageError("this environment is closed", remedy="build it again")

    def _refuse_idle(self, done: str) -> None:
        """Refuse an environment with no episode in it."""
        self._refuse_closed()
        if not self._began:
            raise UsageError(f"an environment is {done} after a reset", remedy="call reset first")

    def _has_lost(self, signals: Mapping[str, float]) -> bool:
        """Whether the episode has failed for good: nothing brings a lost object back."""
        return self.physics.losses_end and bool(object_lost(signals))

    def _space(self) -> spaces.Space[dict[str, np.ndarray]]:
        def numbers(size: int) -> spaces.Box:
            return spaces.Box(-np.inf, np.inf, (size,), np.float32)

        if self._observation == "state":
            return cast("spaces.Space[dict[str, np.ndarray]]", spaces.Dict(state=numbers(self.state_size)))
        pixels = spaces.Box(0, 255, (self._image_size, self._image_size, 3), np.uint8)
        shown: dict[str, spaces.Space[Any]] = {"image": pixels, "proprio": numbers(PROPRIO_SIZE)}
        if self._wrist:
            shown[WRIST] = spaces.Box(0, 255, pixels.shape, np.uint8)
        return cast("spaces.Space[dict[str, np.ndarray]]", spaces.Dict(shown))

    def _checked_action(self, action: np.ndarray) -> np.ndarray:
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

    def _build(self) -> None:
        client = self._client
        client.rebuild()
        self.arm = Arm(client, self.workspace, self.physics)
        client.load(scene.ASSETS / "table.urdf", fixed=True)
        # Object and randomisations are drawn from a child generator, so that they do not change the layout.
        child = self.np_random.spawn(1)[0]
        thing = self._objects[int(child.integers(len(self._objects)))]
        gripper = self.furnish(self.start, thing, self.np_random)
        self.object_name = thing.name
        for name, apply in (("lighting", randomise_lighting), ("camera", randomise_camera)):
            if name in self._randomise:
                apply(client, self.camera, child)
        if "friction" in self._randomise:
            randomise_friction(client, self.object, child)
        self.arm.place(gripper)
        self.arrange()
        client.step(scene.SETTLE_SUBSTEPS)
        self.look()

    def _proprio(self) -> np.ndarray:
        position, rotation = self._pose
        relative = position - self.workspace.neutral
        return np.concatenate([relative, rotation, [self._finger_opening, float(self.arm.is_open)]])

    def _observe(self) -> dict[str, np.ndarray]:
        proprio = self._proprio().astype(np.float32)
        if self._observation == "image":
            size = self._image_size
            seen = {"image": self._client.image(size, size), "proprio": proprio}
            if self._wrist:
                seen[WRIST] = self._client.image(size, size, self.arm.wrist_camera())
            return seen
        return {"state": np.concatenate([proprio, *self.state()]).astype(np.float32)}

    def _info(self, signals: dict[str, float]) -> dict[str, Any]:
        return {
            "signals": signals,
            "success": self.success(signals),
            "clipped": self._clipped,
            "start": self.start,
            "object": self.object_name,
        }


def length(offset: np.ndarray) -> float:
    """Length of an offset, m."""
    return math.sqrt(offset @ offset)
