"""Behaviour-regularised actor-critic: climb Q, at a price on the divergence from the data's behaviour.

Wu, Tucker and Nachum, "Behavior Regularized Offline Reinforcement Learning" (2019): KL(pi || b) in its primal
form, as a penalty of values (BRAC-v, section 4) or as a regulariser of the policy alone (BRAC-p). Settings
follow brac_primal of github.com/google-research/google-research (behavior_regularized_offline_rl).

A run has three parts: the first updates clone the behaviour policy b, which stays as it is from then on (the
authors clone it in a run of its own); in the next, critics learn while the actor only comes close to b; then
the actor climbs Q. b has an encoder of its own even where all other networks share one: the critics keep
training that one, so that what b has learned would no longer fit its features.

Critics and actor step from the same weights; the authors' actor sees the critics after their step. The
authors pull actions inside their bounds before they ask for log b; here the divergence is taken before tanh,
where nothing is lost. With several `steps` only the state that is bootstrapped from is penalised: the actions
before it are the data's own.

Shapes: K critics, B states, F features, H hidden units, A action dimensions, M = 2^S settings of S switches,
N actions a state for the divergence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.actor_critic import ActorCritic, Features
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.divergences import kl_estimate
from cog.algorithms.shared.losses import measured_td_loss, td_target
from cog.core.bounds import within
from cog.networks.actor import Actor
from cog.networks.distribution import TanhGaussian, snap_switches
from cog.networks.encoder import Encoder, Images, ObservationShape
from cog.replay.buffer import Batch

CLONE, WARM_UP, FULL = "clone", "warm-up", "full"


@dataclass(frozen=True)
class BRACConfig(AlgorithmConfig):
    """The settings of behaviour-regularised actor-critic."""

    name: ClassVar[str] = "brac"

    penalty: Literal["value", "policy"] = "value"
    """Where the divergence counts: in targets and policy ("value", BRAC-v), or the policy only (BRAC-p)."""
    divergence_weight: float = within("[0, inf)", 0.1)
    """Return that one nat of divergence from the data's behaviour costs (alpha)."""
    divergence_samples: int = within("[1, inf)", 4)
    """N: actions drawn at each state to estimate the divergence."""
    entropy_weight: float = within("[0, inf)", 0.0)
    """Fixed temperature of an entropy bonus, in targets and policy; 0 is none."""
    behaviour_updates: int = within("[1, inf)", 2000)
    """First updates, in which only the behaviour policy learns, by cloning; the run has to be longer."""
    warm_up_updates: int = within("[0, inf)", 1000)
    """Updates after those, in which the actor's loss leaves out Q."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update (tau)."""
    behaviour_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the behaviour policy and its encoder."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)

    def preparation(self) -> int:
        """Updates that clone the behaviour policy."""
        return self.behaviour_updates


PAPER = BRACConfig(
    behaviour_updates=300_000,
    warm_up_updates=20_000,
    discount=0.99,
    steps=1,
    target_rate=5e-3,
    behaviour_lr=5e-4,
    critic_lr=1e-3,
)
"""The authors' example of brac_primal with a value penalty."""


