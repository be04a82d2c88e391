"""Roll a policy out in groups of episodes that share its batches, the same whoever runs them.

Episode i of a start always occupies row i mod B of a batch of B rows, whether or not its neighbours are
running: floating-point results may depend on a batch's size and on the row, never on the row's company.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from cog.envs.make import Environments, Scene, make_environment
from cog.errors import CogError
from cog.evaluation.policy import Policy
from cog.signals.stages import furthest_stage

_CANDIDATE_STREAM = 5  # other streams of the same seed: see cog.online.explore
_EVALUATION_STREAM = 2  # without it, episodes would begin as those collected under the same seed did


@dataclass(frozen=True)
class Group:
    """Episodes of one start that share batches."""

    start: str
    """Start of all of them."""
    numbers: tuple[int, ...]
    """Number of each episode."""
    seeds: tuple[int, ...]
    """Seed of each episode."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one episode."""

    number: int
    """Number of the episode, the same for every start and policy."""
    seed: int
    """`env.reset(seed=...)` with it and the start gives the same episode again."""
    start: str
    """Start of the episode."""
    success: bool
    """Whether the environment reported success at any step."""
    success_last: bool
    """Whether it did so at the last step."""
    steps: int
    """Number of steps."""
    total: float
    """Sum of the environment's rewards."""
    furthest: str
    """Furthest stage that was reached, see `cog.signals.stages`."""
    actions: np.ndarray
    """(T, A) float32, from which the episode can be replayed."""


def episode_seeds(seed: int, episodes: int) -> list[int]:
    """The episode seeds that `seed` stands for; a longer list begins with the shorter one."""
    sequences = (
        np.random.SeedSequence([seed, number], spawn_key=(_EVALUATION_STREAM,)) for number in range(episodes)
    )
    return [int(sequence.generate_state(1)[0]) for sequence in sequences]


class Fleet(Environments):
    """A policy and B environments in this process; to be closed."""

    def __init__(
        self, checkpoint: Path, scene: Scene, rows: int, acting: str = "mode", candidates: int = 8
    ) -> None:
        """`acting` and `candidates` as `cog.evaluation.config` explains them."""
        super().__init__(scene, rows)
        self.policy = Policy.load(checkpoint, critics=acting == "critic")
        self.acting = acting
        self.draws = {"mode": 0, "sample": 1, "critic": candidates}[acting]

    def roll(self, group: Group) -> list[Outcome]:
        """Run the episodes of a group to their ends."""
        rows = self.rows
        running = {
            number % rows: _Episode(self.env(number % rows), number, seed, group.start)
            for number, seed in zip(group.numbers, group.seeds, strict=True)
        }
        episodes = list(running.values())
        pose = self.scene.pose
        size = episodes[0].observation[pose].shape[0]
        poses = np.zeros((rows, size), np.float32)
        images = None if self.scene.image is None else np.zeros((rows, *self.scene.image), np.uint8)
        noise = np.zeros((rows, self.draws, *episodes[0].env.action_space.shape), np.float32)
        while running:
            for row, episode in running.items():
                poses[row] = episode.observation[pose]
                if images is not None:
                    images[row] = episode.observation["image"]
                if self.draws:
                    noise[row] = episode.rng.standard_normal(noise.shape[1:], np.float32)
            if self.acting == "critic":
                actions = self.policy.choose(images, poses, noise)
            else:
                actions = self.policy.act(images, poses, noise[:, 0] if self.draws else None)
            for row, episode in list(running.items()):
                if episode.step(actions[row]):
                    del running[row]
        return [episode.outcome() for episode in episodes]


class _Episode:
    """One running episode."""

    def __init__(self, env: Any, number: int, seed: int, start: str) -> None:
        self.env = env
        self.number, self.seed, self.start = number, seed, start
        self.rng = np.random.default_rng([seed, _CANDIDATE_STREAM])
        self.observation, info = env.reset(seed=seed, options={"start": start})
        self.signals = [dict(info["signals"])]  # a scene may fill the same one again
        self.actions: list[np.ndarray] = []
        self.total = 0.0
        self.success = self.success_last = bool(info["success"])

    def step(self, action: np.ndarray) -> bool:
        """Apply an action (A,); whether the episode is over."""
        self.actions.append(action.copy())
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self.signals.append(dict(info["signals"]))
        self.total += float(reward)
        self.success_last = bool(info["success"])
        self.success |= self.success_last
        return bool(terminated or truncated)

    def outcome(self) -> Outcome:
        signals = {name: np.array([entry[name] for entry in self.signals]) for name in self.signals[0]}
        return Outcome(
            number=self.number,
            seed=self.seed,
            start=self.start,
            success=self.success,
            success_last=self.success_last,
            steps=len(self.actions),
            total=self.total,
            furthest=furthest_stage(signals, self.success),
            actions=np.stack(self.actions),
        )


def roll_in_worker(
    checkpoint: Path, scene: Scene, rows: int, acting: str, candidates: int, group: Group
) -> list[Outcome]:
    """Run a group in a worker process, which keeps its policy and environments for the next one."""
    torch.set_num_threads(1)
    return _fleet(checkpoint, scene, rows, acting, candidates).roll(group)


def replay(scene: Scene, outcome: Outcome, size: int) -> np.ndarray:
    """Frames (T + 1, size, size, 3) uint8 for people: the recorded actions again, from the same seed.

    Raises:
        CogError: the episode ended otherwise than before; the environment does not follow from its seed.
    """
    env = make_environment(scene)
    try:
        success = bool(env.reset(seed=outcome.seed, options={"start": outcome.start})[1]["success"])
        frames = [_shrunk(env.render(), size)]
        for action in outcome.actions:
            success |= bool(env.step(action)[-1]["success"])
            frames.append(_shrunk(env.render(), size))
    finally:
        env.close()
    if success != outcome.success:
        raise CogError(
            f"episode {outcome.number} (seed {outcome.seed}, start '{outcome.start}') ended otherwise when "
            f"replayed; {scene.env} must follow from its seed alone"
        )
    return np.stack(frames)


def _shrunk(frame: np.ndarray, size: int) -> np.ndarray:
    """The frame at `size` pixels; averaging areas also smooths the renderer's edges."""
    small: np.ndarray = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    return small


@cache
def _fleet(checkpoint: Path, scene: Scene, rows: int, acting: str, candidates: int) -> Fleet:
    """This worker process's environments; they go with it."""
    return Fleet(checkpoint, scene, rows, acting, candidates)
