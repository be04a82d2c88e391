"""Conservative Q-learning with a soft actor-critic actor, as COG uses it: CQL(H), and its variants.

Kumar et al., "Conservative Q-Learning for Offline Reinforcement Learning" (2020), equations 1, 2 and 4 and
appendices A and F; Singh et al., "COG: Connecting New Skills to Past Experience with Offline Reinforcement
Learning" (2020).

Each image is encoded once per network and update, and the data's action and all 3N sampled ones are scored
there in one pass. Shapes: K critics, B states, E encoders, F features, H hidden units, A action dimensions,
N sampled actions, M = 2^S settings of S switches.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from cog.algorithms.shared.actor_critic import ActorCritic
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import (
    log_integral_exp,
    log_mean_exp,
    td_loss,
    td_target,
    temperature_loss,
)
from cog.core.bounds import within
from cog.errors import UsageError
from cog.networks.distribution import Noise, TanhGaussian, snap_switches
from cog.networks.encoder import ObservationShape
from cog.replay.buffer import Batch

WARM_UP, FULL = "warm-up", "full"


@dataclass(frozen=True)
class CQLConfig(AlgorithmConfig):
    """The terms of conservative Q-learning with a SAC actor."""

    name: ClassVar[str] = "cql"

    variant: Literal["cql_h", "cql_rho", "eq1", "eq2"] = "cql_h"
    """Conservative term: "eq1" lowers Q of the policy's actions, "eq2" raises the data's as well; "cql_h" and
    "cql_rho" lower the highest Q, among all actions and among the policy's, and raise the data's."""
    conservative_weight: float = within("[0, inf)", 0.05)
    """Weight of the conservative term (twice the paper's alpha, since the squared error here has no factor
    1/2); the starting value in the Lagrange form."""
    lagrange_gap: float | None = within("(-inf, inf)", None)
    """Gap that a learned conservative weight aims at; the authors' code compares it with the gap times a
    fixed weight. Default: the weight is fixed."""
    sampled_actions: int = within("[1, inf)", 2)
    """N: actions drawn per state from each of uniform, pi(.|s) and pi(.|s') in the conservative term; from
    pi(.|s) alone if the variant is not "cql_h"."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    backup_actions: int = within("[1, inf)", 1)
    """Actions drawn at the next state; the best is bootstrapped from (more than 1: CQL's max-Q backup)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update (tau)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""
    temperature_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the entropy temperature and the learned conservative weight."""
    initial_temperature: float = within("(0, inf)", 0.05)
    """Entropy temperature at the start."""
    target_entropy: float | None = within("(-inf, inf)", None)
    """Entropy in nats that the temperature aims at. Default: minus the number of components that move."""
    bc_updates: int = within("[0, inf)", 0)
    """First updates, in which the actor imitates the data instead of climbing Q."""
    bc_weight: float = within("[0, inf)", 0.3)
    """Weight of the imitation term kept in the actor's loss for the whole run."""
    bc_margin: float | None = within("(-inf, inf)", None)
    """Actions whose Q is further than this below the policy's own are not imitated. Default: all are."""
    clip_targets: bool = True
    """Whether bootstrapped targets are bounded by what returns can be, given the rewards in the data."""

    def __post_init__(self) -> None:
        """Refuse settings out of their bounds, and those that contradict each other.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        super().__post_init__()
        if self.variant == "eq1" and self.lagrange_gap is not None:
            raise UsageError(
                "cql.lagrange_gap compares Q of other actions with Q of the data, and the variant eq1 has no "
                "term of the data. Leave cql.lagrange_gap out, or choose the variant eq2"
            )

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)

    def online(self, weights: Mapping[str, Any]) -> "CQLConfig":
        """Without a warm-up, in which imitation alone would undo what was learned offline."""
        return dataclasses.replace(self, bc_updates=0, **weights)


PAPER = CQLConfig(
    conservative_weight=1.0,
    sampled_actions=1,
    discount=0.99,
    steps=1,
    target_rate=5e-3,
    actor_lr=1e-4,
    temperature_lr=1e-4,
    initial_temperature=1.0,
    bc_weight=0.0,
    bc_updates=10_000,
    clip_targets=False,
)
"""The figures of the reference's command line (github.com/avisingh599/cog at 98252e1)."""


class States(NamedTuple):
    """A batch of states as the losses see it."""

    critic: Tensor  # (K, B, H) of s, projected to the critics' first layer, with gradient
    policy: TanhGaussian  # pi(.|s), with gradient to the actor (and to its own encoder, if it has one)
    next_policy: TanhGaussian  # pi(.|s'), without gradient
    next_target: Tensor  # (E, B, F) of s', for the target critics


class PolicyActions(NamedTuple):
    """An action of pi(.|s) at each state, with every setting of the switches."""

    actions: Tensor  # (B, M, A), with gradient to the actor
    probability: Tensor  # (B, M) of each setting
    log_pi: Tensor  # (B,) expected log pi(a|s)


class CQL(ActorCritic[CQLConfig]):
    """Critics made pessimistic about actions outside the data, and an actor that climbs them."""

    Config = CQLConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": CQLConfig(), "paper": PAPER}
    progress = ("td_loss", "conservative_gap", "q_data", "q_policy", "entropy")
    finetunes = True
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn."""

        shifts: Shifts
        policy: Tensor  # (B, 1, A - S) for the actor's action
        uniform: Tensor  # (B, N, A) in [0, 1)
        sampled: Noise  # N actions of pi(.|s)
        next_sampled: Noise  # N actions of pi(.|s')
        backup: Noise  # actions of pi(.|s') to bootstrap from

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; `return_bounds` are the lowest and highest return possible, if known."""
        super().__init__(settings, shape, actions, return_bounds)
        config, device = self.config, settings.device
        self.build_networks()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.initial_temperature), device=device))
        self.log_weight = nn.Parameter(
            torch.tensor(math.log(max(config.conservative_weight, 1e-8)), device=device)
        )
        moves = actions - settings.network.switches
        self.target_entropy = -float(moves) if config.target_entropy is None else config.target_entropy
        if not config.clip_targets:
            self.return_bounds = None
        self.ready()
        self.add_optimizers(config.critic_lr, config.actor_lr)
        self.add_optimizer("temperature", [self.log_temperature], config.temperature_lr)
        if config.lagrange_gap is not None:
            self.add_optimizer("weight", [self.log_weight], config.temperature_lr)

    def phases(self) -> tuple[Phase]:
        """One phase: all losses at the same weights. During the warm-up the actor imitates only."""
        return (WARM_UP if self.updates_done < self.config.bc_updates else FULL,)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        number = self.config.sampled_actions
        return self.Draws(
            shifts=self.draw_shifts(size),
            policy=self.draw_normal(size, 1, self.action_dimensions - self.settings.network.switches),
            uniform=self.draw_uniform(size, number, self.action_dimensions),
            sampled=self.draw_noise(size, number),
            next_sampled=self.draw_noise(size, number),
            backup=self.draw_noise(size, self.config.backup_actions),
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            states = self.states(batch, draws.shifts)
            pi = self.policy_actions(states.policy, draws.policy)
            sampled, log_density = self.sampled_actions(states, draws)
            data_actions = snap_switches(batch.actions, self.settings.network.switches)
            q = self.critic.q(states.critic, torch.cat([data_actions[:, None], sampled], 1))
            q_data, q_sampled = q[..., 0], q[..., 1:]  # (K, B), (K, B, 3N)

            td, metrics = self.critic_loss(q_data, batch, states, draws.backup)
            conservative, more = self.conservative_loss(q_data, q_sampled, log_density)
            metrics |= more
            actor, more = self.actor_loss(pi, q_data.detach(), states, batch, phase)
            metrics |= more
            temperature, more = self.temperature_loss(pi.log_pi)
            metrics |= more
        losses = {"critic": td + conservative, "actor": actor, "temperature": temperature}
        if self.config.lagrange_gap is not None:
            losses["weight"] = self.weight_loss(metrics["conservative_gap"], self.config.lagrange_gap)
        return losses, metrics

    def states(self, batch: Batch, shifts: Shifts) -> States:
        """Every image through every network that needs it, once."""
        features = self.encode(*self.augmented(batch, shifts), batch)
        policy = self.actor(features.actor)
        with torch.no_grad():
            next_policy = self.actor(features.next_actor)
        return States(self.critic.project(features.critic), policy, next_policy, features.next_target)

    def policy_actions(self, policy: TanhGaussian, normal: Tensor) -> PolicyActions:
        """The action of pi(.|s) that `normal` (B, 1, A - S) picks, with every setting of the switches."""
        actions, log_pi, probability = policy.enumerate_switches(normal)
        return PolicyActions(actions, probability, (probability * log_pi).sum(1))

    @torch.no_grad()
    def sampled_actions(self, states: States, draws: Draws) -> tuple[Tensor, Tensor]:
        """N uniform, N pi(.|s) and N pi(.|s') actions, (B, 3N, A), with log-densities (B, 3N).

        All are scored at s: pi(.|s') only proposes (appendix F), which its density corrects. Means over
        pi(.|s) need its N actions alone, (B, N, A).
        """
        pi_actions, pi_density = states.policy.sample(draws.sampled)
        if self.config.variant != "cql_h":
            return pi_actions, pi_density
        next_actions, next_density = states.next_policy.sample(draws.next_sampled)
        # A component's range has length 2 and a switch has 2 settings: the density is 1/2 for both.
        uniform_density = torch.full_like(pi_density, -self.action_dimensions * math.log(2))
        random_actions = snap_switches(2 * draws.uniform - 1, self.settings.network.switches)
        actions = torch.cat([random_actions, pi_actions, next_actions], 1)
        return actions, torch.cat([uniform_density, pi_density, next_density], 1)

    def critic_loss(
        self, q_data: Tensor, batch: Batch, states: States, backup: Noise
    ) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * min_k Q'_k(s', a'))^2 over the data, Q (K, B), a' ~ pi(.|s').

        With several `backup_actions` the best by the lowest critic counts: the lowest of each action first,
        then the best action. The authors' max-Q backup takes the best of each critic first, then the lowest
        of these, which is never less. The backup holds no entropy term (the reference's "deterministic
        backup").
        """
        with torch.no_grad():
            next_actions, _ = states.next_policy.sample(backup)
            next_q = self.target.q(self.target.project(states.next_target), next_actions)
            target = td_target(batch.rewards, batch.bootstrap, next_q.amin(0).amax(1), self.return_bounds)
        loss = td_loss(q_data, target)
        return loss, {
            "td_loss": loss.detach() / len(q_data),
            "q_data": q_data.detach().mean(),
            "q_target": target.mean(),
        }

    def conservative_loss(
        self, q_data: Tensor, q_sampled: Tensor, log_density: Tensor
    ) -> tuple[Tensor, Metrics]:
        """alpha * gap, a sum over critics of the mean gap, for actions a_i from `sampled_actions`.

        cql_h: log sum_i exp(Q(s, a_i) - log p(a_i)) - Q(s, a). The sum estimates 3N times the integral of
        exp Q over actions (equation 4 with H). As in the reference it is not divided by 3N: the constant
        log(3N) moves no gradient of Q, but it is part of the gap that the Lagrange form compares with
        `lagrange_gap`.
        cql_rho: log mean_i exp Q(s, a_i) - Q(s, a) (appendix A with rho the current policy). Its gradient is
        the mean of Q's under mu, proportional to rho * exp(Q) and held constant, as at the inner maximum.
        eq1: mean_i Q(s, a_i). eq2: mean_i Q(s, a_i) - Q(s, a). Both with mu = pi(.|s).
        """
        gap = self.pushed_down(q_sampled, log_density)  # (K, B)
        if self.config.variant != "eq1":
            gap = gap - q_data
        gap = gap.mean(1)  # (K,)
        metrics = {
            "conservative_gap": gap.detach().mean(),
            "q_sampled": q_sampled.detach().mean(),
            "q_size": torch.maximum(q_sampled.detach().abs().amax(), q_data.detach().abs().amax()),
        }
        target_gap = self.config.lagrange_gap
        if target_gap is None:
            return self.config.conservative_weight * gap.sum(), metrics
        alpha = self.alpha().detach()
        return (alpha * (gap - target_gap)).sum(), metrics | {"conservative_weight": alpha}

    def pushed_down(self, q_sampled: Tensor, log_density: Tensor) -> Tensor:
        """What the variant lowers at each state, (K, B), from Q of sampled actions (K, B, n)."""
        if self.config.variant == "cql_h":
            return log_integral_exp(q_sampled, log_density)
        return log_mean_exp(q_sampled) if self.config.variant == "cql_rho" else q_sampled.mean(-1)

    def weight_loss(self, gap: Tensor, target_gap: float) -> Tensor:
        """-alpha * (gap - target gap): alpha rises while the gap is above its target (the Lagrange form).

        The authors' code has alpha * (w * gap - target gap) with a fixed w; with w = 1 both are the same.
        """
        return -self.alpha() * (gap - target_gap)

    def alpha(self) -> Tensor:
        """The learned conservative weight."""
        return self.log_weight.exp()

    def actor_loss(
        self, pi: PolicyActions, q_data: Tensor, states: States, batch: Batch, phase: Phase
    ) -> tuple[Tensor, Metrics]:
        """temperature * log pi(a|s) - min_k Q_k(s, a) - `bc_weight` * log pi(data), a ~ pi(.|s).

        During the warm-up, the first `bc_updates`, without Q and with a `bc_weight` of 1. Data that may not
        be imitated count as 0 in the last mean. `q_data` (K, B) carries no gradient.
        """
        loss = (self.log_temperature.exp().detach() * pi.log_pi).mean()
        metrics: Metrics = {}
        imitated = batch.imitated
        if phase == FULL:
            q = (pi.probability * self.critic.q(states.critic.detach(), pi.actions).amin(0)).sum(1)
            loss = loss - q.mean()
            metrics["q_policy"] = q.detach().mean()
            if self.config.bc_margin is not None:
                good = (q_data.amin(0) > q.detach() - self.config.bc_margin).float()
                imitated = good if imitated is None else good * imitated
                metrics["imitated"] = good.mean()
        weight = self.config.bc_weight if phase == FULL else 1.0
        if weight:
            likelihood = states.policy.log_prob(batch.actions, self.settings.network.action_limit)
            likelihood = (likelihood if imitated is None else likelihood * imitated).mean()
            loss = loss - weight * likelihood
            metrics["log_likelihood"] = likelihood.detach()
        return loss, metrics | {"actor_loss": loss.detach(), "entropy": -pi.log_pi.detach().mean()}

    def temperature_loss(self, log_pi: Tensor) -> tuple[Tensor, Metrics]:
        """Raise the temperature while the policy's entropy is below its target (SAC, 2018)."""
        loss = temperature_loss(self.log_temperature, log_pi, self.target_entropy)
        return loss, {"temperature": self.log_temperature.detach().exp()}

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics."""
        self.move_target_critics(self.config.target_rate)
        if self.config.lagrange_gap is not None:
            # Held here and not in `alpha`, where a weight above the limit would have no gradient to fall by.
            with torch.no_grad():
                self.log_weight.clamp_(max=math.log(1e6))
