"""Convolutions: the images of one camera to a small map of features.

Shapes: B images, C channels, H and W pixels, F features.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cog.core.lazy import needed
from cog.errors import CogError

FEATURES = 12  # largest side of the map that "strided" leaves


def convolutions(kind: str, channels: int, side: int) -> nn.Module:
    """A network from images (B, C, H, W) to features (B, F); the larger side of an image is `side` pixels.

    48x48 images become 16x12x12 numbers by overlapping patches ("patch"), or as in the reference ("paper").
    "strided" is "patch" for images of up to 48 pixels and halves larger ones until no side exceeds 12;
    "resnet18" makes 512 numbers of images of any size.

    Raises:
        CogError: torchvision is not installed, which "resnet18" needs.
    """
    if kind == "paper":
        return _paper(channels)
    if kind == "resnet18":
        return ResNet18(channels)
    layers: list[nn.Module] = [nn.Conv2d(channels, 32, 8, stride=4, padding=2), nn.ReLU()]
    left = side // 4
    while kind == "strided" and left > FEATURES:
        layers += [nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU()]
        left = (left + 1) // 2
    return nn.Sequential(*layers, nn.Conv2d(32, 16, 3, padding=1), *_flat())


def _paper(channels: int) -> nn.Sequential:
    """As in the reference: three layers of 16 channels, the first two halved by their largest values."""
    layers = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        *_flat(),
    )
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return layers


def _flat() -> tuple[nn.Module, nn.Module]:
    """Flatten a map, then the ReLU, whose gradient is slow where memory is in two orders."""
    return nn.Flatten(), nn.ReLU()


class ResNet18(nn.Module):
    """torchvision's ResNet-18 from random weights, with groups normalised instead of batches.

    Statistics of batches would differ between the policy and its average, and between training and acting.
    """

    def __init__(self, channels: int) -> None:
        """Untrained.

        Raises:
            CogError: torchvision is not installed, or was built for another PyTorch.
        """
        super().__init__()
        needed("torchvision", "vision")
        try:
            from torchvision.models import resnet18
        except RuntimeError as error:  # its operators are registered by a library that does not load
            raise CogError(
                f"torchvision does not fit PyTorch {torch.__version__} ({str(error).splitlines()[0]})",
                remedy="install the one that was built for it, or choose --network.encoder strided",
            ) from error

        network: Any = resnet18(weights=None, norm_layer=_groups)
        if channels != 3:
            network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        network.fc = nn.Identity()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to (B, 512)."""
        features: Tensor = self.network(images)
        return features


def _groups(channels: int) -> nn.GroupNorm:
    """Sixteen channels in a group."""
    return nn.GroupNorm(channels // 16, channels)
