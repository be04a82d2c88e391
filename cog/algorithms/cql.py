"""Conservative Q-learning, CQL(H), with a soft actor-critic actor, as COG uses it.

Kumar et al., "Conservative Q-Learning for Offline Reinforcement Learning" (2020), equation 4 and appendix F;
Singh et al., "COG: Connecting New Skills to Past Experience with Offline Reinforcement Learning" (2020).

Each image is encoded once per network and update, and the data's action and all 3N sampled ones are scored
there in one pass. Shapes: B states, E encoders, F features, A action dimensions, N sampled actions.
"""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cog.algorithms.base import Agent, Metrics, lerp
from cog.algorithms.draws import Draws, draw
from cog.networks.actor import Actor
from cog.networks.critic import Critic
from cog.networks.distribution import Noise, TanhGaussian, settled
from cog.networks.encoder import Encoder, ObservationShape
from cog.replay.buffer import Batch
from cog.training.config import TrainConfig


class Encoded(NamedTuple):
    """A batch as the losses see it."""

    features: Tensor  # (E, B, F) of s, with gradient to the critics' encoders
    policy: TanhGaussian  # pi(.|s), with gradient to the actor (and to its own encoder, if it has one)
    next_policy: TanhGaussian  # pi(.|s')
    next_features: Tensor  # (E, B, F) of s', for the target critics


