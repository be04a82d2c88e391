"""BCQ: batch-constrained deep Q-learning, which looks for the best action among those the data might hold.

Fujimoto et al., "Off-Policy Deep Reinforcement Learning without Exploration" (2019), algorithm 1. A VAE draws
actions like the data's, a perturbation model moves each by at most Phi towards higher values, and the critics
choose. As everywhere here, all losses of an update are taken at the same weights (the authors step one
network after the other), and the critics choose by their lowest (the authors by the first alone).

The policy's encoder, if critics and policy do not share one, is the VAE's to train: the perturbation model
sees its features without gradient. That encoder has no slow copy, be it shared or not: the target
perturbation model, too, sees the current features of s'. Switches are modelled as -1 and 1, snapped before a
critic sees them, and never perturbed.

By default the VAE is sharper than the authors', whose weight of the KL term makes it ignore spreads below
about 0.35, and its latents go to +-1: at +-0.5 it hardly ever draws what fewer than 31 % of the data do,
P(z > 0.5), if one latent codes that choice. The preset "paper" has the authors' figures.

Shapes: K critics, B states, F features, A action dimensions, L latent dimensions, N actions per state.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.actor_critic import ActorCritic, Features
from cog.algorithms.shared.base import Losses, Metrics, Phase, Shifts, move_towards
from cog.algorithms.shared.config import AlgorithmConfig, Returns, Settings
from cog.algorithms.shared.losses import measured_td_loss, soft_clipped, td_target, vae_loss
from cog.core.bounds import within
from cog.networks.best_of import BestOf
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.distribution import snap_switches
from cog.networks.encoder import Encoder, ObservationShape
from cog.networks.perturbation import Perturbation, Perturbed, PerturbedVAE
from cog.networks.vae import VAE
from cog.replay.buffer import Batch


@dataclass(frozen=True)
class BCQConfig(AlgorithmConfig):
    """The settings of BCQ."""

    name: ClassVar[str] = "bcq"

    perturbation: float = within("[0, 2]", 0.05)
    """Largest change of a decoded action in any component that moves (the paper's Phi)."""
    min_weight: float = within("[0, 1]", 0.75)
    """Weight of the lowest critic in targets; the highest has the rest (the paper's lambda)."""
    target_actions: int = within("[1, inf)", 10)
    """Actions drawn at the next state; the best is bootstrapped from."""
    acting_draws: int = within("[1, inf)", 100)
    """Actions drawn when it acts, among which the critics choose."""
    latents: int | None = within("[1, inf)", None)
    """Latent dimensions of the VAE. Default: twice the number of action components."""
    latent_limit: float = within("(0, inf)", 1.0)
    """Bound of the latents drawn for acting and targets; the authors' is 0.5."""
    vae_widths: tuple[int, ...] = within("[1, inf)", (256, 256))
    """Hidden layers of the VAE's encoder, and of its decoder."""
    kl_weight: float = within("[0, inf)", 0.1)
    """Weight of the KL term (mean over latents) against the reconstruction error (mean over components)."""
    discount: float = within("[0, 1)", 0.97)
    """Discount of the return per step."""
    steps: int = within("[1, inf)", 5)
    """Steps of reward in a transition before the bootstrap (n-step returns)."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of critics and perturbation model that moves into their targets at each update (tau)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics and their encoder."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the perturbation model."""
    vae_lr: float = within("[0, inf)", 1e-3)
    """Adam's step size for the VAE, and for the policy's encoder if it has its own."""

    def returns(self) -> Returns:
        """Discount and steps of the transitions."""
        return Returns(self.discount, self.steps)

    def latent_dimensions(self, actions: int) -> int:
        """L, for actions of this many components."""
        return 2 * actions if self.latents is None else self.latents


PAPER = BCQConfig(
    latent_limit=0.5,
    vae_widths=(750, 750),
    kl_weight=0.5,
    discount=0.99,
    steps=1,
    target_rate=5e-3,
    critic_lr=1e-3,
    actor_lr=1e-3,
    vae_lr=1e-3,
)
"""The figures of the authors' code (github.com/sfujim/BCQ at 4876f7e, continuous actions)."""


class BCQ(ActorCritic[BCQConfig]):
    """A VAE of the data's actions, a model that perturbs its draws, and critics that choose among them."""

    Config = BCQConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": BCQConfig(), "paper": PAPER}
    progress = ("td_loss", "q_data", "q_policy", "reconstruction_error")
    actor_kind = Perturbation
    actor: Perturbation
    stitches = True

    class Draws(NamedTuple):
        """The random numbers of one update, in the order in which they are drawn: standard normal."""

        shifts: Shifts
        posterior: Tensor  # (B, L) for the latents of the data's actions
        target: Tensor  # (B, N, L) for the actions at s'
        policy: Tensor  # (B, 1, L) for the action that the perturbation model moves

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
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.latents = config.latent_dimensions(actions)
        features = self.policy_encoder().features
        self.vae = VAE(features, actions, self.latents, config.vae_widths, network.layer_norm)
        self.vae.to(settings.device)
        limits = (config.perturbation, config.latent_limit)
        drawn = PerturbedVAE(self.vae.decoder, self.actor, *limits, network.switches)
        chosen = BestOf(self.actor_encoder, drawn, self.critic, config.acting_draws, self.latents)
        # In a tuple, it is no module of this one: its weights are the agent's, and would be saved twice.
        self.chosen = (chosen,)
        self.ready()
        encoder = self.actor_encoder.parameters() if self.actor_encoder else ()
        self.add_optimizer("vae", [*self.vae.parameters(), *encoder], config.vae_lr)
        self.add_optimizer("critic", self.critic.parameters(), config.critic_lr)
        self.add_optimizer("actor", self.actor.parameters(), config.actor_lr)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(
            shifts=self.draw_shifts(size),
            posterior=self.draw_normal(size, self.latents),
            target=self.draw_normal(size, self.config.target_actions, self.latents),
            policy=self.draw_normal(size, 1, self.latents),
        )

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """All losses of one update; the order of these lines is the algorithm."""
        with self.autocast():
            features = self.encode(*self.augmented(batch, draws.shifts), batch)
            data_actions = snap_switches(batch.actions, self.settings.network.switches)
            vae, metrics = self.vae_loss(features.actor, data_actions, draws.posterior)
            next_actions = self.target_actions(features.next_actor, draws.target)
            critic, more = self.critic_loss(features, data_actions, batch, next_actions)
            metrics |= more
            actor, more = self.actor_loss(features, draws.policy)
            metrics |= more
        return {"vae": vae, "critic": critic, "actor": actor}, metrics

    def vae_loss(self, features: Tensor, actions: Tensor, normal: Tensor) -> tuple[Tensor, Metrics]:
        """Reconstruction error of the data's actions (B, A) and KL term, for z ~ q(.|s, a), unbounded."""
        posterior = self.vae.posterior(features, actions)
        decoded = self.vae.reconstructed(features, posterior, normal)
        return vae_loss(actions, decoded, posterior.mean, posterior.log_std, self.config.kl_weight)

    def perturbed(self, features: Tensor, actor: Perturbation) -> Perturbed:
        """The actions that are drawn at states of features (B, F) and moved by `actor`."""
        limits = (self.config.perturbation, self.config.latent_limit)
        return Perturbed(features, self.vae.decoder, actor, *limits, self.settings.network.switches)

    @torch.no_grad()
    def target_actions(self, next_features: Tensor, normal: Tensor) -> Tensor:
        """N actions (B, N, A) at s', decoded by the VAE and moved by the target perturbation model."""
        return self.perturbed(next_features, self.target_actor).drawn(normal)

    def critic_loss(
        self, features: Features, data_actions: Tensor, batch: Batch, next_actions: Tensor
    ) -> tuple[Tensor, Metrics]:
        """sum_k mean (Q_k(s, a) - r - gamma * max_i (lambda min_k + (1 - lambda) max_k) Q'_k(s', a_i))^2.

        Critics are mixed for each action first; the best of the N mixed values counts (equation 13).
        """
        q = self.critic.q(self.critic.project(features.critic), data_actions[:, None])[..., 0]  # (K, B)
        with torch.no_grad():
            next_q = self.target.q(self.target.project(features.next_target), next_actions)  # (K, B, N)
            best = soft_clipped(next_q, self.config.min_weight).amax(1)
            target = td_target(batch.rewards, batch.bootstrap, best)
        return measured_td_loss(q, target)

    def actor_loss(self, features: Features, normal: Tensor) -> tuple[Tensor, Metrics]:
        """-mean Q_1(s, a + xi(s, a)) for one action a of the VAE at each state."""
        pi_actions = self.perturbed(features.actor.detach(), self.actor).drawn(normal)
        states = self.critic.project(features.critic).detach()
        loss = -self.critic.q(states, pi_actions)[0].mean()
        return loss, {"actor_loss": loss.detach(), "q_policy": -loss.detach()}

    def update_targets(self) -> None:
        """Move the targets of critics and perturbation model by `target_rate`."""
        self.move_target_critics(self.config.target_rate)
        current = list(self.actor.parameters())
        move_towards(list(self.target_actor.parameters()), current, self.config.target_rate)

    def policy(self) -> BestOf:
        """The current policy: the best by the critics of many perturbed draws."""
        return self.chosen[0]

    @classmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: BCQConfig
    ) -> BestOf:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""
        critic = Critic(shape, actions, network)
        encoder = Encoder(shape, network) if network.sharing == "separate" else None
        seen = critic.encoders[0] if encoder is None else encoder
        assert isinstance(seen, Encoder)
        latents = config.latent_dimensions(actions)
        vae = VAE(seen.features, actions, latents, config.vae_widths, network.layer_norm)
        perturbation = Perturbation(seen.features, actions, network)
        limits = (config.perturbation, config.latent_limit)
        actor = PerturbedVAE(vae.decoder, perturbation, *limits, network.switches)
        return BestOf(encoder, actor, critic, config.acting_draws, latents)
