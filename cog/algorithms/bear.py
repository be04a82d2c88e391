"""BEAR: a policy that climbs Q while it stays within the support of the data's actions.

Kumar et al., "Stabilizing Off-Policy Q-Learning via Bootstrapping Error Reduction" (2019), algorithm 1. The
authors published two codes that differ. This follows the later one (rail-berkeley/d4rl_evaluations at c93b9d2
on GitHub, mode "auto"): a VAE of the data's actions trained along with the rest, the maximum mean discrepancy
(MMD) between pre-tanh actions of policy and VAE, a multiplier learned by dual ascent that starts at 1, and
targets from the current policy, not a delayed one. From the first code (aviralkumar2907/BEAR at f2e31c1) are
the kernel's width, 20, and the 10 draws among which the critics choose when it acts: here by their lowest,
there by the first alone.

The policy's encoder, if critics and policy do not share one, is the VAE's to train: the actor sees its
features without gradient.

Shapes: K critics, B states, F features, A action dimensions, L latent dimensions, N actions per state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from cog.algorithms.shared.actor_critic import ActorCritic, Features
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import measured_td_loss, soft_clipped, td_target, vae_loss
from cog.algorithms.shared.mmd import Kernel, mmd
from cog.core.bounds import within
from cog.errors import UsageError
from cog.networks.actor import Actor
from cog.networks.best_of import BestOf
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.distribution import Noise
from cog.networks.encoder import Encoder, ObservationShape
from cog.networks.vae import VAE, prior_latents
from cog.replay.buffer import Batch

WARM_UP, FULL = "warm-up", "full"
LOG_MULTIPLIER_RANGE = (-5.0, 10.0)


@dataclass(frozen=True)
class BEARConfig(AlgorithmConfig):
    """The settings of BEAR."""

    name: ClassVar[str] = "bear"

    kernel: Kernel = "laplacian"
    """Kernel of the MMD, of the sum of absolute ("laplacian") or squared ("gaussian") differences."""
    kernel_width: float = within("(0, inf)", 20.0)
    """Width of the kernel exp(-d / (2 sigma)) (sigma, not squared)."""
    mmd_samples: int = within("[1, inf)", 4)
    """Actions drawn per state from each of policy and VAE for the MMD."""
    mmd_threshold: float = within("[0, inf)", 0.05)
    """MMD above which its multiplier rises (the paper's epsilon)."""
    multiplier_lr: float = within("[0, inf)", 1e-3)
    """Adam's step size for the logarithm of the MMD's multiplier."""
    warm_up_updates: int = within("[0, inf)", 0)
    """First updates, in which the actor lowers the MMD alone."""
    min_weight: float = within("[0, 1]", 0.75)
    """Weight of the lowest critic in targets; the highest has the rest (lambda)."""
    target_actions: int = within("[1, inf)", 10)
    """Actions drawn at the next state; the best is bootstrapped from."""
    acting_draws: int = within("[1, inf)", 10)
    """Actions drawn when it acts, among which the critics choose."""
    latents: int | None = within("[1, inf)", None)
    """Latent dimensions of the VAE. Default: twice the number of action components."""
    latent_limit: float = within("(0, inf)", 0.5)
    """Bound of the latents drawn for the VAE's actions in the MMD."""
    vae_widths: tuple[int, ...] = within("[1, inf)", (256, 256))
    """Hidden layers of the VAE's encoder, and of its decoder."""
    kl_weight: float = within("[0, inf)", 0.5)
    """Weight of the KL term (mean over latents) against the reconstruction error (mean over components)."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update (tau)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""
    vae_lr: float = within("[0, inf)", 1e-3)
    """Adam's step size for the VAE, and for the policy's encoder if it has its own."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)

    def latent_dimensions(self, actions: int) -> int:
        """L, for actions of this many components."""
        return 2 * actions if self.latents is None else self.latents


CPU = BEARConfig(warm_up_updates=500)
"""A warm-up of the same share of a run as the authors', for runs of 10,000 updates."""

PAPER = BEARConfig(
    warm_up_updates=40_000,
    vae_widths=(750, 750),
    discount=0.99,
    steps=1,
    target_rate=5e-3,
    actor_lr=1e-4,
    vae_lr=3e-4,
)
"""The figures of the authors' two codes; the module's docstring says which come from which."""


class BEAR(ActorCritic[BEARConfig]):
    """A VAE of the data's actions, and a policy kept close to it by a multiplier that is learned."""

    Config = BEARConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": CPU, "paper": PAPER}
    progress = ("td_loss", "q_data", "mmd", "multiplier")
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn: standard normal."""

        shifts: Shifts
        posterior: Tensor  # (B, L) for the latents of the data's actions
        target: Noise  # actions of pi(.|s') to bootstrap from
        policy: Tensor  # (B, N, A) for the actions of pi(.|s); the critics score the first
        behaviour: Tensor  # (B, N, L) for the VAE's actions at s

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks; `return_bounds` are not used."""
        super().__init__(settings, shape, actions, None)
        config, network = self.config, settings.network
        self.build_networks()
        self.latents = config.latent_dimensions(actions)
        features = self.policy_encoder().features
        self.vae = VAE(features, actions, self.latents, config.vae_widths, network.layer_norm)
        self.vae.to(settings.device)
        self.log_multiplier = nn.Parameter(torch.zeros((), device=settings.device))
        chosen = BestOf(self.actor_encoder, self.actor, self.critic, config.acting_draws, actions)
        # In a tuple, it is no module of this one: its weights are the agent's, and would be saved twice.
        self.chosen = (chosen,)
        self.ready()
        encoder = self.actor_encoder.parameters() if self.actor_encoder else ()
        self.add_optimizer("vae", [*self.vae.parameters(), *encoder], config.vae_lr)
        self.add_optimizer("critic", self.critic.parameters(), config.critic_lr)
        self.add_optimizer("actor", self.actor.parameters(), config.actor_lr)
        self.add_optimizer("multiplier", [self.log_multiplier], config.multiplier_lr)

    @classmethod
    def check(cls, settings: Settings, shape: ObservationShape, actions: int) -> None:
        """Refuse settings that this algorithm cannot use, before anything is built.

        Raises:
            UsageError: some components are declared switches.
        """
        super().check(settings, shape, actions)
        if switches := settings.network.switches:
            raise UsageError(
                f"network.switches is {switches}; bear compares actions before the tanh, where a switch is "
                "infinite. Leave network.switches out, or choose --algorithm bcq"
            )

    def phases(self) -> tuple[Phase, ...]:
        """The warm-up in the first `warm_up_updates`, then the full losses."""
        return (WARM_UP if self.updates_done < self.config.warm_up_updates else FULL,)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        samples = self.config.mmd_samples
        return self.Draws(
            shifts=self.draw_shifts(size),
            posterior=self.draw_normal(size, self.latents),
            target=self.draw_noise(size, self.config.target_actions),
            policy=self.draw_normal(size, samples, self.action_dimensions),
            behaviour=self.draw_normal(size, samples, self.latents),
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            features = self.encode(*self.augmented(batch, draws.shifts), batch)
            vae, metrics = self.vae_loss(features.actor, batch.actions, draws.posterior)
            critic, more = self.critic_loss(features, batch, draws.target)
            metrics |= more
            pi_actions, distance = self.distance(features.actor.detach(), draws)
            actor, more = self.actor_loss(pi_actions[:, :1], distance, features, phase)
            metrics |= more
            multiplier, more = self.multiplier_loss(distance)
            metrics |= more
        return {"vae": vae, "critic": critic, "actor": actor, "multiplier": multiplier}, metrics

    def vae_loss(self, features: Tensor, actions: Tensor, normal: Tensor) -> tuple[Tensor, Metrics]:
        """Reconstruction error of the data's actions (B, A) and KL term, for z ~ q(.|s, a), unbounded."""
        posterior = self.vae.posterior(features, actions)
        decoded = self.vae.reconstructed(features, posterior, normal)
        return vae_loss(actions, decoded, posterior.mean, posterior.log_std, self.config.kl_weight)

    def critic_loss(self, features: Features, batch: Batch, noise: Noise) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * max_i (lambda min_k + (1 - lambda) max_k) Q'_k(s', a_i))^2.

        a_i ~ pi(.|s'). Critics are mixed for each action first; the best of the mixed values counts.
        """
        q = self.critic.q(self.critic.project(features.critic), batch.actions[:, None])[..., 0]  # (K, B)
        with torch.no_grad():
            next_actions, _ = self.actor(features.next_actor).sample(noise)
            next_q = self.target.q(self.target.project(features.next_target), next_actions)  # (K, B, N)
            best = soft_clipped(next_q, self.config.min_weight).amax(1)
            target = td_target(batch.rewards, batch.bootstrap, best)
        return measured_td_loss(q, target)

    def distance(self, features: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """N actions (B, N, A) of pi(.|s), and the mean over states of their MMD to the VAE's actions.

        Both are compared before the tanh; the VAE's carry no gradient.
        """
        policy = self.actor(features)
        pre_tanh = policy.mean[:, None] + policy.log_std.exp()[:, None] * draws.policy
        with torch.no_grad():
            latents = prior_latents(draws.behaviour, self.config.latent_limit)
            behaviour = self.vae.decoder.pre_tanh(features, latents)
        distance = mmd(pre_tanh, behaviour, self.config.kernel_width, self.config.kernel)
        return pre_tanh.tanh(), distance.mean()

    def actor_loss(
        self, pi_actions: Tensor, distance: Tensor, features: Features, phase: Phase
    ) -> tuple[Tensor, Metrics]:
        """alpha * MMD - mean min_k Q_k(s, a), a ~ pi(.|s) (B, 1, A); in the warm-up alpha * MMD alone."""
        loss = self.log_multiplier.exp().detach() * distance
        metrics: Metrics = {"mmd": distance.detach()}
        if phase == FULL:
            states = self.critic.project(features.critic).detach()
            q = self.critic.q(states, pi_actions).amin(0).mean()
            loss = loss - q
            metrics["q_policy"] = q.detach()
        return loss, metrics | {"actor_loss": loss.detach()}

    def multiplier_loss(self, distance: Tensor) -> tuple[Tensor, Metrics]:
        """-alpha * (MMD - threshold): alpha rises while the MMD is above it, in the warm-up as well."""
        alpha = self.log_multiplier.exp()
        return -alpha * (distance.detach() - self.config.mmd_threshold), {"multiplier": alpha.detach()}

    @torch.no_grad()
    def update_targets(self) -> None:
        """Move the target critics by `target_rate`, and hold log alpha between -5 and 10."""
        self.move_target_critics(self.config.target_rate)
        self.log_multiplier.clamp_(*LOG_MULTIPLIER_RANGE)

    def policy(self) -> BestOf:
        """The current policy: the best by the critics of several draws of the actor."""
        return self.chosen[0]

    @classmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: BEARConfig
    ) -> BestOf:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""
        critic = Critic(shape, actions, network)
        encoder = Encoder(shape, network) if network.sharing == "separate" else None
        seen = critic.encoders[0] if encoder is None else encoder
        assert isinstance(seen, Encoder)
        actor = Actor(seen.features, actions, network)
        return BestOf(encoder, actor, critic, config.acting_draws, actions)
