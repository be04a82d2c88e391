"""Full precision for the last layers of a network under autocast."""

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """Turn reduced precision off for a network's last layer: Q values and densities need their mantissa."""
    return torch.autocast(tensor.device.type, enabled=False)


def widened(tensor: Tensor) -> Tensor:
    """bfloat16 as float32; anything else as it is."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
