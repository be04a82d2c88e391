"""What model-based algorithms share: a phase for the model, and a soft actor-critic on rows imagined by it.

Not an algorithm: MOPO and MOReL define the model's loss and what one imagined step is worth. The first
`model_updates` updates fit the ensemble; after them its weights stay as they are, and each update branches
short rollouts of the current policy from the states of its batch and trains critics and actor on recorded and
imagined rows together. Both papers do these one after the other, too.

Every member learns from each batch with Poisson(1) counts of its own, a resample of the batch: members differ
by initial weights and by the noise of their batches, as MOReL's do. MOPO's code resamples the whole data
once for each. There is no held-out set, so no early stopping and no choice of "elite" members: all predict.

No termination function is known here, so the model learns terminals as well. An imagined step bootstraps by
the probability that its episode continues, and the steps after it weigh as much.

All states below are standardised. Shapes: K critics, B states, M members, P pose components, R rows, A action
dimensions, S switches.
"""

import math
from abc import abstractmethod
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from cog.algorithms.model_based.config import ModelBasedConfig
from cog.algorithms.model_based.losses import poisson_counts
from cog.algorithms.model_based.rollouts import Imagined, RolloutDraws, Rows, branch, joined
from cog.algorithms.shared.actor_critic import ActorCritic
from cog.algorithms.shared.base import Losses, Metrics, Phase
from cog.algorithms.shared.config import Settings
from cog.algorithms.shared.losses import td_target
from cog.networks.distribution import snap_switches
from cog.networks.dynamics import Dynamics, Prediction
from cog.networks.encoder import ObservationShape
from cog.replay.buffer import Batch

MODEL, POLICY = "model", "policy"

C = TypeVar("C", bound=ModelBasedConfig)


class Recorded(NamedTuple):
    """A batch as the model sees it."""

    states: Tensor  # (B, P)
    actions: Tensor  # (B, A)
    targets: Tensor  # (B, P + 1) change of the state, and reward
    terminals: Tensor  # (B,) 1 where the step ended the episode


class Draws(NamedTuple):
    """The random numbers of one update, in the order in which they are drawn."""

    counts: Tensor  # (B, M) how often each member sees a row
    rollout: RolloutDraws
    policy: Tensor  # (B, 1 + h, A - S) for the actor's action at the state of each row
    backup: Tensor  # (B, 1 + h, A - S) for the action to bootstrap from at its next state


