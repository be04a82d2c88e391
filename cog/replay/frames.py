"""Storage of a buffer's frames: on the training device or, if they do not fit there, on the host.

From the host, batches are copied through pinned memory on a CUDA stream of their own. The host runs ahead of
the device: while that computes one update, the frames of the next are gathered and copied.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

SHARE = 0.7  # of the device's free memory that frames may take; networks and activations need the rest

Fetched = TypeVar("Fetched", bound=NamedTuple)


class Frames(Protocol):
    """Frames (F, H, W, C) uint8, from which batches are gathered on the training device."""

    stored: Tensor

    def gather(self, index: Tensor) -> Tensor:
        """The frames at `index` (B,), on the device: (B, H, W, C)."""

    def fetch(self, make: Callable[[], Fetched]) -> Fetched:
        """What `make` puts on the device, safe to use on the current stream."""


class OnDevice:
    """Frames on the training device itself."""

    def __init__(self, frames: np.ndarray, device: torch.device) -> None:
        self.stored = torch.from_numpy(np.ascontiguousarray(frames)).to(device)

    def gather(self, index: Tensor) -> Tensor:
        """The frames at `index` (B,), by the device."""
        return self.stored[index]

    def fetch(self, make: Callable[[], Fetched]) -> Fetched:
        """What `make` returns."""
        return make()


class OnHost:
    """Frames in the host's memory."""

    def __init__(self, frames: np.ndarray, device: torch.device) -> None:
        self.stored = torch.from_numpy(np.ascontiguousarray(frames))
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.synchronised = False

    def gather(self, index: Tensor) -> Tensor:
        """The frames at `index` (B,), gathered by the host once the current stream has the index."""
        shape = (len(index), *self.stored.shape[1:])
        batch = torch.empty(shape, dtype=self.stored.dtype, pin_memory=self.stream is not None)
        torch.index_select(self.stored, 0, index.cpu(), out=batch)
        return batch.to(self.device, non_blocking=True)

    def fetch(self, make: Callable[[], Fetched]) -> Fetched:
        """What `make` puts on the device through the copy stream, for which the current stream waits."""
        if self.stream is None:
            return make()
        current = torch.cuda.current_stream(self.device)
        if not self.synchronised:  # poses, actions and rewards were put on the device by the current stream
            self.stream.wait_stream(current)
            self.synchronised = True
        with torch.cuda.stream(self.stream):
            batch = make()
        current.wait_stream(self.stream)
        for field in batch:
            for tensor in field if isinstance(field, tuple) else (field,):
                if isinstance(tensor, Tensor):
                    tensor.record_stream(current)  # so that its memory is not reused before the update
        return batch


def fitting(size: int, device: torch.device) -> type[OnDevice] | type[OnHost]:
    """Where to put frames of `size` bytes: on the device if they take at most `SHARE` of its free memory."""
    return OnDevice if size <= SHARE * free_memory(device) else OnHost


def free_memory(device: torch.device) -> float:
    """Free bytes of a CUDA device; unlimited elsewhere, where device memory is host memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
