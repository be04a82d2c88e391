"""The three experiments: who acts, with which noise, and who learns from it.

    final       DDPG acts with much noise and keeps every step; a fresh agent learns from the finished buffer.
    concurrent  DDPG acts with little noise; a second one, which never acts, learns from the same batches.
    imitation   The trained DDPG of "concurrent" acts without noise; a fresh agent learns from what it did.

Fujimoto, Meger and Precup (2019), section 3.1. They trained several experts and kept the best; here the
expert has the weights of its best evaluation. Both agents of "concurrent" get the very same batches, so that
they differ by their initial weights alone; other methods learn from its finished buffer.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from cog.algorithms.shared.base import Algorithm
from cog.core.files import write_bytes
from cog.experiments.studies.extrapolation.agents import Point, acting, make_agent, measure, settings_of
from cog.experiments.studies.extrapolation.config import SEED_LIMIT, Experiment, ExtrapolationConfig
from cog.experiments.studies.extrapolation.growing import GrowingBuffer
from cog.experiments.studies.extrapolation.task import Stream, Task, evaluate, open_task
from cog.replay.buffer import Buffer

ONLINE, OFFLINE = "online", "ddpg"
CHOICE_START = 20_000  # seed of the first episode by which the expert is chosen
Curves = dict[str, list[Point]]
"""The evaluations of each agent, by its name."""


def data_file(config: ExtrapolationConfig, experiment: Experiment, seed: int) -> Path:
    """Where the buffer of an experiment is kept."""
    return config.out / "data" / f"{experiment}-{seed}.npz"


def expert_file(config: ExtrapolationConfig, seed: int) -> Path:
    """Where the trained online agent of "concurrent" is kept."""
    return config.out / "data" / f"expert-{seed}.safetensors"


def learn_online(config: ExtrapolationConfig, experiment: Experiment, seed: int) -> Curves:
    """Train the agent that acts, and with "concurrent" the one that only learns; keep the buffer.

    Returns the curves of "online" and, with "concurrent", of "ddpg".
    """
    task = open_task(config.task)
    agents = {ONLINE: make_agent(config, task, "ddpg", seed)}
    if experiment == "concurrent":
        agents[OFFLINE] = make_agent(config, task, "ddpg", SEED_LIMIT + seed)
    noise = config.final_noise if experiment == "final" else config.concurrent_noise
    buffer = GrowingBuffer(config.steps, task.states, task.actions, config.discount)
    best = -math.inf
    curves: Curves = {name: [] for name in agents}
    for step in steps_of(config, task, agents, buffer, noise, seed):
        if step % config.evaluate_every:
            continue
        for name, agent in agents.items():
            curves[name].append(measure(config, task, agent, buffer, step))
        if experiment != "concurrent":
            continue
        # By other starts than those it is compared on: the best of many is lucky where it was chosen.
        act = acting(agents[ONLINE])
        chosen = evaluate(task, act, config.evaluations, config.discount, CHOICE_START).returns.mean()
        if chosen > best:
            best = float(chosen)
            write_bytes(expert_file(config, seed), save(agents[ONLINE].state_dict()))
    buffer.save(data_file(config, experiment, seed))
    return curves


def steps_of(
    config: ExtrapolationConfig,
    task: Task,
    agents: dict[str, Algorithm[Any]],
    buffer: GrowingBuffer,
    noise: float,
    seed: int,
) -> Iterator[int]:
    """Act and learn; yields the number of steps after each.

    The agent "online" acts, at first at random. Every agent learns from the same batch, one a step.
    """
    rng = np.random.default_rng(seed)
    stream = Stream(task, buffer, seed)
    act, generator = acting(agents[ONLINE]), agents[ONLINE].generator
    for step in range(1, config.steps + 1):
        if step <= config.random_steps:
            action = rng.uniform(-1, 1, task.actions)
        else:
            policy = act(stream.state[None].astype(np.float32))[0]
            action = (policy + rng.normal(0, noise, task.actions)).clip(-1, 1)
        stream.step(action.astype(np.float32))
        if step > config.random_steps:
            batch = buffer.sample(generator, config.batch_size)
            for agent in agents.values():
                agent.update(batch)
        yield step


def record_expert(config: ExtrapolationConfig, seed: int) -> Curves:
    """Let the trained online agent act without noise, and keep its steps; its curve is one evaluation."""
    task = open_task(config.task)
    expert = make_agent(config, task, "ddpg", seed)
    expert.load_state_dict(load_file(expert_file(config, seed)))
    buffer = GrowingBuffer(config.steps, task.states, task.actions, config.discount)
    stream, act = Stream(task, buffer, SEED_LIMIT + seed), acting(expert)
    for _ in range(config.steps):
        stream.step(act(stream.state[None].astype(np.float32))[0])
    buffer.save(data_file(config, "imitation", seed))
    return {ONLINE: [measure(config, task, expert, buffer, 0)]}


def learn_offline(config: ExtrapolationConfig, experiment: Experiment, method: str, seed: int) -> Curves:
    """Train a fresh agent on a finished buffer; it stops where a value is not finite any more."""
    task = open_task(config.task)
    data = GrowingBuffer.load(data_file(config, experiment, seed), config.discount)
    returns = settings_of(config, method).returns()
    device, size = torch.device("cpu"), config.batch_size
    buffer = Buffer(data.transitions(experiment), device, size, "uniform", *returns)
    agent = make_agent(config, task, method, SEED_LIMIT + seed, buffer.return_bounds())
    curve: list[Point] = []
    for update in range(1, config.updates + 1):
        agent.update(buffer.sample(agent.generator))
        if update % config.evaluate_every == 0:
            curve.append(measure(config, task, agent, data, update))
            if not all(math.isfinite(one) for one in curve[-1]):
                break
    return {method: curve}
