"""What a history shows of one episode, found by a plain loop, with which all else is compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cog.algorithms import algorithm
from cog.datasets.episode import Episode
from cog.datasets.robot_interface import RobotInterface
from cog.evaluation.exported import Exported
from cog.evaluation.policy import Policy
from cog.networks.encoder import ObservationShape
from cog.training.train import train
from tests.helpers.learner_data import config, noise


def plain_images(images: np.ndarray, frame: int, depth: int) -> np.ndarray:
    """Images (T+1, H, W, C) of an episode as seen at a frame: (H, W, K*C)."""
    seen = []
    for back in reversed(range(depth)):
        seen.append(images[frame - back if frame - back >= 0 else 0])
    return np.concatenate(seen, 2)


def plain_pose(poses: np.ndarray, actions: np.ndarray, frame: int, depth: int) -> np.ndarray:
    """Poses (T+1, P) and actions (T, A) of an episode as seen at a frame: (K*P + (K-1)*A,)."""
    seen, between = [], []
    for back in reversed(range(depth)):
        seen.append(poses[max(frame - back, 0)])
        if back:
            between.append(actions[frame - back] if frame - back >= 0 else np.zeros_like(actions[0]))
    return np.concatenate([*seen, *between])


def episode(
    rng: np.random.Generator, steps: int, cameras: Sequence[str] = (), state: bool = False
) -> Episode:
    """A random episode of 3 numbers and 2 actions; cameras of 5x4, the first in colour, others in grey."""
    pictures = {
        name: rng.integers(0, 256, (steps + 1, 5, 4, 3 if place == 0 else 1), dtype=np.uint8)
        for place, name in enumerate(cameras)
    }
    images = pictures.pop("image", None)
    pose = rng.normal(size=(steps + 1, 3)).astype(np.float32)
    return Episode(
        actions=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        signals={},
        images=images,
        cameras=pictures,
        proprio=None if state else pose,
        state=pose if state else None,
        rewards=rng.normal(size=steps).astype(np.float32),
        terminals=rng.random(steps) < 0.2,
    )


def line_run(out: Path, updates: int = 1, **changes: Any) -> Path:
    """The folder of a run on noise whose policy fits the scene toy/Line-v0: one pose number, 8 actions."""
    transitions = noise(actions=8)
    transitions.proprio = np.random.default_rng(1).normal(size=(60, 1)).astype(np.float32)
    train(config(out, updates=updates, **changes), transitions)
    return out


def made(single: ObservationShape, actions: int, interface: RobotInterface | None, **changes: Any) -> Policy:
    """A policy with random weights for these settings, wide enough apart that every input counts."""
    run = config(algorithm="bc", **changes)
    shape = single.with_history(run.network, actions)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = algorithm("bc").build_policy(shape, actions, run.network, run.algorithm)
        for value in network.parameters():
            value.data.add_(0.3 * torch.randn_like(value))
    origin = Exported(network, run.algorithm, shape, actions, run.network, 1, interface)
    return Policy(network, shape, 1, origin=origin)


def assert_close(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    """Both hold equal arrays by the same names."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
