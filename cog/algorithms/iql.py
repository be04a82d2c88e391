"""Implicit Q-learning: values of the best actions in the data, without asking for those of any other action.

Kostrikov, Nair and Levine, "Offline Reinforcement Learning with Implicit Q-Learning" (2021), equations
5 to 7: V by expectile regression, Q by temporal differences towards V, and the policy by advantage-weighted
regression. The order is that of github.com/ikostrikov/implicit_q_learning at 09d7002: V steps first, then Q
and policy with the new V; the policy's advantages are of the target critics.

What differs from that code:

- Its policy, `policy="gaussian"` here and in the preset `paper`, is a Gaussian around tanh of a mean, with
  one standard deviation for all states and draws that are clipped. The default is the toolkit's
  tanh-Gaussian, whose deviation depends on the state and whose last components may be switches.
- It lowers the policy's step size alone over the run; `schedule` is the same for all parts here.
- Its networks have no LayerNorm; here all have it unless `network.layer_norm` is off.
- It clips the data's actions to 1 - 1e-5; here the likelihood clamps them to `network.action_limit`, 0.999 by
  default.
- It learns from states. Here V and policy see the features of the critics' encoder without gradient, unless
  `network.sharing` is "separate".

Shapes: K critics, B states, F features, A action dimensions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.actor_critic import ActorCritic, ActorKind
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import expectile_loss, measured_td_loss, td_target
from cog.core.bounds import within
from cog.errors import UsageError
from cog.networks.actor import Actor, GaussianActor
from cog.networks.distribution import ClippedGaussian, TanhGaussian, snap_switches
from cog.networks.encoder import Encoder, Images, ObservationShape
from cog.networks.value import Value
from cog.replay.buffer import Batch

VALUE, CRITIC_AND_ACTOR = "value", "critic and actor"


@dataclass(frozen=True)
class IQLConfig(AlgorithmConfig):
    """The settings of implicit Q-learning; the defaults suit rewards of 10 at the end of long episodes."""

    name: ClassVar[str] = "iql"

    # Most data never see the reward, so that an expectile near the mean would dilute it at every junction:
    # as for the paper's mazes, 0.9. An advantage of 0.3, one step's delay of a reward of 10, weighs exp(0.9).
    expectile: float = within("(0, 1)", 0.9)
    """Expectile of the data's Q that V aims at (tau): 0.5 is their mean, close to 1 almost the largest."""
    beta: float = within("[0, inf)", 3.0)
    """Inverse temperature: an action is imitated with weight exp(beta * advantage); 0 clones the data."""
    weight_limit: float = within("(0, inf)", 100.0)
    """Largest weight of an action."""
    policy: Literal["tanh_gaussian", "gaussian"] = "tanh_gaussian"
    """Policy: the toolkit's, or the paper's Gaussian, better where many actions lie on their bounds."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics, value function and their encoders."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)


PAPER = IQLConfig(expectile=0.7, beta=3.0, policy="gaussian", discount=0.99, steps=1, target_rate=5e-3)
"""The original's settings for locomotion, whose rewards are scaled to about 1 per step."""


class States(NamedTuple):
    """A batch of states as the losses of critics and actor see it."""

    critic: Tensor  # (K, B, H) of s, projected to the critics' first layer, with gradient
    policy: (
        TanhGaussian | ClippedGaussian
    )  # pi(.|s), with gradient to the actor (and to its own encoder, if it has one)
    value: Tensor  # (B,) V(s), without gradient
    next_value: Tensor  # (B,) V(s'), without gradient


