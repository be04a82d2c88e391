"""IDQL: expectile critics, a flow that clones the data, and the critics' choice among its draws.

Hansen-Estruch et al., "IDQL: Implicit Q-Learning as an Actor-Critic Method with Diffusion Policies" (2023).
The clone is a flow instead of a diffusion model, as in the baseline IFQL of Park et al., "Flow Q-Learning"
(2025). It learns from neither rewards nor values; these count in the choice alone, which the current critics
make (in evaluation, their running average). V sees the features of the first target critic's encoder.

Two options after RISE (2025, University of Washington and Toyota Research Institute) make the clone smoother
and wider: a penalty on the singular values of its network, and actions of neighbouring states. Their numbers
do not carry over, since RISE's code differs in three things:

- Its lambda, 0.1 or 0.001 by task, multiplies sigma_max, not squared, of one matrix in front of its U-Net.
  Here the weight multiplies the sum of sigma_max^2 over all matrices of the vector field, as RISE's page has
  it.
- Its T bounds the Euclidean distance of features of DINOv2, scaled to norm 1. Here it bounds the root mean
  square difference of what the clone sees: the trained encoder's features or the standardised pose.
- It seeks neighbours of non-expert states alone, in the whole data, and prefers those from experts. Here any
  row of the batch may have a neighbour, and be one.

RISE's rewards, 1 on all steps of an expert and 0 elsewhere, are labels of the data: `cog relabel EXPERT
--rule 1 --no-terminate` and `cog relabel OTHER --rule zero`, each with a `--name`.

Shapes: K critics, B states, E encoders, F features, A action dimensions, the last S of them switches.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.actor_critic import ActorCritic
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import expectile_loss, measured_td_loss, td_target
from cog.core.bounds import within
from cog.core.parallel import size
from cog.errors import UsageError
from cog.networks.best_of import BestOf
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.distribution import snap_switches
from cog.networks.encoder import Encoder, Images, ObservationShape
from cog.networks.flow import FlowActor, spectral_penalty
from cog.networks.precision import widened
from cog.networks.value import Value
from cog.replay.buffer import Batch

VALUE, CRITIC = "value", "critic and clone"


@dataclass(frozen=True)
class IDQLConfig(AlgorithmConfig):
    """The settings of IDQL and of the options after RISE, which are off."""

    name: ClassVar[str] = "idql"

    expectile: float = within("(0, 1)", 0.9)
    """Expectile of Q(s, a) over the data's actions that V(s) is (tau); 0.5 is their mean, 1 the largest."""
    candidates: int = within("[1, inf)", 32)
    """N: draws of the clone among which the critics choose."""
    flow_steps: int = within("[1, inf)", 10)
    """K: Euler steps of a draw; fewer than 10 blur modes, and 1 gives their mean."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics, their encoder and V."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the clone."""
    spectral_weight: float = within("[0, inf)", 0.0)
    """Weight of the sum of sigma_max^2 over the matrices of the clone's network (after RISE); 0 is off."""
    neighbour_distance: float = within("[0, inf)", 0.0)
    """Largest root mean square difference of two neighbours' features (after RISE); 0 is off."""
    neighbour_share: float = within("[0, 1]", 0.5)
    """Share of the clone's rows in which the action of a neighbour stands for the state's own."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)


PAPER = IDQLConfig(discount=0.99, steps=1, target_rate=5e-3)
"""The figures of the paper's tasks with a reward at the goal (AntMaze), but 10 steps: a flow needs them.

