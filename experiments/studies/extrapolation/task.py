"""The task: Gymnasium's environment with actions in [-1, 1], one stream of steps, and evaluation.

Shapes: E episodes side by side, P state components, A action components.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from cog.errors import UsageError, missing_extra
from cog.experiments.studies.extrapolation.growing import GrowingBuffer

Act = Callable[[np.ndarray], np.ndarray]
"""States (E, P) float32 to actions (E, A) float32 in [-1, 1]."""

FIRST_START = 10_000  # seed of the first evaluation episode
NEGLIGIBLE = 0.01  # weight of a reward at which a discounted return is cut off


@dataclass(frozen=True)
class Task:
    """A task whose states and actions are vectors, and whose episodes have a time limit."""

    name: str
    """Gymnasium's name."""
    limit: int
    """Steps after which an episode is cut off; that state is not terminal."""
    states: int
    """P: components of a state."""
    low: np.ndarray
    """(A,) lowest actions of the environment."""
    high: np.ndarray
    """(A,) highest actions of the environment."""

    @property
    def actions(self) -> int:
        """A: components of an action."""
        return len(self.low)

    def make(self, limit: int | None = None) -> "gymnasium.Env[Any, Any]":
        """A new environment, with another time limit if one is given."""
        return _made(self.name, limit)

    def scaled(self, action: np.ndarray) -> np.ndarray:
        """The environment's action for one in [-1, 1]."""
        scaled: np.ndarray = self.low + (action.clip(-1, 1) + 1) / 2 * (self.high - self.low)
        return scaled.astype(np.float32)


def open_task(name: str) -> Task:
    """The task that Gymnasium calls `name`.

    Raises:
        UsageError: there is none, or its states or actions are not vectors, or it has no time limit, or its
            actions are unbounded.
        CogError: it needs a package that is not installed.
    """
    env = _made(name, None)
    seen, acts, spec = env.observation_space, env.action_space, env.spec
    env.close()
    boxes = isinstance(seen, gymnasium.spaces.Box) and isinstance(acts, gymnasium.spaces.Box)
    if not (boxes and len(seen.shape or ()) == 1 and len(acts.shape or ()) == 1):
        raise UsageError(f"{name} has other states or actions than vectors", remedy="choose another task")
    assert isinstance(acts, gymnasium.spaces.Box) and seen.shape is not None
    if spec is None or spec.max_episode_steps is None or not acts.is_bounded():
        raise UsageError(
            f"{name} has no time limit, or its actions are unbounded", remedy="choose another task"
        )
    return Task(name, spec.max_episode_steps, seen.shape[0], acts.low, acts.high)


class Stream:
    """One environment, episode after episode, every step of which goes into a buffer."""

    def __init__(self, task: Task, buffer: GrowingBuffer, seed: int) -> None:
        self.task, self.buffer = task, buffer
        self.env = task.make()
        self.state: np.ndarray = self.env.reset(seed=seed)[0]

    def step(self, action: np.ndarray) -> None:
        """Act once, with an action (A,) in [-1, 1]; at the end of an episode the next one begins."""
        after, reward, terminated, truncated, _ = self.env.step(self.task.scaled(action))
        ended = terminated or truncated
        self.buffer.add(self.state, action, float(reward), after, bool(terminated), bool(ended))
        self.state = self.env.reset()[0] if ended else after


class Evaluation(NamedTuple):
    """What a policy earned from each start."""

    starts: np.ndarray  # (E, P) first states
    returns: np.ndarray  # (E,) sum of rewards up to the time limit
    discounted: np.ndarray  # (E,) discounted sum of rewards, which the time limit does not cut off


def evaluate(task: Task, act: Act, episodes: int, discount: float, first: int = FIRST_START) -> Evaluation:
    """Let a policy act, from the same starts each time, whose seeds begin at `first`.

    A critic's prediction does not end at a time limit. So episodes go on beyond it until a further reward
    would count for less than 1 % of the first.
    """
    length = max(task.limit, math.ceil(math.log(NEGLIGIBLE) / math.log(discount)))
    envs = [task.make(length) for _ in range(episodes)]
    starts = np.stack([env.reset(seed=first + i)[0] for i, env in enumerate(envs)]).astype(np.float32)
    states, going = starts.copy(), np.ones(episodes, bool)
    returns, discounted = np.zeros(episodes), np.zeros(episodes)
    for step in range(length):
        actions = act(states)
        for i in np.flatnonzero(going):
            states[i], reward, terminated, truncated, _ = envs[i].step(task.scaled(actions[i]))
            discounted[i] += discount**step * float(reward)
            if step < task.limit:
                returns[i] += float(reward)
            going[i] = not (terminated or truncated)
        if not going.any():
            break
    return Evaluation(starts, returns, discounted)


def _made(name: str, limit: int | None) -> "gymnasium.Env[Any, Any]":
    """The environment of that name.

    Raises:
        UsageError: there is none.
        CogError: it needs a package that is not installed.
    """
    try:
        return gymnasium.make(name, max_episode_steps=limit)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise missing_extra("gymnasium[mujoco]", "mujoco") from error
    except gymnasium.error.Error as error:
        raise UsageError(f"task {name!r} cannot be made: {error}") from error
