"""A bandit with one state, whose data hold actions of one interval and pay more towards its upper end."""

from typing import Any

import numpy as np
import torch

from cog.replay.buffer import Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, steps_of

LOW, HIGH = -0.6, 0.2  # of the actions in the data; beyond HIGH nothing is known


def bandit(algorithm: str, updates: int, **changes: Any) -> tuple[Any, Buffer]:
    """An agent after that many updates, and its data: action a pays 1 + a and ends the episode."""
    rng = np.random.default_rng(0)
    states, actions = np.ones((200, 1)), rng.uniform(LOW, HIGH, (200, 1))
    settings = config(algorithm=algorithm, batch_size=64, critic_lr=1e-2, actor_lr=1e-2, **changes)
    buffer = Buffer(
        steps_of(states, actions, 1 + actions[:, 0], states),
        torch.device("cpu"),
        64,
        "uniform",
        *settings.algorithm.returns(),
    )
    agent = create(settings, buffer)
    for _ in range(updates):
        agent.update(buffer.sample(agent.generator))
    return agent, buffer


@torch.no_grad()
def drawn(agent: Any, count: int = 500) -> torch.Tensor:
    """Actions that the averaged policy draws at the one state, and the one that it takes."""
    policy = agent.average(None, torch.ones(1, 1))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(1, count, agent.average.noise_dimensions, generator=generator)
    return torch.cat([policy.drawn(noise)[0, :, 0], policy.mode()[0]])