class CQL(Agent):
    """Critics made pessimistic about actions outside the data, and an actor that climbs them."""

    def __init__(
        self,
        config: TrainConfig,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; `return_bounds` are the lowest and highest return possible, if known."""
        super().__init__(config, shape, actions)
        cql, device = config.cql, config.device
        self.critic = Critic(shape, actions, config.network).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        own = config.network.sharing == "separate"
        self.actor_encoder = Encoder(shape, config.network).to(device) if own else None
        self.actor = Actor(self.policy_encoder().features, actions, config.network).to(device)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(cql.initial_temperature), device=device))
        self.log_weight = nn.Parameter(
            torch.tensor(math.log(max(cql.conservative_weight, 1e-8)), device=device)
        )
        moves = actions - config.network.switches
        self.target_entropy = -float(moves) if cql.target_entropy is None else cql.target_entropy
        self.return_bounds = return_bounds if cql.clip_targets else None
        self.ready()
        policy = [*self.actor.parameters(), *(self.actor_encoder.parameters() if self.actor_encoder else ())]
        self.add_optimizer("critic", self.critic.parameters(), cql.critic_lr)
        self.add_optimizer("actor", policy, cql.actor_lr)
        self.add_optimizer("temperature", [self.log_temperature], cql.temperature_lr)
        if cql.lagrange_gap is not None:
            self.add_optimizer("weight", [self.log_weight], cql.temperature_lr)

    def learn(self, batch: Batch) -> Metrics:
        """One step of everything."""
        draws = self.draws(len(batch.actions))
        gradients, metrics = self.differentiate(batch, draws, self.warming_up())
        for name, gradient in gradients.items():
            self.step(name, gradient)
        self.update_targets()
        return metrics

    def warming_up(self) -> bool:
        """Whether the actor imitates only."""
        return self.updates_done < self.config.cql.bc_updates

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        dtype = self.log_temperature.dtype
        return draw(self.generator, size, self.action_dimensions, self.config, self.shape, dtype)

    def losses(self, batch: Batch, draws: Draws, warm_up: bool) -> tuple[dict[str, Tensor], Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            encoded = self.encode(images, next_images, batch)
            mine, log_prob, chance = encoded.policy.settings(draws.mine)
            actions, log_density = self.sampled_actions(encoded, draws)
            states = self.critic.project(encoded.features)
            recorded = settled(batch.actions, self.config.network.switches)
            q = self.critic.q(states, torch.cat([recorded[:, None], actions], 1))
            q_data, q_sampled = q[..., 0], q[..., 1:]  # (2, B), (2, B, 3N)

            td_loss, metrics = self.critic_loss(q_data, batch, encoded, draws.backup)
            conservative_loss, more = self.conservative_loss(q_data, q_sampled, log_density)
            metrics |= more
            log_prob = (chance * log_prob).sum(1)
            actor_loss, more = self.actor_loss(
                mine, chance, log_prob, q_data.detach(), states.detach(), batch, encoded, warm_up
            )
            metrics |= more
            temperature_loss, more = self.temperature_loss(log_prob)
            metrics |= more
        losses = {
            "critic": td_loss + conservative_loss,
            "actor": actor_loss,
            "temperature": temperature_loss,
        }
        if self.config.cql.lagrange_gap is not None:
            losses["weight"] = self.weight_loss(metrics["conservative_gap"], self.config.cql.lagrange_gap)
        return losses, metrics

    def encode(self, images: Tensor | None, next_images: Tensor | None, batch: Batch) -> Encoded:
        """Every image through every network that needs it, once."""
        features = self.critic.encode(images, batch.proprio)
        if self.actor_encoder is None:
            seen = features[0].detach()
        else:
            seen = self.actor_encoder(images, batch.proprio)
        policy = self.actor(seen)
        with torch.no_grad():
            next_policy = self.actor(self.policy_encoder()(next_images, batch.next_proprio))
            next_features = self.target.encode(next_images, batch.next_proprio)
        return Encoded(features, policy, next_policy, next_features)

    @torch.no_grad()
    def sampled_actions(self, encoded: Encoded, draws: Draws) -> tuple[Tensor, Tensor]:
        """N uniform, N pi(.|s) and N pi(.|s') actions, (B, 3N, A), with log-densities (B, 3N).

        All are scored at s: pi(.|s') only proposes (appendix F), which its density corrects.
        """
        here, here_density = encoded.policy.sample(draws.here)
        there, there_density = encoded.next_policy.sample(draws.there)
        # A component's range has length 2 and a switch has 2 settings: the density is 1/2 for both.
        uniform_density = torch.full_like(here_density, -self.action_dimensions * math.log(2))
        uniform = settled(2 * draws.uniform - 1, self.config.network.switches)
        actions = torch.cat([uniform, here, there], 1)
        return actions, torch.cat([uniform_density, here_density, there_density], 1)

    def critic_loss(
        self, q_data: Tensor, batch: Batch, encoded: Encoded, backup: Noise
    ) -> tuple[Tensor, Metrics]:
        """Squared Bellman error of Q(s, a) in the data, (2, B), against the lower of two target critics.

        With several `backup_actions` the best of them counts. The backup holds no entropy term (the
        reference's "deterministic backup").
        """
        with torch.no_grad():
            next_actions, _ = encoded.next_policy.sample(backup)
            next_q = self.target.q(self.target.project(encoded.next_features), next_actions)
            next_q = next_q.amin(0).amax(1)
            target = batch.rewards + batch.bootstrap * next_q
            if self.return_bounds is not None:
                target = target.clamp(*self.return_bounds)
        loss = (q_data - target).square().mean(1).sum()
        return loss, {
            "td_loss": loss.detach() / len(q_data),
            "q_data": q_data.detach().mean(),
            "q_target": target.mean(),
        }

    def conservative_loss(
        self, q_data: Tensor, q_sampled: Tensor, log_density: Tensor
    ) -> tuple[Tensor, Metrics]:
        """alpha * (log sum exp(Q(s, a_i) - log p(a_i)) - Q(s, a)), a_i from `sampled_actions`.

        The sum estimates 3N times the integral of exp Q over actions (equation 4 with H). As in the reference
        it is not divided by 3N: the constant log(3N) moves no gradient of Q, but it is part of the gap
        that the Lagrange form compares with `lagrange_gap`.
        """
        soft_maximum = torch.logsumexp(q_sampled - log_density, -1)  # (2, B)
        gap = (soft_maximum - q_data).mean(1)  # (2,)
        metrics = {
            "conservative_gap": gap.detach().mean(),
            "q_sampled": q_sampled.detach().mean(),
            "q_size": torch.maximum(q_sampled.detach().abs().amax(), q_data.detach().abs().amax()),
        }
        wanted = self.config.cql.lagrange_gap
        if wanted is None:
            return self.config.cql.conservative_weight * gap.sum(), metrics
        weight = self._weight().detach()
        return (weight * (gap - wanted)).sum(), metrics | {"conservative_weight": weight}

    def weight_loss(self, gap: Tensor, wanted: float) -> Tensor:
        """Raise the conservative weight while the gap is larger than wanted (the Lagrange form)."""
        return -self._weight() * (gap - wanted)

    def actor_loss(
        self,
        actions: Tensor,
        chance: Tensor,
        log_prob: Tensor,
        q_data: Tensor,
        states: Tensor,
        batch: Batch,
        encoded: Encoded,
        warm_up: bool,
    ) -> tuple[Tensor, Metrics]:
        """Temperature * log pi(a|s) - min Q(s, a) - `bc_weight` * log pi(data), a ~ pi(.|s).

        During the warm-up, the first `bc_updates`, imitation alone. Takes actions (B, M, A) with every
        setting of the switches, the settings' probabilities (B, M), log-densities (B,), Q of the data's
        actions (2, B) and projected states (2, B, H), the last two without gradient.
        """
        cql = self.config.cql
        loss = (self.log_temperature.exp().detach() * log_prob).mean()
        metrics: Metrics = {}
        imitated = batch.imitated
        if not warm_up:
            q = (chance * self.critic.q(states, actions).amin(0)).sum(1)
            loss = loss - q.mean()
            metrics["q_policy"] = q.detach().mean()
            if cql.bc_margin is not None:
                good = (q_data.amin(0) > q.detach() - cql.bc_margin).float()
                imitated = good if imitated is None else good * imitated
                metrics["imitated"] = good.mean()
        weight = 1.0 if warm_up else cql.bc_weight
        if weight:
            likelihood = encoded.policy.log_prob(batch.actions, self.config.network.action_limit)
            likelihood = (likelihood if imitated is None else likelihood * imitated).mean()
            loss = loss - weight * likelihood
            metrics["log_likelihood"] = likelihood.detach()
        return loss, metrics | {"actor_loss": loss.detach(), "entropy": -log_prob.detach().mean()}

    def temperature_loss(self, log_prob: Tensor) -> tuple[Tensor, Metrics]:
        """Raise the temperature while the policy's entropy is below its target (SAC, 2018)."""
        loss = -self.log_temperature * (log_prob.detach() + self.target_entropy).mean()
        return loss, {"temperature": self.log_temperature.detach().exp()}

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics."""
        rate = self.config.cql.target_rate
        lerp(list(self.target.parameters()), list(self.critic.parameters()), rate)

    def _weight(self) -> Tensor:
        """The learned conservative weight."""
        return self.log_weight.exp().clamp(max=1e6)

    def policy_encoder(self) -> Encoder:
        """The encoder whose features the actor sees."""
        encoder = self.actor_encoder if self.actor_encoder is not None else self.critic.encoders[0]
        assert isinstance(encoder, Encoder)
        return encoder
