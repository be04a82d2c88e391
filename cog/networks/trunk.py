"""The hidden layers that actors, value functions and models of behaviour begin with."""

import itertools
from collections.abc import Sequence

from torch import nn


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


def init_near_zero(head: nn.Linear) -> None:
    """Make the first outputs lie near 0, whatever the trunk's output."""
    nn.init.uniform_(head.weight, -1e-3, 1e-3)
    nn.init.zeros_(head.bias)
