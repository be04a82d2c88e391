"""The hidden layers that actors, value functions and models of behaviour begin with."""

import itertools
import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from cog.errors import UsageError


def trunk(features: int, widths: Sequence[int], layer_norm: bool) -> tuple[nn.Sequential, int]:
    """Hidden layers with ReLUs for `features` inputs, normalised if asked for; and the last one's width."""
    widths = (features, *widths)
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        layers.append(nn.Linear(width_in, width_out))
        if layer_norm:
            layers.append(nn.LayerNorm(width_out))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers), widths[-1]


class ConditionedTrunk(nn.Module):
    """Features (B, F) and N inputs at each state (B, N, D) -> hidden units (B, N, H).

    The first layer is split as the critics' is: features are multiplied once per state, whatever N is.
    """

    def __init__(self, features: int, inputs: int, widths: Sequence[int], layer_norm: bool) -> None:
        """Initialise the split layer as one of F + D inputs would be.

        Raises:
            UsageError: there are no hidden layers.
        """
        super().__init__()
        if not widths:
            raise UsageError("a network that joins states and actions needs at least one hidden layer")
        first, *others = widths
        self.of_features = nn.Linear(features, first)
        self.of_inputs = nn.Linear(inputs, first, bias=False)
        bound = 1 / math.sqrt(features + inputs)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)
        self.norm = nn.LayerNorm(first) if layer_norm else nn.Identity()
        self.others, self.width = trunk(first, others, layer_norm)

    def forward(self, features: Tensor, inputs: Tensor) -> Tensor:
        first = self.of_features(features)[:, None] + self.of_inputs(inputs)
        hidden: Tensor = self.others(F.relu(self.norm(first)))
        return hidden


def init_near_zero(head: nn.Linear) -> None:
    """Make the first outputs lie near 0, whatever the trunk's output."""
    nn.init.uniform_(head.weight, -1e-3, 1e-3)
    nn.init.zeros_(head.bias)
