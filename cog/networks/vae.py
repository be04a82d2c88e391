"""A conditional variational autoencoder of actions: the model of behaviour in BCQ and BEAR.

Shapes: B states, F features, A action dimensions, L latent dimensions, N latents per state.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cog.networks.precision import full_precision, widened
from cog.networks.trunk import ConditionedTrunk

LOG_STD_RANGE = (-4.0, 15.0)  # of the encoder, as in the code of BCQ


class Posterior(NamedTuple):
    """q(z|s, a) at B recorded actions: Normal(mean, exp(log_std)), both (B, L)."""

    mean: Tensor
    log_std: Tensor

    def sample(self, normal: Tensor) -> Tensor:
        """The latents (B, L) that standard normal numbers (B, L) pick; unbounded."""
        return self.mean + self.log_std.exp() * normal


class Decoder(nn.Module):
    """Features (B, F) and latents (B, N, L) -> actions (B, N, A) in (-1, 1), the tanh of the last layer."""

    def __init__(
        self, features: int, actions: int, latents: int, widths: Sequence[int], layer_norm: bool
    ) -> None:
        super().__init__()
        self.latents = latents
        self.trunk = ConditionedTrunk(features, latents, widths, layer_norm)
        self.last = nn.Linear(self.trunk.width, actions)

    def pre_tanh(self, features: Tensor, latents: Tensor) -> Tensor:
        """The last layer itself, (B, N, A)."""
        hidden = self.trunk(features, latents)
        with full_precision(hidden):
            decoded: Tensor = self.last(widened(hidden))
        return decoded

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        return self.pre_tanh(features, latents).tanh()


class VAE(nn.Module):
    """An encoder (s, a) -> q(z|s, a) and a decoder (s, z) -> a; the prior of z is standard normal.

    Fujimoto et al., "Off-Policy Deep Reinforcement Learning without Exploration" (2019), section 5.
    """

    def __init__(
        self, features: int, actions: int, latents: int, widths: Sequence[int], layer_norm: bool
    ) -> None:
        """`widths` are the hidden layers of the encoder and of the decoder."""
        super().__init__()
        self.trunk = ConditionedTrunk(features, actions, widths, layer_norm)
        self.mean = nn.Linear(self.trunk.width, latents)
        self.log_std = nn.Linear(self.trunk.width, latents)
        self.decoder = Decoder(features, actions, latents, widths, layer_norm)

    def posterior(self, features: Tensor, actions: Tensor) -> Posterior:
        """q(z|s, a) for features (B, F) and actions (B, A)."""
        hidden = self.trunk(features, actions[:, None])[:, 0]
        with full_precision(hidden):
            hidden = widened(hidden)
            return Posterior(self.mean(hidden), self.log_std(hidden).clamp(*LOG_STD_RANGE))

    def reconstructed(self, features: Tensor, posterior: Posterior, normal: Tensor) -> Tensor:
        """The actions (B, A) decoded from the latents that `normal` (B, L) picks of the posterior."""
        decoded: Tensor = self.decoder(features, posterior.sample(normal)[:, None])
        return decoded[:, 0]


def prior_latents(normal: Tensor, limit: float) -> Tensor:
    """Latents of the prior for acting and targets: standard normal numbers clamped to +-`limit`.

    Clamped, not redrawn: with the authors' 0.5, 62 % of them in each dimension are at one of the bounds.
    """
    return torch.clamp(normal, -limit, limit)
