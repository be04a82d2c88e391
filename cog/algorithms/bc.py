"""Behaviour cloning: make the data's actions likely, whatever their rewards.

Loss: -mean log pi(a|s) over the data, with the encoder and actor that the other algorithms have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from cog.algorithms.shared.base import Algorithm, Losses, Metrics, Phase, Shifts
from cog.algorithms.shared.config import AlgorithmConfig, Settings
from cog.core.bounds import within
from cog.networks.actor import Actor, PolicyNetwork
from cog.networks.config import NetworkConfig
from cog.networks.distribution import TanhGaussian, snap_switches
from cog.networks.encoder import Encoder, ObservationShape
from cog.replay.buffer import Batch


@dataclass(frozen=True)
class BCConfig(AlgorithmConfig):
    """The settings of behaviour cloning."""

    name: ClassVar[str] = "bc"

    lr: float = within("[0, inf)", 3e-4)
    """Adam's step size."""


class BC(Algorithm[BCConfig]):
    """Maximum likelihood of the recorded actions."""

    Config = BCConfig
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {"cpu": BCConfig(), "paper": BCConfig(lr=1e-4)}
    progress = ("actor_loss", "log_likelihood", "action_error")
    bootstraps_from = None
    stitches = False  # at B it does what the data did most

    class Draws(NamedTuple):
        """The random numbers of one update."""

        shifts: Shifts

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Build the networks."""
        super().__init__(settings, shape, actions, return_bounds)
        self.encoder = Encoder(shape, settings.network).to(settings.device)
        self.actor = Actor(self.encoder.features, actions, settings.network).to(settings.device)
        self.ready()
        self.add_optimizer("actor", [*self.encoder.parameters(), *self.actor.parameters()], self.config.lr)

    def draws(self, size: int) -> Draws:
        """The random numbers of an update of `size` states."""
        return self.Draws(self.draw_shifts(size))

    def losses(self, batch: Batch, draws: Draws, phase: Phase) -> tuple[Losses, Metrics]:
        """The policy's loss alone."""
        with self.autocast():
            images, _ = self.augmented(batch, draws.shifts)
            policy = self.actor(self.encoder(images, batch.proprio))
            loss, metrics = self.actor_loss(policy, batch)
        return {"actor": loss}, metrics

    def actor_loss(self, policy: TanhGaussian, batch: Batch) -> tuple[Tensor, Metrics]:
        """-mean log pi(a|s) of the data."""
        network = self.settings.network
        log_likelihood = policy.log_prob(batch.actions, network.action_limit).mean()
        error = (policy.mode().detach() - snap_switches(batch.actions, network.switches)).square().mean()
        return -log_likelihood, {
            "actor_loss": -log_likelihood.detach(),
            "log_likelihood": log_likelihood.detach(),
            "action_error": error,
        }

    def policy(self) -> PolicyNetwork:
        """The current policy: the weights that learn, not a copy."""
        return PolicyNetwork(self.encoder, self.actor, self.action_dimensions)

    @classmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: BCConfig
    ) -> PolicyNetwork:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""
        encoder = Encoder(shape, network)
        return PolicyNetwork(encoder, Actor(encoder.features, actions, network), actions)
