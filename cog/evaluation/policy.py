"""A trained policy, which maps batches of images and poses to actions."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cog.algorithms import algorithm
from cog.core.options import usable_path
from cog.datasets.action_scale import ActionScale
from cog.datasets.robot_interface import KEY, Colour, RobotInterface
from cog.errors import CogError
from cog.evaluation.exported import Exported, is_exported, read_exported, write_exported
from cog.evaluation.memory import Memory
from cog.evaluation.robot import Pictures, Pose, RobotSide
from cog.networks.actor import PolicyNetwork
from cog.networks.critic import Critic
from cog.networks.encoder import Images, ObservationShape, by_camera, channels_first
from cog.training.checkpoint import load
from cog.training.device import named_device

Seen = np.ndarray | Mapping[str, np.ndarray]
"""Images (B, H, W, C) uint8 of the only camera, or of each camera by its name; C counts all frames seen."""


class Policy:
    """The averaged weights of a checkpoint; no augmentation, no simulator.

    A policy with a history takes the last K frames at once, in the order that `expects` prints. `act_robot`
    remembers them itself, those of one robot; all other methods remember nothing.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        shape: ObservationShape,
        update: int,
        critic: Critic | None = None,
        origin: Exported | None = None,
    ) -> None:
        """`origin` is what `export` writes; a policy without it can act but not be exported."""
        self._robot: RobotSide | None = None
        self._memory: Memory | None = None  # of the running episode of `act_robot`
        self._acted: np.ndarray | None = None  # (A,) its last action, in [-1, 1]
        self.network = network.eval().requires_grad_(False)
        self.origin = origin
        self.critic = None if critic is None else critic.eval().requires_grad_(False)
        self.shape = shape
        self.update = update

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu", critics: bool = False) -> "Policy":
        """The policy of a run folder (its latest checkpoint), a checkpoint folder or an exported policy.

        `critics` loads the target critics, too, which are averaged over updates like the policy's weights.

        Raises:
            CogError: the checkpoint is missing or damaged, lacks the requested critics, or has weights
                that do not fit or are not finite; or there is no such device.
        """
        named_device(device)
        path = usable_path(path)
        if is_exported(path):
            return cls._exported(path, device, critics)
        checkpoint = load(path)
        name = checkpoint.config.algorithm.name
        kind = algorithm(name)
        built = (checkpoint.shape, checkpoint.action_dimensions, checkpoint.config.network)
        network = kind.build_policy(*built, checkpoint.config.algorithm)
        tensors = checkpoint.tensors("model")
        network.load_state_dict(_part(tensors, "average."))  # `load` has compared and checked them
        critic = None
        if critics:
            if kind.choosing_critics is None:
                raise CogError(
                    f"trained with algorithm '{name}', without critics to choose among candidates",
                    where=checkpoint.folder,
                    remedy="let it act by mode or sample",
                )
            critic = kind.build_critics(*built)
            critic.load_state_dict(_part(tensors, f"{kind.choosing_critics}."))
            critic.to(device)
        held = checkpoint.scene.get(KEY)
        interface = None if held is None else RobotInterface.from_json(held)
        settings = checkpoint.config.algorithm
        origin = Exported(network.to(device), settings, *built, checkpoint.update, interface)
        return cls(network, checkpoint.shape, checkpoint.update, critic, origin)

    @classmethod
    def _exported(cls, folder: Path, device: str, critics: bool) -> "Policy":
        if critics:
            raise CogError(
                "is an exported policy, without critics", where=folder, remedy="let it act by mode or sample"
            )
        origin = read_exported(folder)
        return cls(origin.network.to(device), origin.shape, origin.update, origin=origin)

    def export(self, folder: Path | str) -> None:
        """Write the policy, without critics and training state, to a new folder that `load` reads.

        Raises:
            CogError: the folder is not empty or cannot be written, or this policy was not loaded.
        """
        if self.origin is None:
            raise CogError(
                "this policy was not loaded from a run", remedy="save a checkpoint and load it to export it"
            )
        write_exported(usable_path(folder), self.origin)

    @property
    def action_scale(self) -> ActionScale | None:
        """The map from the actions of `act` to the robot's; None if there is none, or it is not recorded."""
        return self.expects.known.scale

    @property
    def expects(self) -> RobotSide:
        """What `act_robot` takes and returns, to be printed; `.known` has the names, bounds and rate."""
        if self._robot is None:
            interface = None if self.origin is None else self.origin.interface
            actions = 0 if self.origin is None else self.origin.actions
            self._robot = RobotSide(interface, self.shape, actions, self.network.uses_proprio)
        return self._robot

    def reset(self) -> None:
        """Begin an episode: `act_robot` forgets what it saw. Without a history there is nothing to forget."""
        self._memory = Memory(1, self.shape.history)
        self._acted = None

    def act_robot(
        self,
        images: Pictures | None = None,
        pose: Pose | None = None,
        *,
        colour: Colour | None = None,
        noise: np.ndarray | None = None,
    ) -> np.ndarray:
        """The action (A,) float64, in the robot's units, for one raw observation; `expects` says which.

        A policy with a history remembers the observations and its own actions since the last `reset`; warns
        once if that was never called.

        Args:
            images: the camera's picture (H, W, 3) uint8, or pictures by the cameras' names, which several
                cameras need; of any size, where the data say how theirs were resized. Other cameras are not
                looked at.
            pose: the pose or state (P,), or its parts by name. Other parts are not looked at.
            colour: order of the picture's channels; "bgr" is OpenCV's. Default: that of the pictures from
                which the data were made.
            noise: standard normal numbers, (D,) for a draw or (K, D) for the critics' choice among K draws.
                Default: the mode.

        Raises:
            CogError: something is missing, has another name, type or shape, or is not finite.
        """
        pictures, vector = self.expects.inputs(images, pose, colour)
        memory = self._remembered(pictures, vector)
        if memory is not None:
            pictures, vector = memory.images or None, memory.poses
        if noise is not None:
            noise = _real(noise, "the noise")
        if noise is not None and noise.ndim == 2:
            action = self.choose(pictures, vector, noise[None])[0]
        else:
            action = self.act(pictures, vector, None if noise is None else noise[None])[0]
        self._memory, self._acted = memory, action  # only now: an action that failed was not taken
        return self.expects.outputs(action)

    def _remembered(self, images: Mapping[str, np.ndarray] | None, pose: np.ndarray | None) -> Memory | None:
        """The memory with one more frame (1, H, W, C) by camera and pose (1, P); None without a history."""
        if self.shape.history is None:
            return None
        if self._memory is None:
            self.expects.warn_unreset()
            self.reset()
        assert self._memory is not None
        memory = self._memory.copy()
        shown = {name: picture[0] for name, picture in (images or {}).items()}
        memory.see(0, shown, None if pose is None else pose[0], self._acted)
        return memory

    @property
    def noise_dimensions(self) -> int:
        """D: standard normal numbers that pick one draw."""
        return self.network.noise_dimensions

    @torch.no_grad()
    def act(
        self, images: Seen | None, proprio: np.ndarray | None, noise: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions (B, A) in [-1, 1] for images (B, H, W, C) uint8 and poses (B, P); either may be unused.

        With a history, C counts the channels and P the numbers of all its frames: `expects` says how.
        Images of several cameras come by their names; others are not looked at.

        They are the modes of the policy or, given standard normal `noise` (B, D) float32, draws from it; D is
        `noise_dimensions`.

        Raises:
            CogError: shapes that the policy was not trained for, or numbers that are not finite.
        """
        pictures, poses = self._inputs(images, proprio)
        policy = self.network(pictures, poses)
        if noise is None:
            return _finite(policy.mode(), "the policy's actions")
        rows = len(poses if pictures is None else by_camera(pictures)[0])  # type: ignore[arg-type]
        return _finite(policy.drawn(self._noise(noise, (rows,))[:, None])[:, 0], "the policy's actions")

    @torch.no_grad()
    def choose(self, images: Seen | None, proprio: np.ndarray | None, noise: np.ndarray) -> np.ndarray:
        """The action (B, A) with the largest min_k Q_k, among the mode and draws by `noise` (B, K, D).

        A mode between two alternatives, such as opening and closing the gripper, may be worse than both; the
        critics decide between them.

        Raises:
            CogError: as for `act`, or no critics loaded.
        """
        if self.critic is None:
            raise CogError("this policy was loaded without critics", remedy="load it with critics=True")
        pictures, poses = self._inputs(images, proprio)
        rows = len(poses if pictures is None else by_camera(pictures)[0])  # type: ignore[arg-type]
        draws = self._noise(noise, (rows, np.shape(noise)[1] if np.ndim(noise) == 3 else 1))
        return _finite(chosen(self.network, self.critic, pictures, poses, draws), "the policy's actions")

    @torch.no_grad()
    def value(self, images: Seen | None, proprio: np.ndarray | None, actions: np.ndarray) -> np.ndarray:
        """min_k Q_k(s, a) of actions (B, A), (B,) float32: the return that the critics predict.

        Raises:
            CogError: as for `act`, or no critics loaded.
        """
        if self.critic is None:
            raise CogError("this policy was loaded without critics", remedy="load it with critics=True")
        actions = _real(actions, "the actions")
        wanted = (None if self.origin is None else self.origin.actions) or actions.shape[-1]
        if np.ndim(actions) != 2 or np.shape(actions)[1] != wanted:
            raise CogError(f"the critics need actions (B, {wanted}), got shape {np.shape(actions)}")
        states = self.critic.project(self.critic.encode(*self._inputs(images, proprio)))
        taken = torch.from_numpy(np.asarray(actions, np.float32)).to(states.device)[:, None]
        return _finite(self.critic.q(states, taken)[..., 0].amin(0), "the critics' values")

    def _noise(self, noise: np.ndarray, rows: tuple[int, ...]) -> Tensor:
        wanted, noise = (*rows, self.noise_dimensions), _real(noise, "the noise")
        if np.shape(noise) != wanted or not np.isfinite(noise).all():
            found = f"shape {np.shape(noise)}" if np.shape(noise) != wanted else "numbers that are not finite"
            raise CogError(f"the policy needs noise of shape {wanted}, standard normal, got {found}")
        return torch.from_numpy(np.asarray(noise, np.float32)).to(next(self.network.parameters()).device)

    def _inputs(self, images: Seen | None, proprio: np.ndarray | None) -> tuple[Images | None, Tensor | None]:
        device = next(self.network.parameters()).device
        pictures: Images | None = None
        poses = None
        if self.shape.image is not None:
            given = images if isinstance(images, Mapping) else {self.shape.first: images}
            pictures = channels_first(
                [
                    torch.from_numpy(_fitting(given.get(name), name, size, self.shape)).to(device)
                    for name, size in self.shape.pictures().items()
                ]
            )
        if self.network.uses_proprio:
            proprio = None if proprio is None else _real(proprio, "the poses")
            if proprio is None or proprio.shape[1:] != (self.shape.proprio,):
                found = "none" if proprio is None else str(proprio.shape)
                wanted = f"the policy needs poses (B, {self.shape.proprio})"
                raise CogError(f"{wanted}, got {found}", remedy=_stack(self.shape))
            with np.errstate(over="ignore"):
                vectors = np.asarray(proprio, np.float32)
            if len(broken := np.flatnonzero(~np.isfinite(vectors).all(1))):
                row = vectors[broken[0]].tolist()
                raise CogError(f"the pose in row {broken[0]} is not finite in float32: {row}")
            poses = torch.from_numpy(vectors).to(device)
        rows = [len(one) for one in (() if pictures is None else by_camera(pictures))]
        rows += [] if poses is None else [len(poses)]
        if 0 in rows:
            raise CogError("the policy got no observation; give at least one row")
        if len(set(rows)) > 1:
            listed = " and ".join(str(count) for count in rows[: len(rows) - (poses is not None)])
            other = "" if poses is None else f" and {len(poses)} poses"
            raise CogError(f"the policy got {listed} images{other}; give one of each a row")
        return pictures, poses


def chosen(
    network: PolicyNetwork, critic: Critic, images: Images | None, poses: Tensor | None, noise: Tensor
) -> Tensor:
    """The action (B, A) with the largest min_k Q_k, among the mode and draws by `noise` (B, K, D)."""
    policy = network(images, poses)
    actions = torch.cat([policy.mode()[:, None], policy.drawn(noise)], 1)
    q = critic.q(critic.project(critic.encode(images, poses)), actions).amin(0)
    return actions[torch.arange(len(actions), device=actions.device), q.argmax(1)]


def _fitting(images: object, name: str, size: tuple[int, int, int], shape: ObservationShape) -> np.ndarray:
    """The images of a camera, if they are of its size.

    Raises:
        CogError: they are missing, or of another type or shape.
    """
    camera = f" of camera '{name}'" if len(shape.pictures()) > 1 else ""
    found = None if images is None else _real(images, f"the images{camera}")
    if found is None or found.dtype != np.uint8 or found.shape[1:] != size:
        told = "none" if found is None else f"{found.dtype} {found.shape}"
        raise CogError(f"the policy needs images{camera} uint8 (B, {size}), got {told}", remedy=_stack(shape))
    return np.ascontiguousarray(found)


def _stack(shape: ObservationShape) -> str:
    """How an observation of one frame becomes one of several; empty if one is all that is seen."""
    several = "stack {} frames in the order that policy.expects prints, or let act_robot remember them"
    return "" if shape.history is None else several.format(shape.history.frames)


def _real(given: object, what: str) -> np.ndarray:
    """What a caller gave, as an array of real numbers.

    Raises:
        CogError: it is none.
    """
    try:
        found = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CogError(f"{what} are no array ({' '.join(str(error).split())})") from error
    if found.dtype.kind not in "fiub":
        raise CogError(f"{what} must be real numbers, found type {found.dtype}")
    return found


def _finite(values: Tensor, what: str) -> np.ndarray:
    """Outputs as an array, unless one of them is not finite, which no robot should be sent.

    Raises:
        CogError: naming the row.
    """
    array: np.ndarray = values.cpu().numpy()
    broken = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))
    if len(broken):
        raise CogError(
            f"{what} in row {broken[0]} are not finite: {array[broken[0]].tolist()}",
            remedy="check that the observation lies near the data's, or take another checkpoint",
        )
    return array


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
