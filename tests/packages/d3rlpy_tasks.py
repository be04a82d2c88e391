"""Three light tasks that cog and d3rlpy learn from the same data: two with states, one with images.

`pendulum` is Gymnasium's Pendulum-v1, whose episodes end by their time limit alone. `mountain_car` is its
MountainCarContinuous-v0 with every action held for five steps; the goal is terminal, and the data reach it in
57 % of their episodes. `dot` is a red dot in a picture, to be moved onto a green one, which is terminal.

Shapes: E episodes side by side, A action dimensions.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import gymnasium
import numpy as np

from cog.datasets.episode import Episode

Act = Callable[[np.ndarray], np.ndarray]
"""Observations (E, ...) to actions (E, A) float32 in [-1, 1]."""


class World(Protocol):
    """E episodes of a task side by side."""

    def observe(self) -> np.ndarray:
        """States (E, P) float32, or pictures (E, 48, 48, 3) uint8."""

    def scripted(self) -> np.ndarray:
        """Actions (E, A) that solve the task, whatever their size."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Act with (E, A) in [-1, 1]: rewards (E,), and whether each episode has reached a terminal state."""


class Pendulum:
    """A pendulum to swing up and hold, by a torque that is too weak to lift it at once."""

    def __init__(self, seeds: Iterable[int]) -> None:
        self.envs = [gymnasium.make("Pendulum-v1").unwrapped for _ in seeds]
        self.states = np.stack([env.reset(seed=seed)[0] for env, seed in zip(self.envs, seeds, strict=True)])

    def observe(self) -> np.ndarray:
        """Cosine, sine and speed of the angle, (E, 3)."""
        return self.states

    def scripted(self) -> np.ndarray:
        """Swing up by adding energy; hold by a spring and a damper."""
        cosine, sine, speed = self.states.T
        energy = speed**2 / 2 + 15 * (cosine - 1)  # 0 at rest upright: mass 1, length 1, gravity 10
        action = np.where(cosine > 0.9, -4 * sine - speed, -np.sign(speed * energy))
        return action[:, None]

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each episode by one step; none is terminal."""
        results = [env.step(one * env.action_space.high) for env, one in zip(self.envs, actions, strict=True)]
        self.states = np.stack([result[0] for result in results])
        return np.array([result[1] for result in results]), np.zeros(len(actions), bool)


class MountainCar:
    """A car between two hills, too weak to climb the right one without a run-up on the left one."""

    HOLD = 5
    """Steps of the environment for which an action is held."""

    def __init__(self, seeds: Iterable[int]) -> None:
        self.envs = [gymnasium.make("MountainCarContinuous-v0").unwrapped for _ in seeds]
        self.states = np.stack([env.reset(seed=seed)[0] for env, seed in zip(self.envs, seeds, strict=True)])
        self.ended = np.zeros(len(self.envs), bool)

    def observe(self) -> np.ndarray:
        """Place and speed, (E, 2)."""
        return self.states

    def scripted(self) -> np.ndarray:
        """Push as the car rolls."""
        return np.where(self.states[:, 1:] < 0, -1.0, 1.0)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each episode that has not ended by one action: rewards are a tenth of the environment's."""
        rewards = np.zeros(len(actions))
        for place, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            for _ in range(self.HOLD):
                if not self.ended[place]:
                    self.states[place], reward, self.ended[place], _, _ = env.step(action)
                    rewards[place] += reward / 10
        return rewards, self.ended.copy()


