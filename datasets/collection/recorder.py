"""Record an episode while it is acted, by whoever chooses the actions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cog.datasets.episode import Episode
from cog.errors import CogError


class Recorder:
    """An environment in the middle of an episode, and all that it has shown."""

    def __init__(self, env: Any, seed: int, start: str) -> None:
        """Reset the environment to the initial state of this seed and start."""
        self.env, self.seed, self.start = env, seed, start
        self.names = env.unwrapped.signal_names
        self.observations: list[dict[str, np.ndarray]] = []
        self.signals: list[dict[str, float]] = []
        self.actions: list[np.ndarray] = []
        self.succeeded = self.terminated = self.truncated = False
        self._see(*env.reset(seed=seed, options={"start": start}))

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
        self._see(observation, info)
        self.terminated, self.truncated = bool(terminated), bool(truncated)

    def episode(self, behaviour: str, options: Mapping[str, Any], noise: float) -> Episode:
        """The steps so far, at least one, as an episode acted by `behaviour`."""
        signals = {name: [entry[name] for entry in self.signals] for name in self.names}
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

    def _see(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Keep copies of what a frame shows: a scene may fill the same arrays again."""
        try:
            signals = {name: float(info["signals"][name]) for name in self.names}
            self.success = bool(info["success"])
        except (KeyError, TypeError, ValueError) as error:
            raise CogError(
                f"frame {len(self.observations)} of the episode with seed {self.seed} has no number for a "
                f"signal or no success ({type(error).__name__}: {error}); every info needs "
                f"info['success'] and info['signals'] with {', '.join(self.names)}"
            ) from error
        self.observations.append({name: np.array(value) for name, value in observation.items()})
        self.signals.append(signals)
        self.succeeded |= self.success

    def _stacked(self, name: str) -> np.ndarray | None:
        present = name in self.observations[0]
        return np.stack([entry[name] for entry in self.observations]) if present else None
