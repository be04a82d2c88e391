"""The networks of an actor with critics, and every image through each of them once.

Not an algorithm: it holds what the algorithms with critics build, and none of their losses.
Shapes: K critics, B states, E encoders, F features, H hidden units.
"""

import copy
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.base import Algorithm, C, move_towards
from cog.networks.actor import Actor, DeterministicActor, GaussianActor, PolicyNetwork
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.encoder import Encoder, Images, ObservationShape
from cog.networks.perturbation import Perturbation
from cog.replay.buffer import Batch

ActorKind = type[Actor] | type[DeterministicActor] | type[GaussianActor] | type[Perturbation]


class Features(NamedTuple):
    """A batch of states as the networks see it."""

    critic: Tensor  # (E, B, F) of s, with gradient to the critics' encoders
    actor: Tensor  # (B, F) of s, with gradient to the actor's own encoder, if it has one
    next_actor: Tensor  # (B, F) of s', without gradient
    next_target: Tensor  # (E, B, F) of s', for the target critics, without gradient


class ActorCritic(Algorithm[C]):
    """Critics, target critics and an actor, with one encoder for all or one each (`network.sharing`)."""

    actor_kind: ClassVar[ActorKind] = Actor
    choosing_critics = "target"

    @classmethod
    def actor_of(cls, config: C) -> ActorKind:
        """The class of the actor; by these settings, where an algorithm has several."""
        return cls.actor_kind

    def build_networks(self) -> None:
        """Create critics, target critics that start as their copies, and the actor."""
        network, device = self.settings.network, self.settings.device
        self.critic = Critic(self.shape, self.action_dimensions, network).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        separate = network.sharing == "separate"
        self.actor_encoder = Encoder(self.shape, network).to(device) if separate else None
        kind = self.actor_of(self.config)
        self.actor = kind(self.policy_encoder().features, self.action_dimensions, network).to(device)

    def add_optimizers(self, critic_lr: float, actor_lr: float) -> None:
        """Adam for the critics with their encoders, and for the actor with its own encoder, if it has one."""
        encoder = self.actor_encoder.parameters() if self.actor_encoder else ()
        self.add_optimizer("critic", self.critic.parameters(), critic_lr)
        self.add_optimizer("actor", [*self.actor.parameters(), *encoder], actor_lr)

    def encode(self, images: Images | None, next_images: Images | None, batch: Batch) -> Features:
        """Every image through every encoder that needs it, once.

        A shared encoder is the critics' to train: the actor sees its features without gradient.
        """
        critic = self.critic.encode(images, batch.proprio)
        if self.actor_encoder is None:
            actor = critic[0].detach()
        else:
            actor = self.actor_encoder(images, batch.proprio)
        with torch.no_grad():
            next_actor = self.policy_encoder()(next_images, batch.next_proprio)
            next_target = self.target.encode(next_images, batch.next_proprio)
        return Features(critic, actor, next_actor, next_target)

    def policy_encoder(self) -> Encoder:
        """The encoder whose features the actor sees."""
        encoder = self.actor_encoder if self.actor_encoder is not None else self.critic.encoders[0]
        assert isinstance(encoder, Encoder)
        return encoder

    def policy(self) -> PolicyNetwork:
        """The current policy: the weights that learn, not a copy."""
        return PolicyNetwork(self.policy_encoder(), self.actor, self.action_dimensions)

    @classmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: C
    ) -> PolicyNetwork:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""
        encoder = Encoder(shape, network)
        return PolicyNetwork(encoder, cls.actor_of(config)(encoder.features, actions, network), actions)

    def move_target_critics(self, rate: float) -> None:
        """target += `rate` * (critic - target), for every weight of the critics."""
        move_towards(list(self.target.parameters()), list(self.critic.parameters()), rate)