class BRAC(ActorCritic[BRACConfig]):
    """Critics, an actor that climbs them, and a price on leaving the cloned behaviour."""

    Config = BRACConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": BRACConfig(), "paper": PAPER}
    progress = ("td_loss", "q_data", "q_policy", "divergence", "behaviour_likelihood")
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn."""

        shifts: Shifts
        policy: Tensor  # (B, N, A - S) for actions at s; the first is the one that Q scores
        next_policy: Tensor  # (B, N, A - S) for actions at s'; the first is the one to bootstrap from

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; a return less penalties has no bounds, so `return_bounds` are not used."""
        super().__init__(settings, shape, actions, None)
        network, device = settings.network, settings.device
        self.build_networks()
        self.behaviour_encoder = Encoder(shape, network).to(device)
        self.behaviour = Actor(self.behaviour_encoder.features, actions, network).to(device)
        self.ready()
        self.add_optimizers(self.config.critic_lr, self.config.actor_lr)
        parameters = [*self.behaviour.parameters(), *self.behaviour_encoder.parameters()]
        self.add_optimizer("behaviour", parameters, self.config.behaviour_lr)

    def phases(self) -> tuple[Phase]:
        """One phase, by the part of the run."""
        after = self.updates_done - self.config.behaviour_updates
        if after < 0:
            return (CLONE,)
        return (WARM_UP if after < self.config.warm_up_updates else FULL,)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        moves = self.action_dimensions - self.settings.network.switches
        number = self.config.divergence_samples
        return self.Draws(
            shifts=self.draw_shifts(size),
            policy=self.draw_normal(size, number, moves),
            next_policy=self.draw_normal(size, number, moves),
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """The loss of the behaviour policy, or all losses of an actor with critics."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            if phase == CLONE:
                loss, metrics = self.behaviour_loss(self.behaviour_at(images, batch.proprio), batch)
                return {"behaviour": loss}, metrics
            features = self.encode(images, next_images, batch)
            states = self.critic.project(features.critic)
            with torch.no_grad():
                behaviour = self.behaviour_at(images, batch.proprio)
                _, metrics = self.behaviour_loss(behaviour, batch)
                next_value, more = self.next_value(features, next_images, batch, draws.next_policy)
                metrics |= more
            critic, more = self.critic_loss(states, next_value, batch)
            metrics |= more
            policy = self.actor(features.actor)
            actor, more = self.actor_loss(states.detach(), policy, behaviour, draws.policy, phase)
        return {"critic": critic, "actor": actor}, metrics | more

    def behaviour_at(self, images: Images | None, proprio: Tensor) -> TanhGaussian:
        """b(.|s) at these states."""
        behaviour: TanhGaussian = self.behaviour(self.behaviour_encoder(images, proprio))
        return behaviour

    def behaviour_loss(self, behaviour: TanhGaussian, batch: Batch) -> tuple[Tensor, Metrics]:
        """-mean log b(a|s) of the data."""
        likelihood = behaviour.log_prob(batch.actions, self.settings.network.action_limit).mean()
        return -likelihood, {"behaviour_likelihood": likelihood.detach()}

    def next_value(
        self, features: Features, next_images: Images | None, batch: Batch, normal: Tensor
    ) -> tuple[Tensor, Metrics]:
        """min_k Q'_k(s', a') - alpha * KL(pi || b) at s', (B,), a' ~ pi(.|s'), without gradient.

        BRAC-p leaves the divergence out. The expectation over switches of a' is exact.
        """
        policy = self.actor(features.next_actor)
        actions, log_pi, probability = policy.enumerate_switches(normal[:, :1])
        q = self.target.q(self.target.project(features.next_target), actions).amin(0)
        value = (probability * (q - self.config.entropy_weight * log_pi)).sum(1)
        if self.config.penalty == "policy":
            return value, {}
        divergence = kl_estimate(policy, self.behaviour_at(next_images, batch.next_proprio), normal)
        value = value - self.config.divergence_weight * divergence
        return value, {"next_divergence": divergence.mean()}

    def critic_loss(self, states: Tensor, next_value: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * `next_value`)^2 over the data, `states` (K, B, H)."""
        data_actions = snap_switches(batch.actions, self.settings.network.switches)
        q = self.critic.q(states, data_actions[:, None])[..., 0]  # (K, B)
        target = td_target(batch.rewards, batch.bootstrap, next_value)
        return measured_td_loss(q, target)

    def actor_loss(
        self, states: Tensor, policy: TanhGaussian, behaviour: TanhGaussian, normal: Tensor, phase: Phase
    ) -> tuple[Tensor, Metrics]:
        """mean(alpha * KL(pi || b) - min_k Q_k(s, a)), a ~ pi(.|s); in the warm-up the divergence alone.

        `states` (K, B, H) and `behaviour` carry no gradient.
        """
        actions, log_pi, probability = policy.enumerate_switches(normal[:, :1])
        log_pi = (probability * log_pi).sum(1).mean()
        q = (probability * self.critic.q(states, actions).amin(0)).sum(1).mean()
        divergence = kl_estimate(policy, behaviour, normal).mean()
        loss = self.config.divergence_weight * divergence + self.config.entropy_weight * log_pi
        if phase == FULL:
            loss = loss - q
        metrics = {"actor_loss": loss, "q_policy": q, "divergence": divergence, "entropy": -log_pi}
        return loss, {name: value.detach() for name, value in metrics.items()}

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics, once these learn."""
        if self.phases() != (CLONE,):
            self.move_target_critics(self.config.target_rate)
