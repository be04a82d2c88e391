"""A buffer that grows while an agent acts, and that others can learn from afterwards.

Shapes: N steps so far, P state components, A action components, B transitions.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cog.core.files import write_atomically
from cog.datasets.episode import Episode
from cog.datasets.transitions import Transitions, from_episodes
from cog.errors import CogError
from cog.replay.buffer import Batch

FIELDS = ("states", "actions", "rewards", "following", "terminals", "ends")


class GrowingBuffer:
    """One-step transitions in the order in which they were made, none of which is ever dropped."""

    def __init__(self, capacity: int, states: int, actions: int, discount: float) -> None:
        self.states = torch.zeros(capacity, states)
        self.actions = torch.zeros(capacity, actions)
        self.rewards = torch.zeros(capacity)
        self.following = torch.zeros(capacity, states)
        self.terminals = torch.zeros(capacity, dtype=torch.bool)
        self.ends = torch.zeros(capacity, dtype=torch.bool)
        self.discount = discount
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def add(
        self,
        state: np.ndarray,
        action: np.ndarray,
        reward: float,
        following: np.ndarray,
        terminal: bool,
        end: bool,
    ) -> None:
        """Append a step; `end` says that its episode ended there, `terminal` that no value lies beyond.

        Raises:
            CogError: the buffer is full.
        """
        if self.size == len(self.rewards):
            raise CogError(f"the buffer is full: it holds {self.size} steps")
        self.states[self.size] = torch.as_tensor(state)
        self.actions[self.size] = torch.as_tensor(action)
        self.rewards[self.size] = reward
        self.following[self.size] = torch.as_tensor(following)
        self.terminals[self.size] = terminal
        self.ends[self.size] = end
        self.size += 1

    def sample(self, generator: torch.Generator, size: int) -> Batch:
        """B = `size` transitions, drawn with replacement from all so far.

        Raises:
            CogError: there are none yet.
        """
        if not self.size:
            raise CogError("the buffer holds no steps yet")
        index = torch.randint(self.size, (size,), generator=generator)
        bootstrap = self.discount * (~self.terminals[index]).to(torch.float32)
        return Batch(
            None,
            None,
            self.states[index],
            self.following[index],
            self.actions[index],
            self.rewards[index],
            bootstrap,
        )

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """States (n, P) and actions (n, A), `count` of them at even distances over all so far, or all."""
        index = torch.linspace(0, self.size - 1, min(count, self.size)).round().long()
        return self.states[index], self.actions[index]

    def episode_returns(self) -> list[float]:
        """The sum of rewards of each episode that ended."""
        bounds = [0, *((self.ends[: self.size].nonzero()[:, 0] + 1).tolist())]
        sums = self.rewards[: self.size].double().cumsum(0).tolist()
        totals = [0.0, *(sums[last - 1] for last in bounds[1:])]
        return [after - before for before, after in itertools.pairwise(totals)]

    def transitions(self, name: str) -> Transitions:
        """All steps as the transitions of a dataset; an unfinished last episode counts as cut off."""
        arrays = {field: getattr(self, field)[: self.size].numpy() for field in FIELDS}
        stops = np.flatnonzero(arrays["ends"]) + 1
        cuts = [0, *stops.tolist()] + ([self.size] if self.size not in stops else [])
        episodes = []
        for first, last in itertools.pairwise(cuts):
            part = {field: values[first:last] for field, values in arrays.items()}
            terminal = bool(part["terminals"][-1])
            episodes.append(
                Episode(
                    actions=part["actions"],
                    signals={},
                    state=np.concatenate([part["states"], part["following"][-1:]]),
                    rewards=part["rewards"],
                    terminals=part["terminals"],
                    terminated=terminal,
                    truncated=not terminal,
                )
            )
        return from_episodes(episodes, name)

    def save(self, path: Path) -> None:
        """Write all steps to `path`."""
        arrays = {field: getattr(self, field)[: self.size].numpy() for field in FIELDS}

        def writer(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, **arrays)

        write_atomically(path, writer)

    @classmethod
    def load(cls, path: Path, discount: float) -> "GrowingBuffer":
        """The buffer that `save` wrote.

        Raises:
            CogError: the file is missing or damaged.
        """
        try:
            with np.load(path) as file:
                arrays = {field: file[field] for field in FIELDS}
        except (OSError, ValueError, KeyError) as error:
            raise CogError(
                f"cannot be read ({error})", where=path, remedy="delete the folder and run the study again"
            ) from error
        buffer = cls(len(arrays["rewards"]), arrays["states"].shape[1], arrays["actions"].shape[1], discount)
        for field, values in arrays.items():
            setattr(buffer, field, torch.from_numpy(values))
        buffer.size = len(arrays["rewards"])
        return buffer
