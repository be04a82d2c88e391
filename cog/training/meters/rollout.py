"""The error of a learned model by horizon: recorded actions replayed in it, and compared with what happened.

Shapes: B stretches, H steps, M members of the model's ensemble, P components of the state, A of the action.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from cog.replay.buffer import Buffer

HORIZONS = (1, 5, 10, 20)
STRETCHES = 256
LARGEST = 1e6  # a prediction that has run away counts as this


@runtime_checkable
class Model(Protocol):
    """An algorithm that has learned what actions lead to."""

    def predict(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Next states (M, B, P) and rewards (M, B) that each member expects after actions (B, A)."""


class Stretches:
    """Stretches of recorded episodes, as long as the longest of `HORIZONS` that the data allow."""

    def __init__(self, buffer: Buffer, generator: torch.Generator) -> None:
        """Draw at most `STRETCHES` of them; there is at least one step of data."""
        left = remaining(buffer.frame_index)
        self.horizons = tuple(horizon for horizon in HORIZONS if bool((left >= horizon).any()))
        longest = self.horizons[-1]
        starts = (left >= longest).nonzero()[:, 0]
        order = torch.randperm(len(starts), generator=generator, device=generator.device)
        steps = starts[order[:STRETCHES], None] + torch.arange(longest, device=generator.device)
        self.actions = buffer.actions[steps]  # (B, H, A)
        frames = buffer.frame_index[steps]
        self.states = torch.cat([buffer.proprio[frames], buffer.proprio[frames[:, -1:] + 1]], 1)
        self.scale = buffer.pose_statistics()[1]

    def errors(self, model: Model) -> dict[int, float]:
        """Horizon -> the error after that many steps, root mean square over components, mean over stretches.

        In standard deviations of each component; the model is led by its members' mean prediction, and from
        its second step on by its own states.
        """
        state, found = self.states[:, 0], {}
        for step in range(self.horizons[-1]):
            state = model.predict(state, self.actions[:, step])[0].mean(0)
            if step + 1 in self.horizons:
                off = (state - self.states[:, step + 1]) / self.scale
                error = off.square().mean(1).sqrt().nan_to_num(LARGEST, LARGEST).clamp(max=LARGEST)
                found[step + 1] = float(error.mean())
        return found


def remaining(frame_index: Tensor) -> Tensor:
    """How many steps of its episode follow from each step on, itself included, (S,).

    Within an episode a step begins at the frame at which the one before ended; between two, the index skips
    one.
    """
    count = len(frame_index)
    number = torch.arange(count, device=frame_index.device)
    ends = torch.ones(count, dtype=torch.bool, device=frame_index.device)
    ends[:-1] = frame_index[1:] != frame_index[:-1] + 1
    last = number[ends][torch.searchsorted(number[ends], number)]
    return last - number + 1
