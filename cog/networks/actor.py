"""Actors, which turn features into a policy, and the policy network: an encoder with an actor.

Shapes: B states, F features, A action dimensions.
"""

import torch
from torch import Tensor, nn

from cog.networks.config import NetworkConfig
from cog.networks.distribution import ActionDistribution, ClippedGaussian, Deterministic, TanhGaussian
from cog.networks.encoder import Encoder, Images
from cog.networks.precision import full_precision, widened
from cog.networks.trunk import init_near_zero, trunk

LOG_STD_RANGE = (-5.0, 2.0)  # the reference's bounds


class Actor(nn.Module):
    """Features (B, F) -> the tanh-Gaussian policy at those states."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.trunk, width = trunk(features, config.actor_widths, config.layer_norm)
        moves = actions - config.switches
        self.mean = nn.Linear(width, moves)
        self.log_std = nn.Linear(width, moves)
        self.odds = nn.Linear(width, config.switches) if config.switches else None
        for head in (self.mean, self.log_std, *([self.odds] if self.odds is not None else ())):
            init_near_zero(head)

    def forward(self, features: Tensor) -> TanhGaussian:
        hidden = self.trunk(features)
        with full_precision(hidden):
            hidden = widened(hidden)
            mean, log_std = self.mean(hidden), self.log_std(hidden)
            odds = None if self.odds is None else self.odds(hidden)
        return TanhGaussian(mean, log_std.clamp(*LOG_STD_RANGE), odds)


class GaussianActor(nn.Module):
    """Features (B, F) -> a Gaussian around tanh of the last layer, one deviation for all states (IQL)."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.trunk, width = trunk(features, config.actor_widths, config.layer_norm)
        self.mean = nn.Linear(width, actions)
        self.log_std = nn.Parameter(torch.zeros(actions))
        init_near_zero(self.mean)

    def forward(self, features: Tensor) -> ClippedGaussian:
        hidden = self.trunk(features)
        with full_precision(hidden):
            return ClippedGaussian(self.mean(widened(hidden)).tanh(), self.log_std.clamp(*LOG_STD_RANGE))


class DeterministicActor(nn.Module):
    """Features (B, F) -> one action at each of those states, tanh of the last layer (TD3, DDPG)."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.trunk, width = trunk(features, config.actor_widths, config.layer_norm)
        self.mean = nn.Linear(width, actions)
        init_near_zero(self.mean)

    def forward(self, features: Tensor) -> Deterministic:
        hidden = self.trunk(features)
        with full_precision(hidden):
            return Deterministic(self.mean(widened(hidden)).tanh())


class PolicyNetwork(nn.Module):
    """What acts: an encoder and an actor, without anything that only training needs.

    Images (B, C, H, W) and poses (B, P) -> a policy with `mode()`, actions (B, A), and `drawn(noise)`.
    Subclasses act in other ways, such as by the critics' choice among draws.
    """

    noise_dimensions: int
    """D: standard normal numbers that pick one action."""

    def __init__(self, encoder: Encoder, actor: nn.Module, noise_dimensions: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.actor = actor
        self.noise_dimensions = noise_dimensions

    @property
    def uses_proprio(self) -> bool:
        """Whether it looks at poses."""
        return self.encoder.uses_proprio

    def forward(self, images: Images | None, proprio: Tensor | None) -> ActionDistribution:
        policy: ActionDistribution = self.actor(self.encoder(images, proprio))
        return policy
