"""Actors, which turn features into a policy, and the policy network: an encoder with an actor.

Shapes: B states, F features, A action dimensions.
"""

import itertools

from torch import Tensor, nn

from cog.networks.config import NetworkConfig
from cog.networks.distribution import Deterministic, TanhGaussian
from cog.networks.encoder import Encoder
from cog.networks.precision import full_precision, widened

LOG_STD_RANGE = (-5.0, 2.0)  # the reference's bounds


class Actor(nn.Module):
    """Features (B, F) -> the tanh-Gaussian policy at those states."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.trunk, width = _trunk(features, config)
        moves = actions - config.switches
        self.mean = nn.Linear(width, moves)
        self.log_std = nn.Linear(width, moves)
        self.odds = nn.Linear(width, config.switches) if config.switches else None
        for head in (self.mean, self.log_std, *([self.odds] if self.odds is not None else ())):
            _init_near_zero(head)

    def forward(self, features: Tensor) -> TanhGaussian:
        hidden = self.trunk(features)
        with full_precision(hidden):
            hidden = widened(hidden)
            mean, log_std = self.mean(hidden), self.log_std(hidden)
            odds = None if self.odds is None else self.odds(hidden)
        return TanhGaussian(mean, log_std.clamp(*LOG_STD_RANGE), odds)


class DeterministicActor(nn.Module):
    """Features (B, F) -> one action at each of those states, tanh of the last layer (TD3, DDPG)."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.trunk, width = _trunk(features, config)
        self.mean = nn.Linear(width, actions)
        _init_near_zero(self.mean)

    def forward(self, features: Tensor) -> Deterministic:
        hidden = self.trunk(features)
        with full_precision(hidden):
            return Deterministic(self.mean(widened(hidden)).tanh())


class PolicyNetwork(nn.Module):
    """What acts: an encoder and an actor, without anything that only training needs.

    Images (B, C, H, W) and poses (B, P) -> a policy with `mode()`, actions (B, A), and `drawn(noise)`.
    """

    def __init__(self, encoder: Encoder, actor: Actor | DeterministicActor) -> None:
        super().__init__()
        self.encoder = encoder
        self.actor = actor

    def forward(self, images: Tensor | None, proprio: Tensor | None) -> TanhGaussian | Deterministic:
        policy: TanhGaussian | Deterministic = self.actor(self.encoder(images, proprio))
        return policy


def _trunk(features: int, config: NetworkConfig) -> tuple[nn.Sequential, int]:
    """The hidden layers of an actor, and the width of the last."""
    widths = (features, *config.actor_widths)
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        layers.append(nn.Linear(width_in, width_out))
        if config.layer_norm:
            layers.append(nn.LayerNorm(width_out))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers), widths[-1]


def _init_near_zero(head: nn.Linear) -> None:
    """Make the first actions lie near 0, whatever the trunk's output."""
    nn.init.uniform_(head.weight, -1e-3, 1e-3)
    nn.init.zeros_(head.bias)