The 32 candidates are those of FQL's baseline IFQL; IDQL's code tries 16, 64 and 256. Left out: AdamW and
cosine decay for the clone, and an average of the clone with a rate of its own (0.001).
"""


class IDQL(ActorCritic[IDQLConfig]):
    """Critics and V that never see an action outside the data, a clone, and the best of its draws."""

    Config = IDQLConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": IDQLConfig(), "paper": PAPER}
    progress = ("td_loss", "value_loss", "clone_loss", "q_data", "v_data")
    bootstraps_from = "value"
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn."""

        shifts: Shifts
        noise: Tensor  # (B, A) standard normal, where the flow begins
        time: Tensor  # (B, 1) in [0, 1), where it is matched
        neighbours: Tensor | None  # (B, 2) in [0, 1): which neighbour, and whether its action is taken

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; `return_bounds` are not used."""
        super().__init__(settings, shape, actions, None)
        network, device, config = settings.network, settings.device, self.config
        self.critic = Critic(shape, actions, network).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        separate = network.sharing == "separate"
        self.actor_encoder = Encoder(shape, network).to(device) if separate else None
        features = self.policy_encoder().features
        self.clone = FlowActor(features, actions, network, config.flow_steps).to(device)
        self.value = Value(features, network).to(device)
        chosen = BestOf(self.actor_encoder, self.clone, self.critic, config.candidates, actions)
        # A tuple keeps it from being registered as a submodule, whose weights would be saved twice.
        self.chosen = (chosen,)
        self.ready()
        self.add_optimizer("value", self.value.parameters(), config.critic_lr)
        self.add_optimizer("critic", self.critic.parameters(), config.critic_lr)
        encoder = self.actor_encoder.parameters() if self.actor_encoder else ()
        self.add_optimizer("clone", [*self.clone.parameters(), *encoder], config.actor_lr)

    @classmethod
    def check(cls, settings: Settings, shape: ObservationShape, actions: int) -> None:
        """Refuse settings and data that this algorithm cannot use, before anything is built.

        Raises:
            UsageError: no component is left that moves, or several processes are to find neighbours.
        """
        super().check(settings, shape, actions)
        config = settings.algorithm
        assert isinstance(config, IDQLConfig)
        if config.neighbour_distance and size() > 1:
            raise UsageError(
                "idql.neighbour_distance looks for neighbours in the whole batch, of which each process "
                "has a part. Start one process, or leave idql.neighbour_distance out"
            )

    def phases(self) -> tuple[Phase, Phase]:
        """V, then critics and clone: targets hold the V that has just been moved."""
        return VALUE, CRITIC

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(
            shifts=self.draw_shifts(size),
            noise=self.draw_normal(size, self.action_dimensions),
            time=self.draw_uniform(size, 1),
            neighbours=self.draw_uniform(size, 2) if self.config.neighbour_distance else None,
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """The losses of one phase; their order in `phases` is the algorithm."""
        with self.autocast():
            images, next_images = self.augmented(batch, draws.shifts)
            data_actions = snap_switches(batch.actions, self.settings.network.switches)
            if phase == VALUE:
                loss, metrics = self.value_loss(images, batch, data_actions)
                return {"value": loss}, metrics
            features = self.critic.encode(images, batch.proprio)
            critic, metrics = self.critic_loss(features, next_images, batch, data_actions)
            if self.actor_encoder is None:
                seen = features[0].detach()
            else:
                seen = self.actor_encoder(images, batch.proprio)
            clone, more = self.clone_loss(seen, data_actions, draws)
        return {"critic": critic, "clone": clone}, metrics | more

    def value_loss(self, images: Images | None, batch: Batch, data_actions: Tensor) -> tuple[Tensor, Metrics]:
        """mean |tau - 1(u < 0)| u^2, u = min_k Q'_k(s, a) - V(s), at the data's actions."""
        with torch.no_grad():
            features = self.target.encode(images, batch.proprio)
            q = self.target.q(self.target.project(features), data_actions[:, None])[..., 0].amin(0)
        v = self.value(features[0])
        loss = expectile_loss(q - v, self.config.expectile)
        return loss, {"value_loss": loss.detach(), "v_data": v.detach().mean()}

    def critic_loss(
        self, features: Tensor, next_images: Images | None, batch: Batch, data_actions: Tensor
    ) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * V(s'))^2, from features (E, B, F) of s."""
        q = self.critic.q(self.critic.project(features), data_actions[:, None])[..., 0]
        with torch.no_grad():
            next_v = self.value(self.target.encode(next_images, batch.next_proprio)[0])
            target = td_target(batch.rewards, batch.bootstrap, next_v)
        return measured_td_loss(q, target)

    def clone_loss(self, features: Tensor, data_actions: Tensor, draws: Draws) -> tuple[Tensor, Metrics]:
        """mean (v(s, x_t, t) - (a - z))^2 + `spectral_weight` * sum_W sigma_max(W)^2, features (B, F).

        The mean is over states and components.
        """
        metrics: Metrics = {}
        if draws.neighbours is not None:
            data_actions, taken = self.augmented_actions(features.detach(), data_actions, draws.neighbours)
            metrics["neighbours"] = taken
        loss = self.clone.field.matching_error(features, data_actions, draws.noise, draws.time).mean()
        metrics["clone_loss"] = loss.detach()
        if self.config.spectral_weight:
            penalty = spectral_penalty(self.clone.field.network)
            loss = loss + self.config.spectral_weight * penalty
            metrics["spectral_penalty"] = penalty.detach()
        return loss, metrics

    def neighbours(self, features: Tensor, actions: Tensor) -> Tensor:
        """Whether a state may take another's action, (B, B): close, not itself, and with equal switches."""
        seen = widened(features)
        apart = (seen[:, None] - seen[None]).square().mean(-1).sqrt()
        close = (apart < self.config.neighbour_distance) & ~torch.eye(
            len(seen), dtype=torch.bool, device=seen.device
        )
        if not (switches := self.settings.network.switches):
            return close
        positions = actions[:, -switches:]
        return close & (positions[:, None] == positions[None]).all(-1)

    def augmented_actions(self, features: Tensor, actions: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (B, A), some of which are a random neighbour's, and the share that are.

        `uniform` (B, 2) picks the neighbour and decides whether its action is taken.
        """
        allowed = self.neighbours(features, actions)
        counted = allowed.cumsum(1)
        number = (uniform[:, :1] * counted[:, -1:]).long() + 1
        other = (counted >= number).to(torch.uint8).argmax(1)
        taken = (counted[:, -1] > 0) & (uniform[:, 1] < self.config.neighbour_share)
        return torch.where(taken[:, None], actions[other], actions), taken.to(features.dtype).mean()

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics."""
        self.move_target_critics(self.config.target_rate)

    def policy(self) -> BestOf:
        """argmax of min_k Q_k over N draws of the clone: the weights that learn, not a copy."""
        return self.chosen[0]

    @classmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: IDQLConfig
    ) -> BestOf:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""
        critic = Critic(shape, actions, network)
        encoder = Encoder(shape, network) if network.sharing == "separate" else None
        features = critic.encoders[0].features
        assert isinstance(features, int)
        clone = FlowActor(features, actions, network, config.flow_steps)
        return BestOf(encoder, clone, critic, config.candidates, actions)
