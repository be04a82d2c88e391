"""Past frames and actions of an episode, found by index: nothing is stored twice, no border is crossed.

Shapes: F frames, S steps, B frames asked for, K frames up to each, P numbers of a pose, A of an action.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cog.networks.history import History


class Past:
    """Where the frames before every frame lie, and the actions that were taken at them."""

    def __init__(self, first: Tensor, step: Tensor) -> None:
        """First frame of each frame's episode, and the step that begins at it, (F,) each.

        At an episode's last frame, at which none begins, the step may be any.
        """
        self.first, self.step = first, step

    @classmethod
    def of(cls, frame_index: np.ndarray, frames: int, device: torch.device | str = "cpu") -> "Past":
        """Of steps that begin at the frames `frame_index` (S,), of `frames` in all.

        Within an episode they begin at consecutive frames; between two, the index skips one or more.
        """
        begins = np.r_[True, frame_index[1:] != frame_index[:-1] + 1]
        starts = frame_index[begins]
        number = np.searchsorted(starts, np.arange(frames), side="right") - 1
        step = np.searchsorted(frame_index, np.arange(frames), side="right") - 1
        found = (starts[number.clip(0)], step.clip(0))
        first, begun = (torch.from_numpy(one.astype(np.int64)).to(device) for one in found)
        return cls(first, begun)

    def frames(self, at: Tensor, depth: int) -> Tensor:
        """The K = `depth` frames up to `at` (B,), oldest first, (B, K); an episode's first is repeated."""
        back = torch.arange(1 - depth, 1, device=at.device)
        return torch.maximum(at[:, None] + back, self.first[at][:, None])

    def actions(self, actions: Tensor, at: Tensor, depth: int) -> Tensor:
        """The actions between these frames, (B, K-1, A); 0 between an episode's first frame and itself."""
        frames = at[:, None] + torch.arange(1 - depth, 0, device=at.device)
        first = self.first[at][:, None]
        taken = actions[self.step[torch.maximum(frames, first)]]
        return taken.masked_fill((frames < first)[..., None], 0.0)

    def poses(self, poses: Tensor, actions: Tensor, at: Tensor, history: History) -> Tensor:
        """Poses (F, P) and actions (S, A) as the network sees them at `at`: (B, K*P + (K-1)*A)."""
        seen = poses[self.frames(at, history.poses)].flatten(1)
        if history.poses == 1:
            return seen
        return torch.cat([seen, self.actions(actions, at, history.poses).flatten(1)], 1)

    def images(self, gather: Callable[[Tensor], Tensor], at: Tensor, history: History) -> Tensor:
        """A camera's images as the network sees them at `at`: (B, H, W, K*C).

        `gather` gives those at any frames, (n, H, W, C).
        """
        # One after the other: to gather all at once and then move axes took the CPU three times as long.
        return torch.cat([gather(frames) for frames in self.frames(at, history.images).unbind(1)], 3)


def statistics_with(history: History, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale of a pose with its history, given those (P,) of one pose; 0 and 1 for actions."""
    between = (history.poses - 1) * history.actions
    means = torch.cat([mean.repeat(history.poses), mean.new_zeros(between)])
    return means, torch.cat([scale.repeat(history.poses), scale.new_ones(between)])
