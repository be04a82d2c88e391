"""A trained policy: images and poses in, actions out, in batches."""

from pathlib import Path

import numpy as np
import torch

from cog.checkpoint import load
from cog.config import TrainConfig
from cog.errors import CogError
from cog.networks import ObservationShape, PolicyNetwork


class Policy:
    """The averaged weights of a checkpoint, acting deterministically; no augmentation, no simulator."""

    def __init__(
        self, network: PolicyNetwork, shape: ObservationShape, config: TrainConfig, update: int
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.shape = shape
        self.config = config
        self.update = update

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> "Policy":
        """The policy of a run folder's latest checkpoint, or of one checkpoint folder.

        Raises:
            CogError: no checkpoint there, or a damaged one.
        """
        checkpoint = load(Path(path))
        network = PolicyNetwork(checkpoint.shape, checkpoint.action_dimensions, checkpoint.config.network)
        prefix = "average."
        tensors = checkpoint.tensors("model")
        network.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        return cls(network.to(device), checkpoint.shape, checkpoint.config, checkpoint.update)

    @torch.no_grad()
    def act(
        self, images: np.ndarray | None, proprio: np.ndarray | None, noise: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions (B, A) in [-1, 1] for images (B, H, W, C) uint8 and poses (B, P); either may be unused.

        They are the policy's modes, or with standard normal `noise` (B, A) float32 draws from it.

        Raises:
            CogError: shapes that the policy was not trained for.
        """
        device = next(self.network.parameters()).device
        pictures = poses = None
        if self.shape.image is not None:
            if images is None or images.dtype != np.uint8 or images.shape[1:] != self.shape.image:
                found = "none" if images is None else f"{images.dtype} {images.shape}"
                raise CogError(f"the policy needs images uint8 (B, {self.shape.image}), got {found}")
            pictures = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
        if self.network.encoder.uses_proprio:
            if proprio is None or proprio.shape[1:] != (self.shape.proprio,):
                found = "none" if proprio is None else str(proprio.shape)
                raise CogError(f"the policy needs poses (B, {self.shape.proprio}), got {found}")
            poses = torch.from_numpy(np.asarray(proprio, np.float32)).to(device)
        policy = self.network(pictures, poses)
        if noise is None:
            actions: np.ndarray = policy.mode().cpu().numpy()
            return actions
        spread = policy.log_std.exp() * torch.from_numpy(noise).to(device)
        drawn: np.ndarray = (policy.mean + spread).tanh().cpu().numpy()
        return drawn
