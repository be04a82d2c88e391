"""Random shifts: every image of a batch moves by its own few pixels, once per update."""

import torch
from torch import Tensor


def random_shift(images: Tensor, pixels: int, generator: torch.Generator | None) -> Tensor:
    """Zero-pad images (B, C, H, W) by `pixels` and cut a random H x W window from each.

    Type and memory order of the images stay the same (bytes stay bytes); 0 pixels returns them unchanged.
    """
    if pixels == 0:
        return images
    return shifted(images, pixels, random_offsets(len(images), pixels, generator, images.device))


def random_offsets(
    size: int, pixels: int, generator: torch.Generator | None, device: torch.device | None = None
) -> Tensor:
    """Rows and columns where the windows of `size` images begin, (2, size, 1).

    Default for `device`: that of `generator`.
    """
    if device is None and generator is not None:
        device = generator.device
    return torch.randint(0, 2 * pixels + 1, (2, size, 1), generator=generator, device=device)


def shifted(images: Tensor, pixels: int, offset: Tensor | None) -> Tensor:
    """As `random_shift`, with windows that begin at `offset` (2, B, 1); None returns the images unchanged."""
    if offset is None:
        return images
    batch, _, height, width = images.shape
    rows = images.permute(0, 2, 3, 1)  # (B, H, W, C)
    padded = torch.nn.functional.pad(rows, (0, 0, pixels, pixels, pixels, pixels))
    y = offset[0] + torch.arange(height, device=images.device)  # (B, H)
    x = offset[1] + torch.arange(width, device=images.device)  # (B, W)
    which = torch.arange(batch, device=images.device)[:, None, None]
    return padded[which, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
