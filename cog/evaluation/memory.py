"""Memory of an acting policy: the last frames and actions of each running episode, stacked as it sees them.

What it holds for an episode is what `cog.replay.history` finds by index in the recorded one.
"""

import copy
from collections.abc import Mapping

import numpy as np

from cog.networks.history import History


class Memory:
    """One episode in each of B rows; a row keeps its content until it sees the next frame."""

    def __init__(self, rows: int, history: History | None) -> None:
        """Without a history only the current frame is held."""
        self.rows = rows
        self.history = history or History(1, 1, 0, 0)
        self._images: dict[str, np.ndarray] = {}  # (B, K, H, W, C) of each camera
        self._poses: np.ndarray | None = None  # (B, K, P)
        self._actions = np.zeros((rows, self.history.poses - 1, self.history.actions), np.float32)

    def copy(self) -> "Memory":
        """Another memory of the same content."""
        return copy.deepcopy(self)

    def see(
        self, row: int, images: Mapping[str, np.ndarray], pose: np.ndarray | None, action: np.ndarray | None
    ) -> None:
        """Add a frame to a row: images (H, W, C) by camera, pose (P,) and the action (A,) that led to it.

        No action means that an episode begins: the frame stands for those before it too, 0 for actions.
        """
        for name, picture in images.items():
            if name not in self._images:
                size = (self.rows, self.history.images, *picture.shape)
                self._images[name] = np.zeros(size, np.uint8)
            _push(self._images[name][row], picture, begins=action is None)
        if pose is not None:
            if self._poses is None:
                self._poses = np.zeros((self.rows, self.history.poses, *pose.shape), np.float32)
            _push(self._poses[row], pose, begins=action is None)
        if self.history.poses > 1:
            _push(self._actions[row], 0.0 if action is None else action, begins=action is None)

    @property
    def images(self) -> dict[str, np.ndarray]:
        """Images (B, H, W, K*C) of each camera, the oldest first."""
        found = {}
        for name, frames in self._images.items():
            rows = np.moveaxis(frames, 1, 3)  # (B, H, W, K, C)
            found[name] = rows.reshape(*rows.shape[:3], -1)
        return found

    @property
    def poses(self) -> np.ndarray | None:
        """Poses (B, K*P + (K-1)*A), the oldest first, then the actions between them."""
        if self._poses is None:
            return None
        flat = self._poses.reshape(self.rows, -1)
        return np.concatenate([flat, self._actions.reshape(self.rows, -1)], 1)


def _push(held: np.ndarray, newest: np.ndarray | float, *, begins: bool) -> None:
    """Put the newest entry last in `held` (K, ...), and everywhere if an episode begins."""
    if begins:
        held[:] = newest
    else:
        held[:-1] = held[1:]
        held[-1] = newest
