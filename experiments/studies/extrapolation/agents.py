"""Agents of the study: how each is made, how it acts, and what its critic predicts.

States are not standardised, as in the experiments that are repeated. Shapes: E and B states, P state
components, A action components.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cog.algorithms import algorithm
from cog.algorithms.shared.base import Algorithm
from cog.algorithms.shared.config import AlgorithmConfig
from cog.errors import UsageError
from cog.experiments.studies.extrapolation.config import ExtrapolationConfig
from cog.experiments.studies.extrapolation.growing import GrowingBuffer
from cog.experiments.studies.extrapolation.task import Act, Task, evaluate
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.encoder import ObservationShape
from cog.training.config import TrainConfig

PAIRS = 1000  # state-action pairs of the data whose value is measured
WARM_UPS = ("bc_updates", "warm_up_updates", "behaviour_updates", "model_updates")
LONGEST_WARM_UP = 0.1  # of all updates


class Point(NamedTuple):
    """One evaluation of an agent."""

    step: int
    """Steps or updates so far."""
    returns: float
    """Mean return of its policy without noise."""
    true: float
    """Mean discounted return of its policy, which is the true value of the starts."""
    q_start: float
    """What its critic predicts for its policy's actions at the same starts."""
    q_data: float
    """What its critic predicts for state-action pairs of the data."""


def settings_of(config: ExtrapolationConfig, method: str) -> AlgorithmConfig:
    """The settings of a method: those of its paper, with one-step returns and the study's discount.

    A warm-up that the method has, for runs that are far longer, takes a tenth of the updates at most.
    """
    settings = algorithm(method).presets["paper"]
    changes: dict[str, Any] = {"discount": config.discount, "steps": 1}
    if method == "ddpg":
        changes |= {"critic_lr": config.lr, "actor_lr": config.lr}
    for name in WARM_UPS:
        if hasattr(settings, name):
            changes[name] = min(getattr(settings, name), int(LONGEST_WARM_UP * config.updates))
    known = {field.name for field in dataclasses.fields(settings)}
    return dataclasses.replace(settings, **{name: new for name, new in changes.items() if name in known})


def make_agent(
    config: ExtrapolationConfig,
    task: Task,
    method: str,
    seed: int,
    return_bounds: tuple[float, float] | None = None,
) -> Algorithm[Any]:
    """A fresh agent, whose initial weights and random numbers depend on `seed` alone.

    Raises:
        UsageError: the method does not exist, does not support such a task, or has no critic.
    """
    settings = TrainConfig(
        data=Path("unused"),
        out=Path("unused"),
        seed=seed,
        updates=config.updates,
        batch_size=config.batch_size,
        sampling="uniform",
        average_decay=0.0,
        network=NetworkConfig(
            critics=1 if method == "ddpg" else 2,
            critic_widths=config.widths,
            actor_widths=config.widths,
            layer_norm=False,
        ),
        algorithm=settings_of(config, method),
    )
    kind, shape = algorithm(method), ObservationShape(None, task.states)
    kind.check(settings, shape, task.actions)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        agent = kind(settings, shape, task.actions, return_bounds)
    critic_of(agent)
    return agent


def critic_of(agent: Algorithm[Any]) -> Critic:
    """Its critics.

    Raises:
        UsageError: it has none.
    """
    critic = getattr(agent, "critic", None)
    if not isinstance(critic, Critic):
        raise UsageError(
            f"{agent.config.name} has no critic, whose error this study measures", remedy="leave it out"
        )
    return critic


def acting(agent: Algorithm[Any]) -> Act:
    """What the agent does at states, without noise."""

    @torch.no_grad()
    def act(states: np.ndarray) -> np.ndarray:
        actions: np.ndarray = agent.average(None, torch.from_numpy(states)).mode().numpy()
        return actions

    return act


@torch.no_grad()
def value(agent: Algorithm[Any], states: Tensor, actions: Tensor) -> float:
    """Mean Q_1 of actions (B, A) at states (B, P)."""
    critic = critic_of(agent)
    projected = critic.project(critic.encode(None, states))
    return float(critic.q(projected, actions[:, None], first=1).mean())


def measure(
    config: ExtrapolationConfig, task: Task, agent: Algorithm[Any], data: GrowingBuffer, step: int
) -> Point:
    """What the agent earns, and what its critic predicts for the same starts and for the data."""
    act = acting(agent)
    found = evaluate(task, act, config.evaluations, config.discount)
    starts = torch.from_numpy(found.starts)
    return Point(
        step=step,
        returns=float(found.returns.mean()),
        true=float(found.discounted.mean()),
        q_start=value(agent, starts, torch.from_numpy(act(found.starts))),
        q_data=value(agent, *data.pairs(PAIRS)),
    )
