"""TD3: DDPG with twin critics, smoothed target actions and an actor that moves at every second update.

Fujimoto et al., "Addressing Function Approximation Error in Actor-Critic Methods" (2018), algorithm 1, with
the settings of its present code (github.com/sfujim/TD3), which differ from the paper's. It counters the
over-estimation that a maximum over noisy values makes, but not values of actions that the data never held:
offline it still climbs those.

At an update that moves the actor, both losses are taken at the same weights, before either step.

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
from cog.algorithms.shared.losses import measured_td_loss, smoothed, td_target
from cog.core.bounds import within
from cog.networks.encoder import ObservationShape
from cog.replay.buffer import Batch

CRITIC, BOTH = "critic", "critic and actor"


@dataclass(frozen=True)
class TD3Config(AlgorithmConfig):
    """The settings of TD3; the defaults are those of the authors' code."""

    name: ClassVar[str] = "td3"

    discount: float = within("[0, 1)", 0.99)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 1)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 5e-3)
    """Share of critics and actor that moves into their targets at each update of the actor (tau)."""
    actor_every: int = within("[1, inf)", 2)
    """Updates of the critics for each update of actor and targets (d)."""
    smoothing: float = within("[0, inf)", 0.2)
    """Standard deviation of the noise on the target action (sigma)."""
    smoothing_limit: float = within("[0, inf)", 0.5)
    """Largest size of that noise in any component (c)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)


class TD3(DeterministicActorCritic[TD3Config]):
    """Twin critics with smoothed targets, and an actor that climbs the first of them."""

    Config = TD3Config
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {
        "cpu": TD3Config(discount=0.97, steps=5, target_rate=0.01),
        "paper": TD3Config(),
    }
    progress = ("td_loss", "q_data", "q_policy")
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn."""

        shifts: Shifts
        smoothing: Tensor  # (B, A) standard normal, for the target action

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

    def phases(self) -> tuple[Phase]:
        """The critics alone, or at each `actor_every`-th update the actor as well."""
        due = (self.updates_done + 1) % self.config.actor_every == 0
        return (BOTH if due else CRITIC,)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(self.draw_shifts(size), self.draw_normal(size, self.action_dimensions))

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """The losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            encoded, following = (
                self.critic.encode(images, batch.proprio),
                self.encode_next(next_images, batch),
            )
            states = self.critic.project(encoded)
            next_actions = self.target_actions(following, draws.smoothing)
            critic, metrics = self.critic_loss(states, batch, following, next_actions)
            if phase == CRITIC:
                return {"critic": critic}, metrics
            actor, more = self.actor_loss(states.detach(), self.encode_actor(images, batch, encoded))
        return {"critic": critic, "actor": actor}, metrics | more

    @torch.no_grad()
    def target_actions(self, following: Next, normal: Tensor) -> Tensor:
        """clip(pi'(s') + clip(sigma * epsilon, -c, c), -1, 1), (B, A): target policy smoothing."""
        actions: Tensor = self.target_actor(following.actor).mode()
        return smoothed(actions, normal, self.config.smoothing, self.config.smoothing_limit)

    def critic_loss(
        self, states: Tensor, batch: Batch, following: Next, next_actions: Tensor
    ) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * min_k Q'_k(s', a'))^2, a' (B, A) from `target_actions`."""
        q = self.critic.q(states, batch.actions[:, None])[..., 0]  # (K, B)
        with torch.no_grad():
            next_q = self.target.q(self.target.project(following.critic), next_actions[:, None])[..., 0]
            target = td_target(batch.rewards, batch.bootstrap, next_q.amin(0))
        return measured_td_loss(q, target)

    def actor_loss(self, states: Tensor, features: Tensor) -> tuple[Tensor, Metrics]:
        """-mean Q_1(s, pi(s)): `states` (K, B, H) carry no gradient, `features` (B, F) are the actor's."""
        pi_actions = self.actor(features).mode()
        q = self.critic.q(states, pi_actions[:, None], first=1).mean()
        return -q, {"actor_loss": -q.detach(), "q_policy": q.detach()}

    def update_targets(self) -> None:
        """Move the targets of critics and actor by `target_rate`, after each update of the actor."""
        if self.phases() == (BOTH,):
            self.move_targets(self.config.target_rate)
