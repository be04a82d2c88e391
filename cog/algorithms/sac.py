"""Soft actor-critic: maximum-entropy off-policy learning, with no tie to the data.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (2018): one-step targets with the entropy in
the backup, the lower of two target critics, and a learned temperature. Offline it fails as off-policy methods
do: nothing corrects Q at actions that the data never held, and the actor seeks out where it is too large.

Shapes: K critics, B states, E encoders, F features, H hidden units, A action dimensions, M = 2^S settings of
S switches.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from cog.algorithms.shared.actor_critic import ActorCritic, Features
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import measured_td_loss, td_target, temperature_loss
from cog.core.bounds import within
from cog.networks.distribution import snap_switches
from cog.networks.encoder import ObservationShape
from cog.replay.buffer import Batch


@dataclass(frozen=True)
class SACConfig(AlgorithmConfig):
    """The settings of soft actor-critic."""

    name: ClassVar[str] = "sac"

    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update (tau)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""
    temperature_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the entropy temperature."""
    initial_temperature: float = within("(0, inf)", 0.05)
    """Entropy temperature at the start."""
    target_entropy: float | None = within("(-inf, inf)", None)
    """Entropy in nats that the temperature aims at. Default: minus the number of components that move."""

    def returns(self) -> Returns:
        """Discount of the one-step transitions."""
        return Returns(self.discount)


PAPER = SACConfig(
    discount=0.99, target_rate=5e-3, actor_lr=1e-4, temperature_lr=1e-4, initial_temperature=1.0
)
"""As the preset of CQL, with which it is compared."""


class SAC(ActorCritic[SACConfig]):
    """Critics of the soft return, and an actor that climbs them."""

    Config = SACConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": SACConfig(), "paper": PAPER}
    progress = ("td_loss", "q_data", "q_policy", "entropy", "temperature")
    finetunes = True
    stitches = True  # a chain of three steps is too short for its values to run away

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn."""

        shifts: Shifts
        policy: Tensor  # (B, 1, A - S) for the actor's action at s
        backup: Tensor  # (B, 1, A - S) for the action at s' to bootstrap from

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; a soft return has no bounds, so `return_bounds` are not used."""
        super().__init__(settings, shape, actions, None)
        config = self.config
        self.build_networks()
        start = torch.tensor(math.log(config.initial_temperature), device=settings.device)
        self.log_temperature = nn.Parameter(start)
        moves = actions - settings.network.switches
        self.target_entropy = -float(moves) if config.target_entropy is None else config.target_entropy
        self.ready()
        self.add_optimizers(config.critic_lr, config.actor_lr)
        self.add_optimizer("temperature", [self.log_temperature], config.temperature_lr)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        moves = self.action_dimensions - self.settings.network.switches
        return self.Draws(
            shifts=self.draw_shifts(size),
            policy=self.draw_normal(size, 1, moves),
            backup=self.draw_normal(size, 1, moves),
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            features = self.encode(*self.augmented(batch, draws.shifts), batch)
            states = self.critic.project(features.critic)
            critic, metrics = self.critic_loss(states, batch, features, draws.backup)
            actor, log_pi, more = self.actor_loss(states.detach(), features.actor, draws.policy)
            metrics |= more
            temperature, more = self.temperature_loss(log_pi)
            metrics |= more
        return {"critic": critic, "actor": actor, "temperature": temperature}, metrics

    def critic_loss(
        self, states: Tensor, batch: Batch, features: Features, normal: Tensor
    ) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * V(s'))^2, V(s') = min_k Q'_k(s', a') - alpha * log pi(a'|s').

        alpha is the temperature, a' ~ pi(.|s') with the exact expectation over its switches; `states` are
        projected, (K, B, H).
        """
        data_actions = snap_switches(batch.actions, self.settings.network.switches)
        q = self.critic.q(states, data_actions[:, None])[..., 0]  # (K, B)
        with torch.no_grad():
            next_actions, log_pi, probability = self.actor(features.next_actor).enumerate_switches(normal)
            next_q = self.target.q(self.target.project(features.next_target), next_actions).amin(0)
            soft_q = (probability * (next_q - self.log_temperature.exp() * log_pi)).sum(1)
            target = td_target(batch.rewards, batch.bootstrap, soft_q)
        return measured_td_loss(q, target)

    def actor_loss(self, states: Tensor, features: Tensor, normal: Tensor) -> tuple[Tensor, Tensor, Metrics]:
        """mean(temperature * log pi(a|s) - min_k Q_k(s, a)), a ~ pi(.|s), and the expected log pi(a|s), (B,).

        `states` (K, B, H) carry no gradient; `features` (B, F) are what the actor sees.
        """
        actions, log_pi, probability = self.actor(features).enumerate_switches(normal)
        log_pi = (probability * log_pi).sum(1)
        q = (probability * self.critic.q(states, actions).amin(0)).sum(1)
        loss = (self.log_temperature.exp().detach() * log_pi - q).mean()
        metrics = {"actor_loss": loss, "q_policy": q.mean(), "entropy": -log_pi.mean()}
        return loss, log_pi, {name: value.detach() for name, value in metrics.items()}

    def temperature_loss(self, log_pi: Tensor) -> tuple[Tensor, Metrics]:
        """Raise the temperature while the policy's entropy is below its target."""
        loss = temperature_loss(self.log_temperature, log_pi, self.target_entropy)
        return loss, {"temperature": self.log_temperature.detach().exp()}

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics."""
        self.move_target_critics(self.config.target_rate)
