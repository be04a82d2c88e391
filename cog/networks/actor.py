"""The actor: features to a tanh-Gaussian policy; and what acts, an encoder with an actor.

Shapes: B states, F features, A action dimensions.
"""

import itertools

from torch import Tensor, nn

from cog.networks.config import NetworkConfig
from cog.networks.distribution import TanhGaussian
from cog.networks.encoder import Encoder, ObservationShape
from cog.networks.precision import full_precision, widened

LOG_STD_RANGE = (-5.0, 2.0)  # the reference's bounds


class Actor(nn.Module):
    """Features (B, F) -> the policy at those states."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        widths = (features, *config.actor_widths)
        layers: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(widths):
            layers.append(nn.Linear(width_in, width_out))
            if config.layer_norm:
                layers.append(nn.LayerNorm(width_out))
            layers.append(nn.ReLU())
        self.trunk = nn.Sequential(*layers)
        moves = actions - config.switches
        self.mean = nn.Linear(widths[-1], moves)
        self.log_std = nn.Linear(widths[-1], moves)
        self.odds = nn.Linear(widths[-1], config.switches) if config.switches else None
        for head in (self.mean, self.log_std, *([self.odds] if self.odds is not None else ())):
            nn.init.uniform_(head.weight, -1e-3, 1e-3)
            nn.init.zeros_(head.bias)

    def forward(self, features: Tensor) -> TanhGaussian:
        hidden = self.trunk(features)
        with full_precision(hidden):
            hidden = widened(hidden)
            mean, log_std = self.mean(hidden), self.log_std(hidden)
            odds = None if self.odds is None else self.odds(hidden)
        return TanhGaussian(mean, log_std.clamp(*LOG_STD_RANGE), odds)


class PolicyNetwork(nn.Module):
    """What acts: an encoder and an actor, and nothing that only training needs."""

    def __init__(self, shape: ObservationShape, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.encoder = Encoder(shape, config)
        self.actor = Actor(self.encoder.features, actions, config)

    def forward(self, images: Tensor | None, proprio: Tensor | None) -> TanhGaussian:
        policy: TanhGaussian = self.actor(self.encoder(images, proprio))
        return policy
