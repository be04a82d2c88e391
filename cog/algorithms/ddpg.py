"""Deep deterministic policy gradient: a critic, and an actor that climbs it, with no tie to the data.

Lillicrap et al., "Continuous Control with Deep Reinforcement Learning" (2016), in the form that Fujimoto et
al. (2018) compare TD3 with: critic and actor learn at the same rate, without weight decay. Offline it shows
extrapolation error (Fujimoto et al., 2019): the target asks the critic about actions that the data never
held.

It is an algorithm of one critic. Of K = `network.critics` the first alone is climbed and bootstrapped from;
the others learn the same targets. Both losses are taken at the same weights, before either step.

Shapes: K critics, B states, E encoders, F features, H hidden units, A action dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.deterministic import DeterministicActorCritic, Next
from cog.algorithms.shared.losses import measured_td_loss, td_target
from cog.core.bounds import within
from cog.networks.encoder import ObservationShape
from cog.replay.buffer import Batch


@dataclass(frozen=True)
class DDPGConfig(AlgorithmConfig):
    """The settings of DDPG; the defaults are those of "our DDPG" in the code of TD3."""

    name: ClassVar[str] = "ddpg"

    discount: float = within("[0, 1)", 0.99)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 1)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 5e-3)
    """Share of critics and actor that moves into their targets at each update (tau)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)


class DDPG(DeterministicActorCritic[DDPGConfig]):
    """A critic of the deterministic policy, and an actor that climbs it."""

    Config = DDPGConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {
        "cpu": DDPGConfig(discount=0.97, steps=5, target_rate=0.01),
        "paper": DDPGConfig(),
    }
    progress = ("td_loss", "q_data", "q_policy")
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update."""

        shifts: Shifts

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; `return_bounds` are not used."""
        super().__init__(settings, shape, actions, None)
        self.build_networks()
        self.ready()
        self.add_optimizers(self.config.critic_lr, self.config.actor_lr)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(self.draw_shifts(size))

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            encoded, following = (
                self.critic.encode(images, batch.proprio),
                self.encode_next(next_images, batch),
            )
            states = self.critic.project(encoded)
            critic, metrics = self.critic_loss(states, batch, following)
            actor, more = self.actor_loss(states.detach(), self.encode_actor(images, batch, encoded))
        return {"critic": critic, "actor": actor}, metrics | more

    def critic_loss(self, states: Tensor, batch: Batch, following: Next) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * Q'_1(s', pi'(s')))^2, `states` projected (K, B, H)."""
        q = self.critic.q(states, batch.actions[:, None])[..., 0]  # (K, B)
        with torch.no_grad():
            next_actions = self.target_actor(following.actor).mode()
            next_states = self.target.project(following.critic)
            next_q = self.target.q(next_states, next_actions[:, None], first=1)[0, :, 0]
            target = td_target(batch.rewards, batch.bootstrap, next_q)
        return measured_td_loss(q, target)

    def actor_loss(self, states: Tensor, features: Tensor) -> tuple[Tensor, Metrics]:
        """-mean Q_1(s, pi(s)): `states` (K, B, H) carry no gradient, `features` (B, F) are the actor's."""
        pi_actions = self.actor(features).mode()
        q = self.critic.q(states, pi_actions[:, None], first=1).mean()
        return -q, {"actor_loss": -q.detach(), "q_policy": q.detach()}

    def update_targets(self) -> None:
        """Move the targets of critics and actor by `target_rate`."""
        self.move_targets(self.config.target_rate)
