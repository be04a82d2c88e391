"""The cloned behaviour: a small tanh-Gaussian policy fitted to the data, for likelihoods of actions.

It sees the same descriptions of states (`cog.training.meters.support`) whatever the run's networks are, so
that algorithms can be compared with each other. Shapes: B states, D numbers a state, A action dimensions.
"""

import torch
from torch import Tensor

from cog.networks.actor import Actor
from cog.networks.config import NetworkConfig
from cog.replay.buffer import Buffer
from cog.training.meters.support import Describer

UPDATES = 500
BATCH = 128
STEP_SIZE = 1e-3  # Adam's
WIDTHS = (256, 256)


class Behaviour:
    """beta(a|s), the likelihood of actions under the behaviour that made the data."""

    def __init__(self, dimensions: int, actions: int, network: NetworkConfig, device: torch.device) -> None:
        """Begin with weights from PyTorch's own generator; switches and limit of actions are the run's."""
        settings = NetworkConfig(
            actor_widths=WIDTHS, switches=network.switches, action_limit=network.action_limit
        )
        self.limit = settings.action_limit
        self.actor = Actor(dimensions, actions, settings).to(device)

    def log_likelihood(self, states: Tensor, actions: Tensor) -> Tensor:
        """log beta(a|s) in nats, (B,), for descriptions (B, D) and actions (B, A)."""
        return self.actor(states).log_prob(actions, self.limit)

    def fit(self, buffer: Buffer, describe: Describer, generator: torch.Generator) -> None:
        """Make the data's actions likely, in `UPDATES` batches drawn as those of the run are."""
        parameters = list(self.actor.parameters())
        optimizer = torch.optim.Adam(parameters, lr=STEP_SIZE, fused=True)
        for _ in range(UPDATES):
            steps = buffer.draw(generator, BATCH)
            likelihood = self.log_likelihood(describe(buffer.frame_index[steps]), buffer.actions[steps])
            gradients = torch.autograd.grad(-likelihood.mean(), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
        self.actor.requires_grad_(False)


def cloned(
    buffer: Buffer, describe: Describer, network: NetworkConfig, seed: int, generator: torch.Generator
) -> Behaviour:
    """The behaviour of the data in a buffer, whose count of draws is changed; `seed` gives the weights."""
    with torch.random.fork_rng(devices=[]):  # initial weights come from the global generator
        torch.default_generator.manual_seed(seed)
        dimensions = describe(buffer.frame_index[:1]).shape[1]
        behaviour = Behaviour(dimensions, buffer.actions.shape[1], network, buffer.device)
    behaviour.fit(buffer, describe, generator)
    return behaviour
