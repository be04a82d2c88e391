"""Support: how far an action is from what the data hold at similar states.

A state is described by its standardised pose and, where there are images, by its picture reduced to a few
pixels. The picture has a total variance of 1 over the reference steps. The pose has one of the share of its
components that vary over the data: 1, so that both parts count the same, if all do; a constant component adds
0 but is counted.

Shapes: B states, P components of the pose, D numbers that describe a state, R reference steps, A action
dimensions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cog.replay.buffer import Buffer

NEIGHBOURS = 10
PIXELS = 12  # a side, of a picture in a description
BAND = 0.95  # share of the data's own actions that count as inside
LEAST_BAND = 0.01  # of an action's range of 2: closer actions always count as inside
ROWS = 512  # states looked at once, so that neither all pictures nor all pairs lie in memory


class Describer:
    """Describes the states in a buffer by D numbers, in which similar states lie close together."""

    def __init__(self, buffer: Buffer, steps: Tensor) -> None:
        """Take means and scales from all poses, and from the pictures at `steps` (n,) of the buffer."""
        self.buffer = buffer
        self.pose = buffer.pose_statistics()
        self.picture: tuple[Tensor, Tensor] | None = None
        if buffer.frames:
            pictures = torch.cat([self._reduced(frames) for frames in buffer.frame_index[steps].split(ROWS)])
            spread = pictures.var(0, correction=0).sum().sqrt()
            self.picture = pictures.mean(0), torch.where(spread < 1e-6, torch.ones_like(spread), spread)

    def __call__(self, frames: Tensor) -> Tensor:
        """The states at these frames (B,), described: (B, D)."""
        return torch.cat([self._described(some) for some in frames.split(ROWS)])

    def _described(self, frames: Tensor) -> Tensor:
        mean, scale = self.pose
        poses = (self.buffer.proprio[frames] - mean) / scale
        poses = poses / max(poses.shape[1], 1) ** 0.5
        if self.picture is None:
            return poses
        mean, scale = self.picture
        return torch.cat([poses, (self._reduced(frames) - mean) / scale], 1)

    def _reduced(self, frames: Tensor) -> Tensor:
        """Means over areas of the pictures at these frames, at most `PIXELS` a side, in [0, 1] and flat."""
        reduced = []
        for camera in self.buffer.frames:
            images = camera.gather(frames).permute(0, 3, 1, 2)
            height, width = images.shape[2:]
            sides = min(PIXELS, height), min(PIXELS, width)
            reduced.append(F.adaptive_avg_pool2d(images.float() / 255, sides).flatten(1))
        return torch.cat(reduced, 1)


class Support:
    """Reference steps of the data, which actions are compared with.

    `band` is the `BAND` quantile of the distance of the reference's own actions from those of the other
    reference steps, at least `LEAST_BAND`; an action further away is outside the data's support.
    """

    def __init__(self, states: Tensor, actions: Tensor, neighbours: int = NEIGHBOURS) -> None:
        """The reference: descriptions (R, D) and actions (R, A)."""
        self.states, self.actions = states, actions
        self.neighbours = neighbours
        self.band = LEAST_BAND
        if len(states) > 1:
            own = torch.arange(len(states), device=states.device)
            self.band = max(self.band, float(self.distance(states, actions, apart=own).quantile(BAND)))

    def distance(self, states: Tensor, actions: Tensor, apart: Tensor | None = None) -> Tensor:
        """Distance (B,) of actions (B, A) from the nearest data action among those of the nearest states.

        Euclidean, in units of the actions, whose range is 2. `states` are descriptions (B, D); reference step
        `apart[b]`, if given, is left out for row b.
        """
        parts = []
        for rows in torch.arange(len(states), device=states.device).split(ROWS):
            away = torch.cdist(states[rows], self.states)
            if apart is not None:
                away.scatter_(1, apart[rows, None], float("inf"))
            others = len(self.states) - (apart is not None)
            nearest = away.topk(min(self.neighbours, others), largest=False).indices
            parts.append((self.actions[nearest] - actions[rows, None]).norm(dim=2).amin(1))
        return torch.cat(parts)

    def outside(self, states: Tensor, actions: Tensor) -> Tensor:
        """Whether actions (B, A) lie further from the data than the band, (B,) bool."""
        return self.distance(states, actions) > self.band
