"""Random shifts: every image of a batch moves by its own few pixels, once per update."""

import torch
from torch import Tensor

from cog.parallel import joint, own


def random_shift(images: Tensor, pixels: int, generator: torch.Generator | None) -> Tensor:
    """Zero-pad images (B, C, H, W) by `pixels` and cut a random H x W window from each.

    The type and memory order of the images are kept (bytes stay bytes); 0 pixels returns them as they are.
    """
    if pixels == 0:
        return images
    batch, _, height, width = images.shape
    rows = images.permute(0, 2, 3, 1)  # (B, H, W, C)
    padded = torch.nn.functional.pad(rows, (0, 0, pixels, pixels, pixels, pixels))
    size = joint((2, batch, 1), dimension=1)
    offset = torch.randint(0, 2 * pixels + 1, size, generator=generator, device=images.device)
    offset = own(offset, dimension=1)
    y = offset[0] + torch.arange(height, device=images.device)  # (B, H)
    x = offset[1] + torch.arange(width, device=images.device)  # (B, W)
    which = torch.arange(batch, device=images.device)[:, None, None]
    return padded[which, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
