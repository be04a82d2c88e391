"""The maximum mean discrepancy between two sets of samples, by which BEAR measures support.

Kumar et al., "Stabilizing Off-Policy Q-Learning via Bootstrapping Error Reduction" (2019), equation 6.
Shapes: B states, N and M samples per state, A dimensions of a sample.
"""

from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["laplacian", "gaussian"]
FLOOR = 1e-6  # under the root, whose slope is infinite at 0


def kernel(x: Tensor, y: Tensor, width: float, kind: Kernel) -> Tensor:
    """exp(-d(x, y) / (2 sigma)) of every pair, (B, N, M), for x (B, N, A) and y (B, M, A).

    d is the sum of absolute ("laplacian") or squared ("gaussian") differences; sigma = `width` is not
    squared, as in the authors' code.
    """
    difference = x[:, :, None] - y[:, None]
    distance = (difference.abs() if kind == "laplacian" else difference.square()).sum(-1)
    return torch.exp(-distance / (2 * width))


def mmd(x: Tensor, y: Tensor, width: float, kind: Kernel) -> Tensor:
    """sqrt(mean k(x, x') + mean k(y, y') - 2 mean k(x, y) + 1e-6), (B,), for x (B, N, A) and y (B, M, A).

    The means include each sample's pair with itself (a V-statistic). Equal sets have 1e-3, the lowest value.
    """
    within_x = kernel(x, x, width, kind).mean((1, 2))
    within_y = kernel(y, y, width, kind).mean((1, 2))
    between = kernel(x, y, width, kind).mean((1, 2))
    return (within_x + within_y - 2 * between + FLOOR).sqrt()
