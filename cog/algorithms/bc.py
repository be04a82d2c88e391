"""Behaviour cloning: the same encoder and actor, trained to make the data's actions likely."""

from torch import Tensor

from cog.algorithms.base import Agent, Metrics
from cog.algorithms.draws import Shifts, draw_shifts
from cog.networks.actor import Actor
from cog.networks.distribution import TanhGaussian, settled
from cog.networks.encoder import Encoder, ObservationShape
from cog.replay.buffer import Batch
from cog.training.config import TrainConfig


class BC(Agent):
    """Maximum likelihood of the recorded actions; rewards are not looked at."""

    def __init__(self, config: TrainConfig, shape: ObservationShape, actions: int) -> None:
        """Build the networks."""
        super().__init__(config, shape, actions)
        self.encoder = Encoder(shape, config.network).to(config.device)
        self.actor = Actor(self.encoder.features, actions, config.network).to(config.device)
        self.ready()
        self.add_optimizer("actor", [*self.encoder.parameters(), *self.actor.parameters()], config.bc_lr)

    def learn(self, batch: Batch) -> Metrics:
        """One step up the log-likelihood."""
        gradients, metrics = self.differentiate(batch, self.draws(len(batch.actions)), False)
        self.step("actor", gradients["actor"])
        return metrics

    def draws(self, size: int) -> Shifts:
        """The random numbers of an update of `size` states."""
        return draw_shifts(self.generator, size, self.config, self.shape)

    def losses(self, batch: Batch, draws: Shifts, warm_up: bool) -> tuple[dict[str, Tensor], Metrics]:
        """The policy's loss alone."""
        with self.autocast():
            images, _ = self.augmented(batch, draws)
            policy = self.actor(self.encoder(images, batch.proprio))
            loss, metrics = self.actor_loss(policy, batch)
        return {"actor": loss}, metrics

    def actor_loss(self, policy: TanhGaussian, batch: Batch) -> tuple[Tensor, Metrics]:
        """Minus the mean log pi(a|s) of the data."""
        network = self.config.network
        likelihood = policy.log_prob(batch.actions, network.action_limit).mean()
        error = (policy.mode().detach() - settled(batch.actions, network.switches)).square().mean()
        return -likelihood, {
            "actor_loss": -likelihood.detach(),
            "log_likelihood": likelihood.detach(),
            "action_error": error,
        }

    def policy_encoder(self) -> Encoder:
        """The encoder whose features the actor sees."""
        return self.encoder
