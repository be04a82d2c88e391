"""The encoder: images and pose to features.

Shapes: B states, F features.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cog.errors import CogError
from cog.networks.config import NetworkConfig

SMALLEST_IMAGE = 4  # pixels a side; the convolutions reduce smaller images to nothing


class ObservationShape(NamedTuple):
    """What the policy sees: image (height, width, channels) or none, and the length of the pose vector."""

    image: tuple[int, int, int] | None
    proprio: int


class Encoder(nn.Module):
    """Images (B, C, H, W) as uint8, or floats in [0, 1], and pose (B, P) -> features (B, F).

    Without images the features are the standardised pose itself.
    """

    proprio_mean: Tensor
    proprio_scale: Tensor

    def __init__(self, shape: ObservationShape, config: NetworkConfig) -> None:
        super().__init__()
        self.uses_proprio = config.use_proprio or shape.image is None
        self.register_buffer("proprio_mean", torch.zeros(shape.proprio))
        self.register_buffer("proprio_scale", torch.ones(shape.proprio))
        self.convolutions: nn.Module | None = None
        self.bottleneck: nn.Module | None = None
        self.embedding: nn.Module | None = None
        self.features = 0
        if shape.image is not None:
            height, width, channels = shape.image
            if min(height, width) < SMALLEST_IMAGE:
                raise CogError(
                    f"the images are {height}x{width} pixels; the network needs at least "
                    f"{SMALLEST_IMAGE}x{SMALLEST_IMAGE}",
                    remedy="collect or import larger ones",
                )
            self.convolutions = _convolutions(config.encoder, channels)
            self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            with torch.no_grad():
                self.features = self.convolutions(torch.zeros(1, channels, height, width)).numel()
            if config.bottleneck:
                self.bottleneck = _squash(self.features, config.bottleneck)
                self.features = config.bottleneck
        if self.uses_proprio:
            if shape.proprio == 0:
                raise CogError("the data contain neither images nor a pose to learn from")
            if shape.image is not None and config.proprio_features:
                self.embedding = _squash(shape.proprio, config.proprio_features)
                self.features += config.proprio_features
            else:
                self.features += shape.proprio

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Set the pose's mean and standard deviation in the data, (P,) each."""
        self.proprio_mean.copy_(mean)
        self.proprio_scale.copy_(scale)

    def forward(self, images: Tensor | None, proprio: Tensor | None) -> Tensor:
        parts = []
        if self.convolutions is not None:
            if images is None:
                raise CogError("this network was built for images; none were given")
            parts.append(self.convolutions(_centred(images, self.proprio_mean.dtype)).flatten(1))
            if self.bottleneck is not None:
                parts[0] = self.bottleneck(parts[0])
        if self.uses_proprio:
            if proprio is None:
                raise CogError("this network was built for the arm's pose; none was given")
            pose = (proprio - self.proprio_mean) / self.proprio_scale
            parts.append(pose if self.embedding is None else self.embedding(pose))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _convolutions(kind: str, channels: int) -> nn.Sequential:
    """48x48 images become 16x12x12, by overlapping patches ("patch") or as in the reference ("paper")."""
    if kind == "patch":
        return nn.Sequential(
            nn.Conv2d(channels, 32, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 16, 3, padding=1),
            nn.ReLU(),
        )
    layers = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
    )
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return layers


def _squash(width_in: int, width_out: int) -> nn.Sequential:
    """A linear layer whose output is normalised and bounded."""
    return nn.Sequential(nn.Linear(width_in, width_out), nn.LayerNorm(width_out), nn.Tanh())


def _centred(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes or [0, 1] floats as floats in [-0.5, 0.5]."""
    if images.dtype == torch.uint8:
        return images.to(dtype).mul_(1 / 255).sub_(0.5)
    return images - 0.5