class Dot:
    """Actions move a red dot on grey to a green one, where it belongs: -1 a step until it is there."""

    GOAL = (0.5, -0.5)
    """Where the green dot is."""
    SIZE = 48
    """Height and width of a picture."""
    HALF = 5
    """Half the width of a dot in pixels."""
    SPEED = 0.3
    """How far the strongest action moves a dot, where the picture reaches from -1 to 1."""
    NEAR = 0.15
    """Distance in each direction at which it has arrived."""

    def __init__(self, seeds: Iterable[int]) -> None:
        self.dots = np.stack([np.random.default_rng(seed).uniform(-1, 1, 2) for seed in seeds])
        self.goals = np.full_like(self.dots, self.GOAL)

    def observe(self) -> np.ndarray:
        """Pictures (E, 48, 48, 3)."""
        pictures = np.full((len(self.dots), self.SIZE, self.SIZE, 3), 128, np.uint8)
        for channel, places in ((1, self.goals), (0, self.dots)):
            middles = (self.HALF + (places + 1) / 2 * (self.SIZE - 2 * self.HALF)).round().astype(int)
            for picture, (row, column) in zip(pictures, middles, strict=True):
                rows, columns = (
                    slice(row - self.HALF, row + self.HALF),
                    slice(column - self.HALF, column + self.HALF),
                )
                picture[rows, columns, channel] = 255
        return pictures

    def scripted(self) -> np.ndarray:
        """Straight to the goal, per direction."""
        return (self.goals - self.dots) / self.SPEED

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move every dot, within the picture."""
        self.dots = (self.dots + self.SPEED * actions).clip(-1, 1)
        arrived = (np.abs(self.goals - self.dots) < self.NEAR).all(1)
        return np.full(len(actions), -1.0), arrived


@dataclass(frozen=True)
class Task:
    """A task and the behaviour that its data come from."""

    world: Callable[[Iterable[int]], World]
    """Its episodes side by side, one from each seed of a start."""
    steps: int
    """Steps after which a time limit cuts an episode off."""
    episodes: int
    """Episodes of the behaviour."""
    random_share: float
    """Share of the behaviour's steps with a uniformly random action."""
    noise: float = 0.5
    """Standard deviation of the noise on all its other actions."""
    evaluations: int = 50
    """Evaluation episodes of each policy, from the same states for all."""


TASKS = {
    "pendulum": Task(Pendulum, steps=200, episodes=50, random_share=0.3),
    "mountain_car": Task(MountainCar, steps=40, episodes=150, random_share=0.6),
    "dot": Task(Dot, steps=20, episodes=400, random_share=0.7),
}
"""All tasks by name."""


def record(task: Task) -> list[Episode]:
    """The dataset: episodes of the behaviour from the starts 0, 1, 2 and so on."""
    world, rng = task.world(range(task.episodes)), np.random.default_rng(0)

    def act(observations: np.ndarray) -> np.ndarray:
        scripted = world.scripted()
        scripted = scripted + rng.normal(0, task.noise, scripted.shape)
        drawn = rng.uniform(-1, 1, scripted.shape)
        mixed = np.where(rng.random(len(drawn))[:, None] < task.random_share, drawn, scripted)
        return mixed.clip(-1, 1).astype(np.float32)

    return play(act, world, task)


def evaluate(act: Act, task: Task) -> float:
    """Mean return over the evaluation episodes."""
    episodes = play(act, task.world(range(10_000, 10_000 + task.evaluations)), task)
    return mean_return(episodes)


def mean_return(episodes: Iterable[Episode]) -> float:
    """Mean undiscounted return."""
    return float(np.mean([episode.rewards.sum() for episode in episodes]))


def play(act: Act, world: World, task: Task) -> list[Episode]:
    """All episodes of a world, up to a terminal state or the time limit; poses of zeros with pictures."""
    observations, actions, rewards, ends = [world.observe().copy()], [], [], []
    for _ in range(task.steps):
        actions.append(act(observations[-1]))
        reward, ended = world.step(actions[-1])
        observations.append(world.observe().copy())
        rewards.append(reward)
        ends.append(ended)
        if ended.all():
            break
    seen, acted = np.stack(observations, 1), np.stack(actions, 1)
    earned, over = np.stack(rewards, 1).astype(np.float32), np.stack(ends, 1)
    episodes = []
    for place in range(len(seen)):
        length = int(over[place].argmax()) + 1 if over[place].any() else len(ends)
        terminals = over[place, :length]
        shown = seen[place, : length + 1]
        pictures = shown.ndim == 4
        episodes.append(
            Episode(
                state=None if pictures else shown.astype(np.float32),
                images=shown if pictures else None,
                proprio=np.zeros((length + 1, 1), np.float32) if pictures else None,
                actions=acted[place, :length],
                rewards=earned[place, :length],
                terminals=terminals,
                signals={},
                terminated=bool(terminals[-1]),
                truncated=not terminals[-1],
            )
        )
    return episodes
