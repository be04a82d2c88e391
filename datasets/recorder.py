"""Record an episode while it is acted, by whoever chooses the actions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cog.datasets.episode import Episode


class Recorder:
    """An environment in the middle of an episode, and all that it has shown."""

    def __init__(self, env: Any, seed: int, start: str) -> None:
        """Reset the environment to the initial state of this seed and start."""
        self.env, self.seed, self.start = env, seed, start
        observation, info = env.reset(seed=seed, options={"start": start})
        self.observations: list[dict[str, np.ndarray]] = [observation]
        self.signals: list[Mapping[str, float]] = [info["signals"]]
        self.actions: list[np.ndarray] = []
        self.success = self.succeeded = bool(info["success"])
        self.terminated = self.truncated = False

    def __len__(self) -> int:
        """Number of steps so far."""
        return len(self.actions)

    @property
    def over(self) -> bool:
        """Whether the environment or a time limit ended the episode."""
        return self.terminated or self.truncated

    def step(self, action: np.ndarray) -> None:
        """Apply an action (A,) float32 in [-1, 1]."""
        observation, _, terminated, truncated, info = self.env.step(action)
        self.actions.append(action)
        self.observations.append(observation)
        self.signals.append(info["signals"])
        self.success = bool(info["success"])
        self.succeeded |= self.success
        self.terminated, self.truncated = bool(terminated), bool(truncated)

    def episode(self, behaviour: str, options: Mapping[str, Any], noise: float) -> Episode:
        """The steps so far, at least one, as an episode acted by `behaviour`."""
        signals = {name: [entry[name] for entry in self.signals] for name in self.signals[0]}
        return Episode(
            actions=np.stack(self.actions),
            signals={name: np.array(values, np.float32) for name, values in signals.items()},
            images=self._stacked("image"),
            proprio=self._stacked("proprio"),
            state=self._stacked("state"),
            seed=self.seed,
            start=self.start,
            behaviour=behaviour,
            noise=noise,
            options=dict(options),
            success=self.success,
            terminated=self.terminated,
            truncated=self.truncated,
        )

    def _stacked(self, name: str) -> np.ndarray | None:
        present = name in self.observations[0]
        return np.stack([entry[name] for entry in self.observations]) if present else None
