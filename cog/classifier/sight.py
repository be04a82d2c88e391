"""Sight: recorded frames as a classifier's network takes them, with those before them if it has a history."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cog.networks.encoder import Images, ObservationShape, channels_first
from cog.replay.history import Past


class Sight:
    """F frames of episodes that follow each other; each is shown with those before it in its episode."""

    def __init__(
        self,
        shape: ObservationShape,
        images: Mapping[str, np.ndarray],
        proprio: np.ndarray | None,
        actions: np.ndarray | None = None,
        starts: Sequence[int] | np.ndarray = (0,),
    ) -> None:
        """Images (F, H, W, C) uint8 by camera and poses (F, P) float32 for a network of this shape.

        A history needs the actions (F, A) that led to the frames, and the first frame of each episode.
        """
        self.names, self.images, self.proprio = tuple(shape.pictures()), images, proprio
        self.history, self.actions = shape.history, actions
        self.count = len(images[self.names[0]])
        number = torch.arange(self.count)
        first = torch.as_tensor(np.asarray(starts, np.int64))
        first = first[torch.searchsorted(first, number, right=True) - 1]
        # The action that leads from a frame to the next stands at that one.
        self.past = Past(first, (number + 1).clamp(max=self.count - 1))

    def __call__(self, rows: np.ndarray | slice) -> tuple[Images, Tensor | None]:
        """These frames: images (B, C, H, W) in the order of the shape, and poses (B, P) if there are any."""
        images = channels_first([self._shown(self.images[name], rows) for name in self.names])
        assert images is not None
        return images, self._poses(rows)

    def _shown(self, images: np.ndarray, rows: np.ndarray | slice) -> Tensor:
        if self.history is None:
            return torch.from_numpy(np.ascontiguousarray(images[rows]))

        def gather(at: Tensor) -> Tensor:
            return torch.from_numpy(images[at.numpy()])

        return self.past.images(gather, self._at(rows), self.history)

    def _poses(self, rows: np.ndarray | slice) -> Tensor | None:
        if self.proprio is None:
            return None
        if self.history is None or self.history.poses == 1:
            return torch.from_numpy(np.ascontiguousarray(self.proprio[rows]))
        assert self.actions is not None
        poses, actions = torch.from_numpy(self.proprio), torch.from_numpy(self.actions)
        return self.past.poses(poses, actions, self._at(rows), self.history)

    def _at(self, rows: np.ndarray | slice) -> Tensor:
        return torch.arange(self.count)[torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows]
