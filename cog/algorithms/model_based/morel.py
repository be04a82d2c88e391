"""MOReL: a learned model in which everything unknown leads to an absorbing state that costs.

Kidambi et al., "MOReL: Model-Based Offline Reinforcement Learning" (2020): a pessimistic MDP whose
transitions are the model's where its members agree, and lead to HALT where their largest pairwise distance
exceeds a threshold. HALT pays the lowest reward less an offset, for ever.

Decisions, where paper and codes differ:
- The threshold is the paper's, mean + beta * standard deviation of the disagreement over the data. The
  authors' code takes the largest disagreement over the data, divided by a coefficient. Statistics are
  gathered in the last tenth of the model's updates, in which it still learns.
- Disagreement is of the next state alone, as in the paper, but in standard deviations of the data.
- An unknown step is terminal and earns V(HALT) in place of the model's reward. The authors' code cuts the
  path and adds nothing; a cut has no meaning for critics, which would bootstrap from beyond it.
- A soft actor-critic on short rollouts stands in for natural policy gradient on long ones from start states:
  it learns from the same batches and with the same critics as this toolkit's other algorithms, so that
  comparisons, evaluation and meters apply to it unchanged.
- Rewards and ends of episodes are learned; the authors' code is given both as functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cog.algorithms.model_based.base import ModelBased, Recorded
from cog.algorithms.model_based.config import ModelBasedConfig
from cog.algorithms.model_based.losses import chosen, disagreement, squared_loss, terminal_loss
from cog.algorithms.model_based.rollouts import Imagined
from cog.algorithms.shared.base import Metrics, Phase
from cog.algorithms.shared.config import AlgorithmConfig, Settings
from cog.core.bounds import within
from cog.core.parallel import averaged
from cog.networks.dynamics import Dynamics
from cog.networks.encoder import ObservationShape
from cog.replay.buffer import Batch

MEASURE = "measure"
MEASURED_PART = 10  # the last of so many parts of the model's updates measures its disagreement


@dataclass(frozen=True)
class MORELConfig(ModelBasedConfig):
    """The settings of MOReL."""

    name: ClassVar[str] = "morel"

    members: int = within("[2, inf)", 4)
    """Models in the ensemble, whose disagreement says what is unknown."""
    threshold: float = within("[0, inf)", 3.0)
    """Standard deviations above the data's mean disagreement beyond which a step is unknown (beta)."""
    halt_reward: float | None = within("(-inf, inf)", None)
    """Reward at HALT. Default: the lowest in the data, or 0 if that is lower, less `halt_offset`."""
    halt_offset: float = within("(0, inf)", 1.0)
    """How far the default reward at HALT lies below the lowest."""
    halt_forever: bool = True
    """Whether HALT pays its reward at every step from then on, as in the paper, or once."""

    def halt_value(self, lowest_return: float) -> float:
        """What an unknown step earns, where returns are at least `lowest_return`.

        For ever: reward / (1 - discount), below any return that rewards of the data can add up to.
        """
        persistent = 1 / (1 - self.discount)
        reward = self.halt_reward
        if reward is None:
            reward = lowest_return / persistent - self.halt_offset
        return reward * persistent if self.halt_forever else reward


PAPER = MORELConfig(
    model_updates=100_000,
    members=4,
    model_widths=(512, 512),
    rollout_steps=5,
    real_share=0.05,
    discount=0.99,
    target_rate=5e-3,
    initial_temperature=1.0,
)
"""The paper's models; rollouts and shares are MOPO's, since the paper has no off-policy learner."""


class MOREL(ModelBased[MORELConfig]):
    """A soft actor-critic in a model that ends, at a price, where its members disagree."""

    Config = MORELConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": MORELConfig(), "paper": PAPER}
    progress = ("model_error", "td_loss", "q_data", "q_policy", "unknown_share")
    stitches = True

    measured: Tensor  # () updates that have measured the disagreement
    disagreement_mean: Tensor  # () over the data
    disagreement_square: Tensor  # () mean of its square

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; without `return_bounds` the lowest return counts as 0."""
        super().__init__(settings, shape, actions, return_bounds)
        self.halt_value = self.config.halt_value(return_bounds[0] if return_bounds else 0.0)
        for name in ("measured", "disagreement_mean", "disagreement_square"):
            self.register_buffer(name, torch.zeros((), device=settings.device))

    def build_model(self) -> Dynamics:
        """Deterministic members with ReLUs."""
        config, states = self.config, self.shape.proprio
        return Dynamics(
            states, self.action_dimensions, config.members, config.model_widths, "relu", gaussian=False
        )

    def phases(self) -> tuple[Phase, ...]:
        """As for every model-based algorithm; the model's last updates measure its disagreement as well."""
        updates = self.config.model_updates
        measures = updates - max(updates // MEASURED_PART, 1) <= self.updates_done < updates
        return (MEASURE,) if measures else super().phases()

    def model_loss(self, recorded: Recorded, counts: Tensor) -> tuple[Tensor, Metrics]:
        """The members' squared errors, and the terminals' cross-entropy."""
        prediction = self.model(recorded.states, recorded.actions)
        terminal = terminal_loss(prediction.terminal, recorded.terminals, counts)
        loss = squared_loss(prediction.mean, recorded.targets, counts) + terminal
        distance = disagreement(prediction.mean[..., :-1].detach())
        return loss, {
            "model_loss": loss.detach(),
            "terminal_loss": terminal.detach() / self.model.members,
            "disagreement": distance.mean(),
            "disagreement_square": distance.square().mean(),
        } | self.errors(prediction, recorded)

    def learn(self, batch: Batch) -> Metrics:
        """Learn from one batch, and measure the disagreement on it when it is time to."""
        metrics = super().learn(batch)
        if self.phases() == (MEASURE,):
            self.measure(metrics["disagreement"], metrics["disagreement_square"])
        return metrics

    def measure(self, mean: Tensor, square: Tensor) -> None:
        """Add a batch's mean disagreement, and that of its square, to the statistics of all processes."""
        both = averaged([mean, square])
        self.measured += 1
        self.disagreement_mean += (both[0] - self.disagreement_mean) / self.measured
        self.disagreement_square += (both[1] - self.disagreement_square) / self.measured

    def largest_known(self) -> Tensor:
        """mean + beta * standard deviation of the disagreement over the data: beyond it all is unknown."""
        variance = (self.disagreement_square - self.disagreement_mean.square()).clamp(min=0)
        return self.disagreement_mean + self.config.threshold * variance.sqrt()

    def imagine(self, states: Tensor, actions: Tensor, members: Tensor, normal: Tensor) -> Imagined:
        """s', r of each row's member where the members agree; elsewhere V(HALT) and the end."""
        prediction = self.model(states, actions)
        unknown = disagreement(prediction.mean[..., :-1]) > self.largest_known()
        mean = chosen(prediction.mean, members)
        return Imagined(
            states + mean[:, :-1],
            torch.where(unknown, self.halt_value, mean[:, -1]),
            torch.where(unknown, 0.0, torch.sigmoid(-chosen(prediction.terminal, members))),
            {"unknown_share": unknown.to(mean.dtype)},
        )
