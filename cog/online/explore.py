"""Explore: roll a stochastic policy out, several episodes side by side, and record them whole.

Episode i always acts in row i mod B of a batch of B rows, and its seed fixes its initial state and every draw
from the policy: the same weights give the same episodes, whoever else runs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cog.datasets.episode import Episode
from cog.envs.make import Environments, Scene
from cog.evaluation.policy import Policy

_ONLINE_STREAM = 3  # collections and evaluations under the same seed begin otherwise
_NOISE_STREAM = 4


def online_seed(seed: int, number: int) -> int:
    """The seed of online episode `number` in the run of that `seed`."""
    sequence = np.random.SeedSequence([seed, number], spawn_key=(_ONLINE_STREAM,))
    return int(sequence.generate_state(1)[0])


class Explorer(Environments):
    """B environments in this process; to be closed."""

    def __init__(self, scene: Scene, start: str, rows: int, seed: int, reward: float) -> None:
        """`reward` is paid on the step that succeeds, which ends the episode."""
        super().__init__(scene, rows)
        self.start = start
        self.seed = seed
        self.reward = reward

    def roll(self, policy: Policy, numbers: Sequence[int]) -> list[Episode]:
        """Run these episodes, at most B of them, to their ends; rewards and terminals are recorded."""
        rows = self.rows
        running = {}
        for number in numbers:
            row = number % rows
            running[row] = _Running(self.env(row), online_seed(self.seed, number), self.start)
        episodes = list(running.values())
        pose = self.scene.pose
        poses = np.zeros((rows, *episodes[0].observations[0][pose].shape), np.float32)
        images = None if self.scene.image is None else np.zeros((rows, *self.scene.image), np.uint8)
        noise = np.zeros((rows, *episodes[0].env.action_space.shape), np.float32)
        while running:
            for row, episode in running.items():
                poses[row] = episode.observations[-1][pose]
                noise[row] = episode.rng.standard_normal(noise.shape[1:], np.float32)
                if images is not None:
                    images[row] = episode.observations[-1]["image"]
            actions = policy.act(images, poses, noise)
            for row, episode in list(running.items()):
                if episode.step(actions[row]):
                    del running[row]
        return [episode.recorded(self.reward, policy.update) for episode in episodes]


def _copy(observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays to keep: a scene may fill the same ones again."""
    return {name: np.array(value) for name, value in observation.items()}


class _Running:
    """One running episode and all that it has shown."""

    def __init__(self, env: Any, seed: int, start: str) -> None:
        self.env, self.seed, self.start = env, seed, start
        self.rng = np.random.default_rng([seed, _NOISE_STREAM])
        observation, info = env.reset(seed=seed, options={"start": start})
        self.observations = [_copy(observation)]
        self.signals = [dict(info["signals"])]
        self.actions: list[np.ndarray] = []

    def step(self, action: np.ndarray) -> bool:
        """Apply an action (A,); whether the episode is over."""
        self.actions.append(action.copy())
        observation, _, self.terminated, self.truncated, info = self.env.step(action)
        self.observations.append(_copy(observation))
        self.signals.append(dict(info["signals"]))
        self.success = bool(info["success"])
        return bool(self.success or self.terminated or self.truncated)

    def recorded(self, reward: float, update: int) -> Episode:
        """The finished episode."""
        rewards = np.zeros(len(self.actions), np.float32)
        rewards[-1] = reward * self.success
        terminals = np.zeros(len(self.actions), bool)
        terminals[-1] = self.success or self.terminated

        def stacked(name: str) -> np.ndarray | None:
            present = name in self.observations[0]
            return np.stack([entry[name] for entry in self.observations]) if present else None

        return Episode(
            actions=np.stack(self.actions),
            signals={
                name: np.array([entry[name] for entry in self.signals], np.float32)
                for name in self.signals[0]
            },
            images=stacked("image"),
            proprio=stacked("proprio"),
            state=stacked("state"),
            seed=self.seed,
            start=self.start,
            behaviour="policy",
            options={"update": update},
            success=self.success,
            terminated=bool(self.terminated),
            truncated=bool(self.truncated),
            rewards=rewards,
            terminals=terminals,
        )
