"""A trained policy, which maps batches of images and poses to actions."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cog.algorithms import algorithm
from cog.errors import CogError
from cog.evaluation.exported import Exported, is_exported, read_exported, write_exported
from cog.networks.actor import PolicyNetwork
from cog.networks.critic import Critic
from cog.networks.encoder import ObservationShape
from cog.training.checkpoint import load


class Policy:
    """The averaged weights of a checkpoint; no augmentation, no simulator."""

    def __init__(
        self,
        network: PolicyNetwork,
        shape: ObservationShape,
        update: int,
        critic: Critic | None = None,
        origin: Exported | None = None,
    ) -> None:
        """`origin` is what `export` writes; a policy without it can act but not be exported."""
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
            CogError: the checkpoint is missing or damaged, or lacks the requested critics.
        """
        if is_exported(Path(path)):
            return cls._exported(Path(path), device, critics)
        checkpoint = load(Path(path))
        name = checkpoint.config.algorithm.name
        kind = algorithm(name)
        built = (checkpoint.shape, checkpoint.action_dimensions, checkpoint.config.network)
        network = kind.build_policy(*built, checkpoint.config.algorithm)
        tensors = checkpoint.tensors("model")
        network.load_state_dict(_part(tensors, "average."))
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
        origin = Exported(network.to(device), checkpoint.config.algorithm, *built, checkpoint.update)
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
        write_exported(Path(folder), self.origin)

    @property
    def noise_dimensions(self) -> int:
        """D: standard normal numbers that pick one draw."""
        return self.network.noise_dimensions

    @torch.no_grad()
    def act(
        self, images: np.ndarray | None, proprio: np.ndarray | None, noise: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions (B, A) in [-1, 1] for images (B, H, W, C) uint8 and poses (B, P); either may be unused.

        They are the modes of the policy or, given standard normal `noise` (B, D) float32, draws from it; D is
        `noise_dimensions`.

        Raises:
            CogError: shapes that the policy was not trained for.
        """
        policy = self.network(*self._inputs(images, proprio))
        if noise is None:
            actions: np.ndarray = policy.mode().cpu().numpy()
            return actions
        drawn: np.ndarray = policy.drawn(self._noise(noise)[:, None])[:, 0].cpu().numpy()
        return drawn

    @torch.no_grad()
    def choose(self, images: np.ndarray | None, proprio: np.ndarray | None, noise: np.ndarray) -> np.ndarray:
        """The action (B, A) with the largest min_k Q_k, among the mode and draws by `noise` (B, K, D).

        A mode between two alternatives, such as opening and closing the gripper, may be worse than both; the
        critics decide between them.

        Raises:
            CogError: shapes that the policy was not trained for, or no critics loaded.
        """
        if self.critic is None:
            raise CogError("this policy was loaded without critics", remedy="load it with critics=True")
        pictures, poses = self._inputs(images, proprio)
        policy = self.network(pictures, poses)
        actions = torch.cat([policy.mode()[:, None], policy.drawn(self._noise(noise))], 1)
        q = self.critic.q(self.critic.project(self.critic.encode(pictures, poses)), actions).amin(0)
        best: np.ndarray = actions[torch.arange(len(actions)), q.argmax(1)].cpu().numpy()
        return best

    @torch.no_grad()
    def value(self, images: np.ndarray | None, proprio: np.ndarray | None, actions: np.ndarray) -> np.ndarray:
        """min_k Q_k(s, a) of actions (B, A), (B,) float32: the return that the critics predict.

        Raises:
            CogError: shapes that the policy was not trained for, or no critics loaded.
        """
        if self.critic is None:
            raise CogError("this policy was loaded without critics", remedy="load it with critics=True")
        states = self.critic.project(self.critic.encode(*self._inputs(images, proprio)))
        taken = torch.from_numpy(actions).to(states.device)[:, None]
        values: np.ndarray = self.critic.q(states, taken)[..., 0].amin(0).cpu().numpy()
        return values

    def _noise(self, noise: np.ndarray) -> Tensor:
        return torch.from_numpy(noise).to(next(self.network.parameters()).device)

    def _inputs(
        self, images: np.ndarray | None, proprio: np.ndarray | None
    ) -> tuple[Tensor | None, Tensor | None]:
        device = next(self.network.parameters()).device
        pictures = poses = None
        if self.shape.image is not None:
            if images is None or images.dtype != np.uint8 or images.shape[1:] != self.shape.image:
                found = "none" if images is None else f"{images.dtype} {images.shape}"
                raise CogError(f"the policy needs images uint8 (B, {self.shape.image}), got {found}")
            pictures = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
        if self.network.uses_proprio:
            if proprio is None or proprio.shape[1:] != (self.shape.proprio,):
                found = "none" if proprio is None else str(proprio.shape)
                raise CogError(f"the policy needs poses (B, {self.shape.proprio}), got {found}")
            poses = torch.from_numpy(np.asarray(proprio, np.float32)).to(device)
        return pictures, poses


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
