"""Q-learning whose maximum over actions is found by the cross-entropy method, as in QT-Opt, on fixed data.

Kalashnikov et al., "QT-Opt: Scalable Deep Reinforcement Learning for Vision-Based Robotic Manipulation"
(2018). There is no actor: targets, and the policy itself, search for the best action by the critic. Nothing
keeps the search near the data, and it exploits errors of Q more than an actor does: it finds where Q is too
large (`q_max_gap`).

As in QT-Opt the search goes by the first target critic, and the lowest of the target critics values what it
has found. Unlike there, the loss is the squared error, not a cross-entropy for returns in [0, 1]; samples
stay inside the box of actions; and the best of all iterations counts, not of the last alone.

Shapes: K critics, B states, E encoders, F features, H hidden units, A action dimensions, I iterations, N
samples.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.base import Algorithm, Losses, Metrics, Phase, Shifts, move_towards
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import measured_td_loss, td_target
from cog.core.bounds import within
from cog.errors import UsageError
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.cross_entropy import CrossEntropyPolicy, Search, best_action
from cog.networks.distribution import snap_switches
from cog.networks.encoder import Images, ObservationShape
from cog.replay.buffer import Batch


@dataclass(frozen=True)
class QCEMConfig(AlgorithmConfig):
    """The settings of Q-learning with the cross-entropy method; the search is QT-Opt's."""

    name: ClassVar[str] = "q_cem"

    samples: int = within("[1, inf)", 64)
    """N: actions that are scored in each iteration of the search."""
    elites: int = within("[1, inf)", 6)
    """The best of them, to which the next iteration's Gaussian is fitted."""
    iterations: int = within("[1, inf)", 2)
    """Iterations of the search."""
    measure_gap: bool = True
    """Whether the best action at s is searched for, too, for `q_max_gap`: this doubles the searches."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update (tau)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""

    def __post_init__(self) -> None:
        """Refuse settings out of their bounds, and more elites than samples.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        super().__post_init__()
        if self.elites > self.samples:
            raise UsageError(
                f"q_cem.elites is {self.elites}, more than the {self.samples} of q_cem.samples. "
                "Lower q_cem.elites, or raise q_cem.samples"
            )

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)

    def search(self, switches: int) -> Search:
        """The search for actions whose last `switches` components are switches."""
        return Search(self.samples, self.elites, self.iterations, switches)


PAPER = QCEMConfig(discount=0.9, steps=1, target_rate=1e-4)
"""QT-Opt's discount and its slow average; here all target critics are such averages, and Adam steps."""


class QCEM(Algorithm[QCEMConfig]):
    """Critics of the best action that a search finds, and a policy that is this search."""

    Config = QCEMConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": QCEMConfig(), "paper": PAPER}
    progress = ("td_loss", "q_data", "q_max_gap")
    choosing_critics = "target"
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn."""

        shifts: Shifts
        following: Tensor  # (B, I, N, A) standard normal, for the search at s'
        now: Tensor | None  # (B, I, N, A) standard normal, for the search at s, if there is one

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; `return_bounds` are not used: that nothing bounds Q is the point."""
        super().__init__(settings, shape, actions, None)
        self.critic = Critic(shape, actions, settings.network).to(settings.device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.search = self.config.search(settings.network.switches)
        self.ready()
        self.add_optimizer("critic", self.critic.parameters(), self.config.critic_lr)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        shape = (size, self.search.iterations, self.search.samples, self.action_dimensions)
        shifts, following = self.draw_shifts(size), self.draw_normal(*shape)
        return self.Draws(shifts, following, self.draw_normal(*shape) if self.config.measure_gap else None)

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            states = self.critic.project(self.critic.encode(images, batch.proprio))
            next_q = self.next_q(next_images, batch, draws.following)
            loss, metrics = self.critic_loss(states, batch, next_q)
            if draws.now is not None:
                metrics["q_max_gap"] = self.max_gap(states.detach(), batch, draws.now)
        return {"critic": loss}, metrics

    @torch.no_grad()
    def next_q(self, next_images: Images | None, batch: Batch, noise: Tensor) -> Tensor:
        """min_k Q'_k(s', a*), (B,), with a* the best action by Q'_1 that the search finds."""
        states = self.target.project(self.target.encode(next_images, batch.next_proprio))
        actions, _ = best_action(self.target, states, noise, self.search)
        return self.target.q(states, actions[:, None]).amin(0)[:, 0]

    def critic_loss(self, states: Tensor, batch: Batch, next_q: Tensor) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * min_k Q'_k(s', a*))^2, `states` projected (K, B, H)."""
        data_actions = snap_switches(batch.actions, self.search.switches)
        q = self.critic.q(states, data_actions[:, None])[..., 0]  # (K, B)
        target = td_target(batch.rewards, batch.bootstrap, next_q)
        return measured_td_loss(q, target)

    @torch.no_grad()
    def max_gap(self, states: Tensor, batch: Batch, noise: Tensor) -> Tensor:
        """mean(max_a Q_1(s, a) - Q_1(s, a of the data)), the maximum that the search finds."""
        _, q_max = best_action(self.critic, states, noise, self.search)
        data_actions = snap_switches(batch.actions, self.search.switches)
        return (q_max - self.critic.q(states, data_actions[:, None], first=1)[0, :, 0]).mean()

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics."""
        move_towards(list(self.target.parameters()), list(self.critic.parameters()), self.config.target_rate)

    def policy(self) -> CrossEntropyPolicy:
        """The current policy: the weights that learn, not a copy."""
        return CrossEntropyPolicy(self.critic, self.action_dimensions, self.search)

    @classmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: QCEMConfig
    ) -> CrossEntropyPolicy:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""
        return CrossEntropyPolicy(Critic(shape, actions, network), actions, config.search(network.switches))
