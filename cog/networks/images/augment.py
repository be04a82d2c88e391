"""Random shifts: every image of a batch moves by its own few pixels, once per update."""

from typing import overload

import torch
from torch import Tensor

from cog.networks.encoder import Images, by_camera


@overload
def random_shift(images: Tensor, pixels: int, generator: torch.Generator | None) -> Tensor: ...
@overload
def random_shift(images: Images, pixels: int, generator: torch.Generator | None) -> Images: ...
def random_shift(images: Images, pixels: int, generator: torch.Generator | None) -> Images:
    """Zero-pad images (B, C, H, W) of each camera by `pixels` and cut a random H x W window from each.

    Type and memory order of the images stay the same (bytes stay bytes); 0 pixels returns them unchanged.
    """
    if pixels == 0:
        return images
    cameras = by_camera(images)
    offset = random_offsets(len(cameras[0]), pixels, generator, cameras[0].device, len(cameras))
    return shifted(images, pixels, offset)


def random_offsets(
    size: int,
    pixels: int,
    generator: torch.Generator | None,
    device: torch.device | None = None,
    cameras: int = 1,
) -> Tensor:
    """Rows and columns where the windows of `size` images of each camera begin, (2, size, cameras).

    Default for `device`: that of `generator`.
    """
    if device is None and generator is not None:
        device = generator.device
    return torch.randint(0, 2 * pixels + 1, (2, size, cameras), generator=generator, device=device)


@overload
def shifted(images: Tensor, pixels: int, offset: Tensor | None) -> Tensor: ...
@overload
def shifted(images: Images, pixels: int, offset: Tensor | None) -> Images: ...
def shifted(images: Images, pixels: int, offset: Tensor | None) -> Images:
    """As `random_shift`, for one camera or several, with windows that begin at `offset` (2, B, cameras).

    None returns the images unchanged.
    """
    if offset is None:
        return images
    if isinstance(images, tuple):
        own = offset.split(1, 2)
        return tuple(_shifted(one, pixels, begin) for one, begin in zip(images, own, strict=True))
    return _shifted(images, pixels, offset)


def _shifted(images: Tensor, pixels: int, offset: Tensor) -> Tensor:
    batch, _, height, width = images.shape
    rows = images.permute(0, 2, 3, 1)  # (B, H, W, C)
    padded = torch.nn.functional.pad(rows, (0, 0, pixels, pixels, pixels, pixels))
    y = offset[0] + torch.arange(height, device=images.device)  # (B, H)
    x = offset[1] + torch.arange(width, device=images.device)  # (B, W)
    which = torch.arange(batch, device=images.device)[:, None, None]
    return padded[which, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
