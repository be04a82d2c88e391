"""MOPO: rewards in a learned model, less the model's own uncertainty.

Yu et al., "MOPO: Model-based Offline Policy Optimization" (2020), algorithm 2: an ensemble of Gaussian
models, of which a random one predicts each step of a short rollout. The reward is r - lambda * u(s, a), u the
largest norm over the members of the predicted standard deviations. Only imagined rows are penalised.

The paper argues from what the model does not know; what it computes is the noise that its members have
learned (aleatoric uncertainty), with the reward among its components, as in the authors' settings for D4RL.
It is a norm of standardised states here, and of raw ones there: their lambda does not carry over.

Departures from the authors' code: no stored rollouts, held-out set or elites (see `base`), one network with
two heads where their settings for D4RL have one for means and one for variances, one weight decay for all
layers, a learned end of the episode where theirs is a function for each task, and a target entropy of minus
the number of components that move where theirs is -3 for every task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cog.algorithms.model_based.base import ModelBased, Recorded
from cog.algorithms.model_based.config import ModelBasedConfig
from cog.algorithms.model_based.losses import chosen, gaussian_loss, largest_deviation, terminal_loss
from cog.algorithms.model_based.rollouts import Imagined
from cog.algorithms.shared.base import Metrics
from cog.algorithms.shared.config import AlgorithmConfig
from cog.core.bounds import within
from cog.networks.dynamics import Dynamics


@dataclass(frozen=True)
class MOPOConfig(ModelBasedConfig):
    """The settings of MOPO."""

    name: ClassVar[str] = "mopo"

    penalty_weight: float = within("[0, inf)", 0.1)
    """Reward that an imagined step loses per unit of uncertainty (lambda); 0 trusts the model."""
    bounds_weight: float = within("[0, inf)", 0.01)
    """Weight of the distance between the learned bounds of log-variances in the model's loss."""
    model_decay: float = within("[0, inf)", 5e-5)
    """Weight of half the model's squared weights in its loss."""


PAPER = MOPOConfig(
    model_updates=100_000,
    members=7,
    model_widths=(200, 200, 200, 200),
    rollout_steps=5,
    real_share=0.05,
    discount=0.99,
    target_rate=5e-3,
    initial_temperature=1.0,
    penalty_weight=1.0,
)
"""The authors' settings (github.com/tianheyu927/mopo), lambda 0.5 to 5 and 1 or 5 steps by task, but for
their target entropy, -3 for every task."""


class MOPO(ModelBased[MOPOConfig]):
    """A soft actor-critic in a model that pays for its uncertainty."""

    Config = MOPOConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": MOPOConfig(), "paper": PAPER}
    progress = ("model_error", "td_loss", "q_data", "q_policy", "penalty")
    stitches = True

    def build_model(self) -> Dynamics:
        """Gaussian members with swish units."""
        config, states = self.config, self.shape.proprio
        return Dynamics(
            states, self.action_dimensions, config.members, config.model_widths, "swish", gaussian=True
        )

    def model_loss(self, recorded: Recorded, counts: Tensor) -> tuple[Tensor, Metrics]:
        """The members' negative log-likelihoods, with terminals, bounds and weight decay."""
        prediction = self.model(recorded.states, recorded.actions)
        assert prediction.log_variance is not None
        likelihood = gaussian_loss(prediction.mean, prediction.log_variance, recorded.targets, counts)
        terminal = terminal_loss(prediction.terminal, recorded.terminals, counts)
        bounds = self.config.bounds_weight * self.model.spread_of_bounds()
        decay = 0.5 * self.config.model_decay * self.model.squared_weights()
        loss = likelihood + terminal + bounds + decay
        metrics = {"model_loss": loss.detach(), "terminal_loss": terminal.detach() / self.model.members}
        return loss, metrics | self.errors(prediction, recorded)

    def imagine(self, states: Tensor, actions: Tensor, members: Tensor, normal: Tensor) -> Imagined:
        """s', r ~ Normal of each row's member, and r - lambda * max_m ||sigma_m||_2."""
        prediction = self.model(states, actions)
        assert prediction.log_variance is not None
        deviation = (0.5 * chosen(prediction.log_variance, members)).exp()
        sample = chosen(prediction.mean, members) + deviation * normal
        penalty = largest_deviation(prediction.log_variance)
        return Imagined(
            states + sample[:, :-1],
            sample[:, -1] - self.config.penalty_weight * penalty,
            torch.sigmoid(-chosen(prediction.terminal, members)),
            {"penalty": penalty},
        )
