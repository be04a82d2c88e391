"""Actions decoded from a behaviour model and moved a little towards higher values: how BCQ acts.

Fujimoto et al., "Off-Policy Deep Reinforcement Learning without Exploration" (2019), section 5.
Shapes: B states, F features, A action dimensions, of which the last S are switches, N actions per state,
L latent dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cog.networks.config import NetworkConfig
from cog.networks.distribution import snap_switches
from cog.networks.precision import full_precision, widened
from cog.networks.trunk import ConditionedTrunk, init_near_zero
from cog.networks.vae import Decoder, prior_latents


class Perturbation(nn.Module):
    """The perturbation model xi(s, a, Phi): how far each component of an action that moves is moved."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.moves = actions - config.switches
        self.trunk = ConditionedTrunk(features, actions, config.actor_widths, config.layer_norm)
        self.last = nn.Linear(self.trunk.width, self.moves)
        init_near_zero(self.last)

    def forward(self, features: Tensor, actions: Tensor, limit: float) -> Tensor:
        """clip(a + Phi * tanh(network(s, a)), -1, 1), (B, N, A), for actions (B, N, A) and Phi = `limit`.

        Switches stay as they are.
        """
        hidden = self.trunk(features, actions)
        with full_precision(hidden):
            moved = limit * self.last(widened(hidden)).tanh()
        moves = (actions[..., : self.moves] + moved).clamp(-1, 1)
        return torch.cat([moves, actions[..., self.moves :]], -1)


class Perturbed(NamedTuple):
    """The actions of BCQ at B states: decoded, switches snapped to -1 or 1, then perturbed."""

    features: Tensor  # (B, F)
    decoder: Decoder
    perturbation: Perturbation
    limit: float
    latent_limit: float
    switches: int

    def decoded(self, noise: Tensor) -> Tensor:
        """The actions (B, N, A) that standard normal `noise` (B, N, L) decodes to, before they are moved."""
        latents = prior_latents(noise, self.latent_limit)
        return snap_switches(self.decoder(self.features, latents), self.switches)

    def drawn(self, noise: Tensor) -> Tensor:
        """The actions (B, N, A) that standard normal `noise` (B, N, L) determines."""
        actions: Tensor = self.perturbation(self.features, self.decoded(noise), self.limit)
        return actions

    def mode(self) -> Tensor:
        """The action (B, A) at the prior's mode, z = 0: without critics there is none better."""
        return self.drawn(self.features.new_zeros(len(self.features), 1, self.decoder.latents))[:, 0]


class PerturbedVAE(nn.Module):
    """Features (B, F) -> the actions of BCQ at those states."""

    def __init__(
        self,
        decoder: Decoder,
        perturbation: Perturbation,
        limit: float,
        latent_limit: float,
        switches: int,
    ) -> None:
        """`limit` is Phi, the largest change of a component; latents are clamped to +-`latent_limit`."""
        super().__init__()
        self.decoder = decoder
        self.perturbation = perturbation
        self.limit = limit
        self.latent_limit = latent_limit
        self.switches = switches

    def forward(self, features: Tensor) -> Perturbed:
        limits = (self.limit, self.latent_limit)
        return Perturbed(features, self.decoder, self.perturbation, *limits, self.switches)
