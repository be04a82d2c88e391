"""Learned dynamics: an ensemble that predicts the next state, the reward and the end of an episode.

Units: states are standardised, (pose - mean) / standard deviation over the data, so a predicted change of 1
is one standard deviation of that component; rewards are in the data's own unit.
Shapes: M members, B states, P pose components, A action dimensions, O = P + 1 outputs (the reward is last).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cog.networks.critic import StackedLinear
from cog.networks.precision import full_precision, widened

Activation = Literal["swish", "relu"]
HIGHEST_LOG_VARIANCE, LOWEST_LOG_VARIANCE = 0.5, -10.0  # where the learned bounds start (MOPO's code)


class Prediction(NamedTuple):
    """What M members predict at B states and actions."""

    mean: Tensor  # (M, B, O) change of the standardised state, and reward
    log_variance: Tensor | None  # (M, B, O) of a Gaussian around it; none from deterministic members
    terminal: Tensor  # (M, B) log-odds that the step ends the episode


class Dynamics(nn.Module):
    """M networks from standardised state and action, evaluated together as stacked weights.

    Gaussian members (MOPO) have a second head for the log-variance, softly held between two learned bounds
    an output; deterministic ones (MOReL) have none. All predict terminals as well, which neither paper does:
    their benchmarks come with a termination function.
    """

    def __init__(
        self,
        states: int,
        actions: int,
        members: int,
        widths: Sequence[int],
        activation: Activation,
        gaussian: bool,
    ) -> None:
        """`states` is P and `actions` is A; `widths` are those of the hidden layers."""
        super().__init__()
        self.members, self.states, self.gaussian = members, states, gaussian
        self.activate = F.silu if activation == "swish" else F.relu
        self.hidden = nn.ModuleList(
            StackedLinear(members, width_in, width_out, 1 / math.sqrt(width_in))
            for width_in, width_out in itertools.pairwise((states + actions, *widths))
        )
        outputs, width = states + 1, widths[-1]
        self.mean = StackedLinear(members, width, outputs, 1 / math.sqrt(width))
        self.terminal = StackedLinear(members, width, 1, 1 / math.sqrt(width))
        if gaussian:
            self.log_variance = StackedLinear(members, width, outputs, 1 / math.sqrt(width))
            self.highest = nn.Parameter(torch.full((outputs,), HIGHEST_LOG_VARIANCE))
            self.lowest = nn.Parameter(torch.full((outputs,), LOWEST_LOG_VARIANCE))

    @property
    def noise_dimensions(self) -> int:
        """Standard normal numbers that pick one member's sample: O, or 0 from deterministic members."""
        return self.states + 1 if self.gaussian else 0

    def forward(self, states: Tensor, actions: Tensor) -> Prediction:
        """Predictions of every member at standardised states (B, P) and actions (B, A)."""
        hidden = torch.cat([states, actions], 1)[None]
        for layer in self.hidden:
            hidden = self.activate(layer(hidden))
        with full_precision(hidden):
            hidden = widened(hidden)
            terminal = self.terminal(hidden)[..., 0]
            variance = (
                soft_clamp(self.log_variance(hidden), self.lowest, self.highest) if self.gaussian else None
            )
            return Prediction(self.mean(hidden), variance, terminal)

    def spread_of_bounds(self) -> Tensor:
        """Sum over outputs of the highest log-variance less the lowest, which the loss keeps small."""
        return (self.highest - self.lowest).sum()

    def squared_weights(self) -> Tensor:
        """Sum of the squares of all weights but the biases."""
        layers = [layer for layer in self.modules() if isinstance(layer, StackedLinear)]
        return torch.stack([layer.weight.square().sum() for layer in layers]).sum()


def soft_clamp(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`values` (..., O) between `low` and `high` (O,), with a gradient everywhere.

    high - softplus(high - x), then low + softplus(that - low): far inside nothing changes, and at x = high
    the result is high - log 2 (Chua et al. 2018, appendix A.1).
    """
    below = high - F.softplus(high - values)
    return low + F.softplus(below - low)