class IQL(ActorCritic[IQLConfig]):
    """Critics, a value function between the data's mean and their best, and an actor that imitates the best.

    Online, the policy's own failures are weighted down like any other data.
    """

    Config = IQLConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": IQLConfig(), "paper": PAPER}
    progress = ("value_loss", "td_loss", "q_data", "v_data", "imitation_weight")
    finetunes = True
    bootstraps_from = "value"
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update: no action is ever drawn."""

        shifts: Shifts

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; targets stay within the data's values, so `return_bounds` are not used."""
        super().__init__(settings, shape, actions, None)
        network, device = settings.network, settings.device
        self.build_networks()
        self.value_encoder = Encoder(shape, network).to(device) if network.sharing == "separate" else None
        self.value = Value(self.policy_encoder().features, network).to(device)
        self.ready()
        self.add_optimizers(self.config.critic_lr, self.config.actor_lr)
        encoder = self.value_encoder.parameters() if self.value_encoder else ()
        self.add_optimizer("value", [*self.value.parameters(), *encoder], self.config.critic_lr)

    @classmethod
    def actor_of(cls, config: IQLConfig) -> ActorKind:
        """The actor of either policy."""
        return GaussianActor if config.policy == "gaussian" else Actor

    @classmethod
    def check(cls, settings: Settings, shape: ObservationShape, actions: int) -> None:
        """Refuse settings that this algorithm cannot use, before anything is built.

        Raises:
            UsageError: some components are declared switches, which a Gaussian policy has not.
        """
        super().check(settings, shape, actions)
        config, switches = settings.algorithm, settings.network.switches
        if isinstance(config, IQLConfig) and config.policy == "gaussian" and switches:
            raise UsageError(
                f"network.switches is {switches}, and the policy is a Gaussian, which has none",
                remedy="leave network.switches out, or choose --iql.policy tanh_gaussian",
            )

    def phases(self) -> tuple[Phase, ...]:
        """The value function first; critics and actor see it after its step."""
        return (VALUE, CRITIC_AND_ACTOR)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(self.draw_shifts(size))

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """The losses of one phase; the order of these lines is the algorithm."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            data_actions = snap_switches(batch.actions, self.settings.network.switches)
            target_q = self.target_q(images, batch, data_actions)
            if phase == VALUE:
                value, metrics = self.value_loss(self.values(images, batch.proprio), target_q)
                return {"value": value}, metrics
            states = self.states(images, next_images, batch)
            critic, metrics = self.critic_loss(states, data_actions, batch)
            actor, more = self.actor_loss(states, target_q, batch)
        return {"critic": critic, "actor": actor}, metrics | more

    @torch.no_grad()
    def target_q(self, images: Images | None, batch: Batch, data_actions: Tensor) -> Tensor:
        """min_k Q'_k(s, a) of the data's actions, (B,)."""
        states = self.target.project(self.target.encode(images, batch.proprio))
        return self.target.q(states, data_actions[:, None])[..., 0].amin(0)

    def values(self, images: Images | None, proprio: Tensor) -> Tensor:
        """V (B,) of these states, with gradient to the value function and its own encoder, if it has one."""
        if self.value_encoder is not None:
            features = self.value_encoder(images, proprio)
        else:
            with torch.no_grad():
                features = self.policy_encoder()(images, proprio)
        values: Tensor = self.value(features)
        return values

    def states(self, images: Images | None, next_images: Images | None, batch: Batch) -> States:
        """Every image through every network that needs it, once."""
        features = self.critic.encode(images, batch.proprio)
        shared = self.actor_encoder is None
        with torch.no_grad():
            value = self.value(features[0]) if shared else self.values(images, batch.proprio)
            next_value = self.values(next_images, batch.next_proprio)
        seen = (
            features[0].detach() if self.actor_encoder is None else self.actor_encoder(images, batch.proprio)
        )
        return States(self.critic.project(features), self.actor(seen), value, next_value)

    def value_loss(self, value: Tensor, target_q: Tensor) -> tuple[Tensor, Metrics]:
        """mean |tau - 1(u < 0)| u^2 with u = min_k Q'_k(s, a) - V(s), `target_q` and `value` (B,)."""
        loss = expectile_loss(target_q - value, self.config.expectile)
        return loss, {"value_loss": loss.detach(), "v_data": value.detach().mean()}

    def critic_loss(self, states: States, data_actions: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * V(s'))^2 over the data."""
        q = self.critic.q(states.critic, data_actions[:, None])[..., 0]  # (K, B)
        target = td_target(batch.rewards, batch.bootstrap, states.next_value)
        return measured_td_loss(q, target)

    def actor_loss(self, states: States, target_q: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """-mean min(exp(beta * (min_k Q'_k(s, a) - V(s))), limit) * log pi(a|s) over the data."""
        advantage = target_q - states.value
        # Bounded before exp, which may overflow.
        weight = (self.config.beta * advantage).clamp(max=math.log(self.config.weight_limit)).exp()
        log_pi = states.policy.log_prob(batch.actions, self.settings.network.action_limit)
        loss = -(weight * log_pi).mean()
        metrics = {
            "actor_loss": loss,
            "log_likelihood": log_pi.mean(),
            "advantage": advantage.mean(),
            "imitation_weight": weight.mean(),
        }
        return loss, {name: value.detach() for name, value in metrics.items()}

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics."""
        self.move_target_critics(self.config.target_rate)
