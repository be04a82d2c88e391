"""FQL: a flow clones the data, and a policy of one step climbs Q while it stays close to the flow's draws.

Park et al., "Flow Q-Learning" (2025), algorithm 1. No gradient goes through the flow's steps, and acting
takes none of them. A shared encoder is trained by the critics alone; a separate one by the clone, whose
features the one-step policy sees without gradient (the paper gives each an encoder of its own).

The deterministic action is the draw of z = 0; the paper acts by random draws, as `--acting sample` does.

Shapes: K critics, B states, E encoders, F features, A action dimensions.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.actor_critic import ActorCritic, Features
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import measured_td_loss, td_target
from cog.core.bounds import within
from cog.core.parallel import averaged, size
from cog.errors import UsageError
from cog.networks.actor import PolicyNetwork
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.distribution import snap_switches
from cog.networks.encoder import Encoder, ObservationShape
from cog.networks.flow import FlowActor, OneStepActor
from cog.replay.buffer import Batch

SMALLEST_Q = 1e-3  # mean |Q| is taken to be no less: rewards that are nearly all 0 begin there


@dataclass(frozen=True)
class FQLConfig(AlgorithmConfig):
    """The settings of flow Q-learning."""

    name: ClassVar[str] = "fql"

    distillation_weight: float = within("[0, inf)", 0.3)
    """Weight of the squared distance to the flow's draws (the paper's alpha)."""
    normalise_q: bool = True
    """Whether the policy's Q is divided by its mean size, which makes the weight independent of rewards."""
    q_aggregate: Literal["mean", "min"] = "mean"
    """What targets take of the target critics."""
    flow_steps: int = within("[1, inf)", 10)
    """K: Euler steps of the flow's draws; fewer than 10 blur modes, and 1 gives their mean."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the flow and the one-step policy."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)


PAPER = FQLConfig(distillation_weight=10.0, normalise_q=False, discount=0.99, steps=1, target_rate=5e-3)
"""The paper's defaults; its weight is tuned for each task, from 3 to 30000."""


class FQL(ActorCritic[FQLConfig]):
    """Critics, a flow that clones the data, and a policy of one step."""

    Config = FQLConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": FQLConfig(), "paper": PAPER}
    progress = ("td_loss", "clone_loss", "distillation", "q_data", "q_policy")
    finetunes = True
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn."""

        shifts: Shifts
        backup: Tensor  # (B, 1, A) standard normal, for the action at s' to bootstrap from
        noise: Tensor  # (B, A) standard normal, where the flow that is matched begins
        time: Tensor  # (B, 1) in [0, 1), where it is matched
        policy: Tensor  # (B, 1, A) standard normal, for the policy's action at s and the flow's

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
        self.one_step = OneStepActor(features, actions, network).to(device)
        self.ready()
        self.add_optimizer("critic", self.critic.parameters(), config.critic_lr)
        encoder = self.actor_encoder.parameters() if self.actor_encoder else ()
        self.add_optimizer("clone", [*self.clone.parameters(), *encoder], config.actor_lr)
        self.add_optimizer("actor", self.one_step.parameters(), config.actor_lr)

    @classmethod
    def check(cls, settings: Settings, shape: ObservationShape, actions: int) -> None:
        """Refuse settings and data that this algorithm cannot use, before anything is built.

        Raises:
            UsageError: no component is left that moves, or several processes are to compile a mean of theirs.
        """
        super().check(settings, shape, actions)
        config = settings.algorithm
        assert isinstance(config, FQLConfig)
        if config.normalise_q and settings.compiled and size() > 1:
            raise UsageError(
                "fql.normalise_q divides Q by its mean over all processes, which --compiled cannot. "
                "Leave out --compiled, start one process, or use --fql.no-normalise-q"
            )

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(
            shifts=self.draw_shifts(size),
            backup=self.draw_normal(size, 1, self.action_dimensions),
            noise=self.draw_normal(size, self.action_dimensions),
            time=self.draw_uniform(size, 1),
            policy=self.draw_normal(size, 1, self.action_dimensions),
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            features = self.encode(*self.augmented(batch, draws.shifts), batch)
            data_actions = snap_switches(batch.actions, self.settings.network.switches)
            critic, metrics = self.critic_loss(features, batch, data_actions, draws.backup)
            clone, more = self.clone_loss(features, batch, data_actions, draws)
            metrics |= more
            actor, more = self.actor_loss(features, draws.policy)
            metrics |= more
        return {"critic": critic, "clone": clone, "actor": actor}, metrics

    def critic_loss(
        self, features: Features, batch: Batch, data_actions: Tensor, noise: Tensor
    ) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * Q'(s', a'))^2, a' the draw of the policy by `noise` (B, 1, A).

        Q' is the mean or the lowest of the target critics; the policy has no target network.
        """
        q = self.critic.q(self.critic.project(features.critic), data_actions[:, None])[..., 0]
        with torch.no_grad():
            next_actions = self.one_step(features.next_actor).drawn(noise)
            next_q = self.target.q(self.target.project(features.next_target), next_actions)[..., 0]
            aggregate = next_q.mean(0) if self.config.q_aggregate == "mean" else next_q.amin(0)
            target = td_target(batch.rewards, batch.bootstrap, aggregate)
        return measured_td_loss(q, target)

    def clone_loss(
        self, features: Features, batch: Batch, data_actions: Tensor, draws: Draws
    ) -> tuple[Tensor, Metrics]:
        """mean (v(s, x_t, t) - (a - z))^2 over states and components, x_t = (1 - t) z + t a.

        What online failures did is left out, as `batch.imitated` says.
        """
        error = self.clone.field.matching_error(features.actor, data_actions, draws.noise, draws.time)
        loss = (error if batch.imitated is None else error * batch.imitated).mean()
        return loss, {"clone_loss": loss.detach()}

    def actor_loss(self, features: Features, noise: Tensor) -> tuple[Tensor, Metrics]:
        """alpha * mean (mu(s, z) - flow(s, z))^2 - mean_k mean Q_k(s, mu(s, z)), z = `noise` (B, 1, A).

        The flow's ends are clipped and carry no gradient. Q sees mu clipped, its switches between -1 and 1:
        snapped, as they are in targets and in acting, they would have no gradient.
        """
        seen = features.actor.detach()
        mu = self.one_step(seen).ends(noise)
        with torch.no_grad():
            ends = self.clone(seen).ends(noise).clamp(-1, 1)
        distillation = (mu - ends).square().mean()
        states = self.critic.project(features.critic).detach()
        q = self.critic.q(states, mu.clamp(-1, 1))
        q_loss = -q.mean()
        metrics = {"distillation": distillation, "q_policy": q.mean()}
        if self.config.normalise_q:
            # Of the whole batch, however many processes share it.
            q_scale = averaged([q.detach().abs().mean()])[0].clamp(min=SMALLEST_Q)
            q_loss = q_loss / q_scale
            metrics["q_scale"] = q_scale
        loss = self.config.distillation_weight * distillation + q_loss
        return loss, {name: value.detach() for name, value in (metrics | {"actor_loss": loss}).items()}

    def update_targets(self) -> None:
        """Move the target critics by `target_rate` towards the critics."""
        self.move_target_critics(self.config.target_rate)

    def policy(self) -> PolicyNetwork:
        """The one-step policy: the weights that learn, not a copy."""
        return PolicyNetwork(self.policy_encoder(), self.one_step, self.action_dimensions)

    @classmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: FQLConfig
    ) -> PolicyNetwork:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""
        encoder = Encoder(shape, network)
        return PolicyNetwork(encoder, OneStepActor(encoder.features, actions, network), actions)
