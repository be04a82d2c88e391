"""The networks of a deterministic actor with critics, and a target of each (DDPG, TD3, TD3+BC).

Not an algorithm: it holds none of their losses. With one encoder for all, the target actor sees the target
critics' features: both are copies of the same encoder that move together.

Shapes: K critics, B states, E encoders, F features, A action dimensions.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.actor_critic import ActorCritic
from cog.algorithms.shared.base import C, move_towards
from cog.algorithms.shared.config import Settings
from cog.errors import UsageError
from cog.networks.actor import DeterministicActor
from cog.networks.encoder import Images, ObservationShape
from cog.replay.buffer import Batch


class Now(NamedTuple):
    """The states s as the actor's loss sees them."""

    critic: Tensor  # (1, B, F) of Q_1, without gradient
    actor: Tensor  # (B, F), with gradient to the actor's own encoder, if it has one


class Next(NamedTuple):
    """The states s' as the target networks see them, without gradient."""

    critic: Tensor  # (E, B, F)
    actor: Tensor  # (B, F)


class DeterministicActorCritic(ActorCritic[C]):
    """Critics and a deterministic actor, with targets of both."""

    actor_kind = DeterministicActor

    @classmethod
    def check(cls, settings: Settings, shape: ObservationShape, actions: int) -> None:
        """Refuse settings that these algorithms cannot use, before anything is built.

        Raises:
            UsageError: some components are declared switches.
        """
        super().check(settings, shape, actions)
        if switches := settings.network.switches:
            raise UsageError(
                f"network.switches is {switches}; the deterministic policy of {settings.algorithm.name} "
                "cannot have switches. Leave network.switches out, or choose --algorithm cql"
            )

    def build_networks(self) -> None:
        """Create critics and actor, and targets that start as their copies."""
        super().build_networks()
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_encoder = None
        if self.actor_encoder is not None:
            self.target_encoder = copy.deepcopy(self.actor_encoder).requires_grad_(False)

    def encode_actor(self, images: Images | None, batch: Batch, critic: Tensor) -> Tensor:
        """s as the actor sees it, (B, F), where the critics' features (E, B, F) are known already."""
        if self.actor_encoder is None:
            return critic[0].detach()
        features: Tensor = self.actor_encoder(images, batch.proprio)
        return features

    def encode_for_actor(self, images: Images | None, batch: Batch) -> Now:
        """s through Q_1's encoder, without gradient, and the actor's: all that a phase of the actor needs."""
        first = self.critic.encoders[0]
        with torch.no_grad():
            critic = first(images, batch.proprio)[None]
        return Now(critic, self.encode_actor(images, batch, critic))

    @torch.no_grad()
    def encode_next(self, next_images: Images | None, batch: Batch) -> Next:
        """Each image of s' through each target encoder once."""
        critic = self.target.encode(next_images, batch.next_proprio)
        if self.target_encoder is None:
            return Next(critic, critic[0])
        return Next(critic, self.target_encoder(next_images, batch.next_proprio))

    def move_targets(self, rate: float) -> None:
        """target += `rate` * (weight - target), for every weight of critics and actor."""
        self.move_target_critics(rate)
        targets, sources = list(self.target_actor.parameters()), list(self.actor.parameters())
        if self.target_encoder is not None and self.actor_encoder is not None:
            targets += self.target_encoder.parameters()
            sources += self.actor_encoder.parameters()
        move_towards(targets, sources, rate)
