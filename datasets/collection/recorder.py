"""An episode in progress: whatever chooses the actions steps it and reads the recorded frames."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cog.datasets.episode import Episode
from cog.signals.pictures import OBSERVED


class Recorder:
    """An environment in the middle of an episode, and everything recorded since its reset.

    `observation` and `success` are those of the last frame; `succeeded` says whether any frame was a success;
    `total` is the sum of the environment's `rewards`, one a step; `successes` has one entry a frame. Signals
    and actions are always kept, as copies: a scene may reuse its arrays.
    """

    def __init__(self, env: Any, seed: int, start: str, *, keep_observations: bool = True) -> None:
        """Reset the environment to the initial state of this seed and start.

        Without `keep_observations` only the last observation is kept, which saves the memory of T + 1 images;
        then no `Episode` can be made.
        """
        self.env, self.seed, self.start = env, seed, start
        self.names: tuple[str, ...] = tuple(env.unwrapped.signal_names)
        self.signals: list[dict[str, float]] = []
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.successes: list[bool] = []
        self.total = 0.0
        self.succeeded = self.terminated = self.truncated = False
        self._observations: list[dict[str, np.ndarray]] | None = [] if keep_observations else None
        self._record(*env.reset(seed=seed, options={"start": start}))

    def __len__(self) -> int:
        """Number of steps so far."""
        return len(self.actions)

    @property
    def over(self) -> bool:
        """Whether the environment or a time limit ended the episode."""
        return self.terminated or self.truncated

    def step(self, action: np.ndarray) -> None:
        """Apply an action (A,) float32 in [-1, 1]."""
        self.actions.append(np.array(action))
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._record(observation, info)
        self.rewards.append(float(reward))
        self.total += self.rewards[-1]
        self.terminated, self.truncated = bool(terminated), bool(truncated)

    def signal_values(self) -> dict[str, np.ndarray]:
        """Each signal at each frame so far, name -> (T + 1,) float64."""
        return {name: np.array([entry[name] for entry in self.signals]) for name in self.names}

    def episode(self, behaviour: str, options: Mapping[str, Any], noise: float) -> Episode:
        """The steps so far, at least one, as an episode of `behaviour`.

        What is observed beside image, proprio and state is what further cameras see.
        """
        if self._observations is None:
            raise ValueError("this recorder does not keep observations")
        seen = {name: np.stack([entry[name] for entry in self._observations]) for name in self.observation}
        return Episode(
            actions=np.stack(self.actions),
            signals={name: values.astype(np.float32) for name, values in self.signal_values().items()},
            images=seen.get("image"),
            cameras={name: values for name, values in seen.items() if name not in OBSERVED},
            proprio=seen.get("proprio"),
            state=seen.get("state"),
            seed=self.seed,
            start=self.start,
            behaviour=behaviour,
            noise=noise,
            options=dict(options),
            success=self.success,
            terminated=self.terminated,
            truncated=self.truncated,
        )

    def _record(self, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        signals = {name: float(np.asarray(info["signals"][name]).item()) for name in self.names}
        self.success = bool(info["success"])
        self.observation = {name: np.array(value) for name, value in observation.items()}
        if self._observations is not None:
            self._observations.append(self.observation)
        self.signals.append(signals)
        self.successes.append(self.success)
        self.succeeded |= self.success