class ModelBased(ActorCritic[C]):
    """An ensemble of dynamics models, and a soft actor-critic that learns in it."""

    sees_images = False
    remembers = False

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; `return_bounds` are the lowest and highest return possible, if known."""
        super().__init__(settings, shape, actions, return_bounds)
        config = self.config
        self.build_networks()
        self.model = self.build_model().to(settings.device)
        start = torch.tensor(math.log(config.initial_temperature), device=settings.device)
        self.log_temperature = nn.Parameter(start)
        moves = actions - settings.network.switches
        self.target_entropy = -float(moves) if config.target_entropy is None else config.target_entropy
        self.ready()
        self.add_optimizer("model", self.model.parameters(), config.model_lr)
        self.add_optimizers(config.critic_lr, config.actor_lr)
        self.add_optimizer("temperature", [self.log_temperature], config.temperature_lr)

    # What an algorithm defines.

    @abstractmethod
    def build_model(self) -> Dynamics:
        """The ensemble, with fresh weights."""

    @abstractmethod
    def model_loss(self, recorded: Recorded, counts: Tensor) -> tuple[Tensor, Metrics]:
        """The loss of all members, each of which sees row b of the batch `counts` (B, M) times."""

    @abstractmethod
    def imagine(self, states: Tensor, actions: Tensor, members: Tensor, normal: Tensor) -> Imagined:
        """One step from states (B, P) by actions (B, A), predicted by `members` (B,) with noise (B, D)."""

    # One update.

    def phases(self) -> tuple[Phase, ...]:
        """The model in the first `model_updates`, then critics, actor and temperature."""
        return (MODEL if self.updates_done < self.config.model_updates else POLICY,)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        members, steps = self.config.members, self.config.rollout_steps
        moves = self.action_dimensions - self.settings.network.switches
        return Draws(
            counts=poisson_counts(self.draw_uniform(size, members)),
            rollout=RolloutDraws(
                policy=self.draw_noise(size, steps),
                members=(members * self.draw_uniform(size, steps)).long().clamp(max=members - 1),
                model=self.draw_normal(size, steps, self.model.noise_dimensions),
            ),
            policy=self.draw_normal(size, 1 + steps, moves),
            backup=self.draw_normal(size, 1 + steps, moves),
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """The losses of one phase; the order of these lines is the algorithm."""
        with self.autocast():
            if phase != POLICY:
                recorded = self.recorded(batch)
                model, metrics = self.model_loss(recorded, draws.counts)
                return {"model": model}, metrics
            rows, metrics = self.rows(batch, draws.rollout)
            states = self.critic.project(rows.states[None])
            critic, more = self.critic_loss(states, rows, draws.backup.flatten(0, 1)[:, None])
            metrics |= more
            actor, log_pi, more = self.actor_loss(states.detach(), rows, draws.policy.flatten(0, 1)[:, None])
            metrics |= more
            temperature, more = self.temperature_loss(log_pi, rows)
            metrics |= more
        return {"critic": critic, "actor": actor, "temperature": temperature}, metrics

    def standardised(self, proprio: Tensor) -> Tensor:
        """Poses (B, P) in standard deviations from their mean: the features of every network here."""
        states: Tensor = self.policy_encoder()(None, proprio)
        return states

    def recorded(self, batch: Batch) -> Recorded:
        """What the model is to predict of a batch."""
        states, following = self.standardised(batch.proprio), self.standardised(batch.next_proprio)
        return Recorded(
            states,
            snap_switches(batch.actions, self.settings.network.switches),
            torch.cat([following - states, batch.rewards[:, None]], 1),
            (batch.bootstrap == 0).to(states.dtype),
        )

    def errors(self, prediction: Prediction, recorded: Recorded) -> Metrics:
        """How far the predictions (M, B, O) are from the batch that they learn from."""
        errors = (prediction.mean.detach() - recorded.targets).square()
        return {"model_error": errors[..., :-1].mean(), "reward_error": errors[..., -1].mean()}

    @torch.no_grad()
    def rows(self, batch: Batch, draws: RolloutDraws) -> tuple[Rows, Metrics]:
        """Recorded rows and those of the policy in the model, and what was measured of the latter."""
        states = self.standardised(batch.proprio)
        real = Rows(
            states,
            snap_switches(batch.actions, self.settings.network.switches),
            batch.rewards,
            batch.bootstrap,
            self.standardised(batch.next_proprio),
            torch.ones_like(batch.rewards),
        )
        imagined, metrics = branch(states, self.actor, self.imagine, draws, self.config.discount)
        return joined(real, imagined, self.config.real_share), metrics

    @torch.no_grad()
    def predict(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """What each member expects after actions (B, A) in states (B, P), in the data's own units.

        Returns the next states (M, B, P) and rewards (M, B): means, without the noise of Gaussian members.
        A meter rolls them out by feeding one member's states back.
        """
        encoder = self.policy_encoder()
        snapped = snap_switches(actions, self.settings.network.switches)
        mean = self.model(encoder(None, states), snapped).mean
        return states + mean[..., :-1] * encoder.proprio_scale, mean[..., -1]

    # The soft actor-critic.

    def critic_loss(self, states: Tensor, rows: Rows, normal: Tensor) -> tuple[Tensor, Metrics]:
        """sum_k mean w (Q_k(s, a) - r - gamma * V(s'))^2, V(s') = min_k Q'_k(s', a') - alpha * log pi(a'|s').

        w is each row's weight and alpha the temperature; a' ~ pi(.|s') with the exact expectation over its
        switches. `states` are projected, (K, R, H).
        """
        q = self.critic.q(states, rows.actions[:, None])[..., 0]  # (K, R)
        with torch.no_grad():
            next_actions, log_pi, probability = self.actor(rows.next_states).enumerate_switches(normal)
            next_q = self.target.q(self.target.project(rows.next_states[None]), next_actions).amin(0)
            soft_q = (probability * (next_q - self.log_temperature.exp() * log_pi)).sum(1)
            target = td_target(rows.rewards, rows.bootstrap, soft_q)
        loss = (rows.weight * (q - target).square()).mean(1).sum()
        return loss, {
            "td_loss": loss.detach() / len(q),
            "q_data": self.of_data(q.detach()).mean(),
            "q_target": self.of_data(target).mean(),
            "q_size": q.detach().abs().amax(),
        }

    def actor_loss(self, states: Tensor, rows: Rows, normal: Tensor) -> tuple[Tensor, Tensor, Metrics]:
        """mean w (alpha * log pi(a|s) - min_k Q_k(s, a)), a ~ pi(.|s), and the expected log pi(a|s), (R,).

        `states` (K, R, H) carry no gradient.
        """
        actions, log_pi, probability = self.actor(rows.states).enumerate_switches(normal)
        log_pi = (probability * log_pi).sum(1)
        q = (probability * self.critic.q(states, actions).amin(0)).sum(1)
        loss = (rows.weight * (self.log_temperature.exp().detach() * log_pi - q)).mean()
        return (
            loss,
            log_pi,
            {
                "actor_loss": loss.detach(),
                "q_policy": self.of_data(q.detach()).mean(),
                "entropy": -self.of_data(log_pi.detach()).mean(),
            },
        )

    def temperature_loss(self, log_pi: Tensor, rows: Rows) -> tuple[Tensor, Metrics]:
        """-log alpha * mean w (log pi(a|s) + target entropy): alpha rises while the entropy is too low."""
        lacking = (rows.weight * (log_pi.detach() + self.target_entropy)).mean()
        return -self.log_temperature * lacking, {"temperature": self.log_temperature.detach().exp()}

    def of_data(self, values: Tensor) -> Tensor:
        """Those of the recorded rows, (..., B), of values (..., R) of all."""
        return values.unflatten(-1, (-1, 1 + self.config.rollout_steps))[..., 0]

    def update_targets(self) -> None:
        """Move the target critics by `target_rate`, once the critics learn."""
        if self.phases() == (POLICY,):
            self.move_target_critics(self.config.target_rate)
