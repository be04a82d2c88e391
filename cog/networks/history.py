"""History: how many frames and poses a network sees at once, and of which sizes one frame is.

What several frames make of one observation, with the oldest first. Before an episode's first frame, that one
is repeated, and 0 stands for the actions between.

images  (H, W, C) of each camera become (H, W, K*C)
pose    (P,) becomes (K*P + (K-1)*A,): the K poses, then the K-1 actions between them
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

HistoryOf = Literal["frames", "pose", "both"]


class History(NamedTuple):
    """What a network sees beside the current frame."""

    images: int
    """Pictures of each camera, the current one included."""
    poses: int
    """Poses, the current one included, with the actions between them."""
    pose: int
    """P, numbers of one pose or state."""
    actions: int
    """A, numbers of one action."""

    @property
    def frames(self) -> int:
        """K, frames that have to be remembered, the current one included."""
        return max(self.images, self.poses)

    @property
    def numbers(self) -> int:
        """Numbers of a pose with its history."""
        return self.poses * self.pose + (self.poses - 1) * self.actions

    def order(self) -> list[str]:
        """What an observation holds, in words, each part from the oldest to the current."""
        lines = []
        if self.images > 1:
            lines.append(f"images: the channels of {self.images} frames, the oldest first")
        if self.poses > 1:
            between = (
                f"the {self.poses - 1} actions between them" if self.poses > 2 else "the action between them"
            )
            lines.append(
                f"pose: {self.poses} poses of {self.pose}, the oldest first, then {between}, in [-1, 1]"
            )
        return lines

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "History":
        """Rebuild a history from its JSON values, which are its fields."""
        return History(*(int(value[name]) for name in History._fields))
