"""Small synthetic transitions and configurations for the learner's tests."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cog.algorithms import algorithm as algorithm_class
from cog.datasets.transitions import Transitions
from cog.networks.config import NetworkConfig
from cog.training.config import TrainConfig

torch.set_num_threads(1)  # these networks are too small to share out

SIZE = 16  # pixels, small enough to be fast
PARTS = {"behaviour_updates": 2, "warm_up_updates": 1}
"""Updates of the first parts of a run, for algorithms that learn one thing after another."""


class Made(Transitions):
    """Transitions that a test may change."""

    __setattr__ = object.__setattr__  # type: ignore[assignment]


def noise(frames: int = 60, images: bool = True, seed: int = 0, actions: int = 3) -> Any:
    """Random transitions of two sources: `task` with rewards and terminals, `prior` with none."""
    rng = np.random.default_rng(seed)
    steps = frames - 1
    source = (np.arange(steps) >= steps // 3).astype(np.int64)
    rewards = np.where((source == 0) & (rng.random(steps) < 0.3), 10.0, 0.0).astype(np.float32)
    return Made(
        frames=rng.integers(0, 256, (frames, SIZE, SIZE, 3), dtype=np.uint8) if images else None,
        proprio=rng.normal(size=(frames, 4)).astype(np.float32),
        actions=rng.uniform(-1, 1, (steps, actions)).astype(np.float32),
        rewards=rewards,
        terminals=rewards > 0,
        frame_index=np.arange(steps),
        source=source,
        episode=np.zeros(steps, np.int64),
        sources=[
            {"role": "task", "name": "new", "share": 0.5, "steps": int((source == 0).sum())},
            {"role": "prior", "name": "old", "share": 0.5, "steps": int((source == 1).sum())},
        ],
        fingerprint=f"noise {frames} {images} {seed}",
    )


def suited(changes: Mapping[str, Any]) -> Any:
    """Random transitions for a run with these changes: with images, if its algorithm learns from them."""
    return noise(images=algorithm_class(changes.get("algorithm", "cql")).sees_images)


def steps_of(states: np.ndarray, actions: np.ndarray, rewards: np.ndarray, following: np.ndarray) -> Any:
    """State-mode transitions from arrays (S, P), (S, A), (S,), (S, P): each step an episode of its own.

    Rewarded steps are terminal.
    """
    steps = len(states)
    pairs = np.stack([states, following], 1).reshape(2 * steps, -1).astype(np.float32)
    return Made(
        frames=None,
        proprio=pairs,
        actions=actions.astype(np.float32),
        rewards=rewards.astype(np.float32),
        terminals=rewards > 0,
        frame_index=2 * np.arange(steps),
        source=np.zeros(steps, np.int64),
        episode=np.arange(steps),
        sources=[{"role": "task", "name": "made", "share": 1.0, "steps": steps}],
        fingerprint="made",
    )


def config(out: Path = Path("out"), algorithm: str = "cql", **changes: Any) -> TrainConfig:
    """A run small enough for a test; fields of the algorithm's or the networks' settings are set there."""
    values: dict[str, Any] = {
        "batch_size": 8,
        "updates": 8,
        "log_every": 1,
        "checkpoint_every": 3,
        "threads": 1,
    }
    network: dict[str, Any] = {
        "bottleneck": 8,
        "proprio_features": 4,
        "critic_widths": (16, 16),
        "actor_widths": (16,),
    }
    kind = algorithm_class(algorithm).Config
    phased = "model_updates" in {field.name for field in dataclasses.fields(kind)}
    learner: dict[str, Any] = {"model_updates": 2, "model_widths": (16, 16)} if phased else {}
    for name, value in changes.items():
        for group, settings in ((kind, learner), (NetworkConfig, network), (TrainConfig, values)):
            if name in {field.name for field in dataclasses.fields(group)}:
                settings[name] = value
                break
        else:
            raise KeyError(name)
    for name, length in PARTS.items():
        if name in {field.name for field in dataclasses.fields(kind)}:
            learner.setdefault(name, length)
    return TrainConfig(
        data=Path("data"), out=out, algorithm=kind(**learner), network=NetworkConfig(**network), **values
    )
