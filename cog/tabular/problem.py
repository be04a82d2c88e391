"""A small deterministic problem, data from it, and where a policy leads: what chain and grid share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FOREVER = 1 << 20
"""Steps after which only a loop has not ended."""


class Steps(NamedTuple):
    """N steps of data."""

    states: np.ndarray  # (N,) int64
    actions: np.ndarray  # (N,) int64
    rewards: np.ndarray  # (N,) float64
    next_states: np.ndarray  # (N,) int64
    terminals: np.ndarray  # (N,) bool: no value beyond this step
    state_count: int  # S, states of the problem, seen or not
    action_count: int  # A, actions of the problem, seen or not


@dataclass(frozen=True)
class Problem:
    """S states and A actions, each with one outcome; the reward of a step depends on nothing else."""

    name: str
    """What it is called."""
    next_states: np.ndarray
    """State after each action (S, A), int64."""
    rewards: np.ndarray
    """Reward of each action (S, A)."""
    ends: tuple[int, ...]
    """States in which an episode ends."""
    start: int
    """A: where a policy is tried."""
    goal: int
    """C: where the reward is."""
    labels: tuple[str, ...]
    """Name of each state, empty for most."""
    places: tuple[tuple[float, float], ...]
    """Where each state is drawn: x to the right, y upwards."""

    def trajectory(self, start: int, actions: Sequence[int]) -> list[tuple[int, int, float, int]]:
        """From `start` under these actions: (state, action, reward, next state) of every step."""
        rows = []
        for action in actions:
            after = int(self.next_states[start, action])
            rows.append((start, action, float(self.rewards[start, action]), after))
            start = after
        return rows

    def steps(self, rows: Sequence[tuple[int, int, float, int]]) -> Steps:
        """Steps of data, terminal where they enter a state that ends an episode."""
        states, actions, rewards, following = (np.array(column) for column in zip(*rows, strict=True))
        terminals = np.isin(following, self.ends)
        return Steps(states, actions, rewards.astype(float), following, terminals, *self.rewards.shape)

    def reaches(self, policy: np.ndarray) -> float:
        """Probability with which a policy (S, A), probabilities of actions, ever comes from A to C."""
        states = len(policy)
        moves = np.zeros((states, states))
        for action in range(policy.shape[1]):
            np.add.at(moves, (np.arange(states), self.next_states[:, action]), policy[:, action])
        moves[list(self.ends)] = np.eye(states)[list(self.ends)]
        return float(np.linalg.matrix_power(moves, FOREVER)[self.start, self.goal])
