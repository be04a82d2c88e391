"""TD3+BC: twin delayed deep deterministic policy gradient, with a pull of the actor towards the data.

Fujimoto and Gu, "A Minimalist Approach to Offline Reinforcement Learning" (2021), equation 5, on top of
Fujimoto et al., "Addressing Function Approximation Error in Actor-Critic Methods" (2018). Poses are
standardised over the data as the paper does with states; rewards are not. A shared encoder is trained by the
critics alone.

Shapes: K critics, B states, E encoders, F features, H hidden units, A action dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.deterministic import DeterministicActorCritic, Next, Now
from cog.algorithms.shared.losses import measured_td_loss, smoothed, td_target
from cog.core.bounds import within
from cog.core.parallel import averaged, size
from cog.errors import UsageError
from cog.networks.encoder import ObservationShape
from cog.replay.buffer import Batch

CRITIC, ACTOR = "critic", "actor"


@dataclass(frozen=True)
class TD3BCConfig(AlgorithmConfig):
    """The settings of TD3+BC; the defaults are the paper's."""

    name: ClassVar[str] = "td3_bc"

    weight: float = within("[0, inf)", 2.5)
    """Weight of Q against imitation (the paper's alpha); 0 clones the data."""
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


class TD3BC(DeterministicActorCritic[TD3BCConfig]):
    """Critics with smoothed targets, and a deterministic actor that climbs them close to the data."""

    Config = TD3BCConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {
        "cpu": TD3BCConfig(discount=0.97, steps=5, target_rate=0.01),  # as CQL's: rewards are far away
        "paper": TD3BCConfig(),
    }
    progress = ("td_loss", "q_data", "q_policy", "action_error")
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

    @classmethod
    def check(cls, settings: Settings, shape: ObservationShape, actions: int) -> None:
        """Refuse settings that this algorithm cannot use, before anything is built.

        Raises:
            UsageError: some components are declared switches, or several processes are to compile.
        """
        super().check(settings, shape, actions)
        if settings.compiled and size() > 1:
            raise UsageError(
                "td3_bc scales Q by its mean over all processes, which --compiled cannot. "
                "Leave out --compiled, or start one process"
            )

    def phases(self) -> tuple[Phase, ...]:
        """The critics at each update; the actor after them, at each `actor_every`-th."""
        due = (self.updates_done + 1) % self.config.actor_every == 0
        return (CRITIC, ACTOR) if due else (CRITIC,)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(self.draw_shifts(size), self.draw_normal(size, self.action_dimensions))

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """The loss of one phase; their order in `phases` is the algorithm."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            if phase == CRITIC:
                states = self.critic.project(self.critic.encode(images, batch.proprio))
                following = self.encode_next(next_images, batch)
                next_actions = self.target_actions(following, draws.smoothing)
                loss, metrics = self.critic_loss(states, batch, following, next_actions)
            else:
                loss, metrics = self.actor_loss(self.encode_for_actor(images, batch), batch)
        return {phase: loss}, metrics

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

    def actor_loss(self, now: Now, batch: Batch) -> tuple[Tensor, Metrics]:
        """-lambda * mean Q_1(s, pi(s)) + mean (pi(s) - a)^2, lambda = weight / mean |Q_1(s, pi(s))|.

        lambda carries no gradient; the second mean is over states and components.
        """
        pi_actions = self.actor(now.actor).mode()
        states = self.critic.project(now.critic).detach()
        q = self.critic.q(states, pi_actions[:, None], first=1)[0, :, 0]
        # Of the whole batch, however many processes share it.
        q_size = averaged([q.detach().abs().mean()])[0]
        scale = self.config.weight / q_size.clamp(min=1e-8)
        error = (pi_actions - batch.actions).square().mean()
        loss = error - scale * q.mean()
        metrics = {"actor_loss": loss, "q_policy": q.mean(), "action_error": error, "q_scale": scale}
        return loss, {name: value.detach() for name, value in metrics.items()}

    def update_targets(self) -> None:
        """Move the targets of critics and actor by `target_rate`, after each update of the actor."""
        if ACTOR in self.phases():
            self.move_targets(self.config.target_rate)
