"""How a network computes: full precision for its last layers under autocast, and one thread.

The rounding of a result depends on both.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """Turn reduced precision off for a network's last layer: Q values and densities need their mantissa."""
    return torch.autocast(tensor.device.type, enabled=False)


def widened(tensor: Tensor) -> Tensor:
    """bfloat16 as float32; anything else as it is."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute with one thread: the fastest for one observation, and what workers round like."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
