"""An episode: T actions, T+1 observations, signals from which rewards are computed, and its origin."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cog.errors import UsageError
from cog.signals.pictures import OBSERVED


@dataclass(frozen=True, eq=False)
class Episode:
    """One recorded episode of T = `len(episode)` steps; step t leads from frame t to frame t + 1.

    Observations are `images`, those of further `cameras` and `proprio`, or `state` alone. `rewards` and
    `terminals` are present only in materialised data; elsewhere rewards are computed from the signals when
    the data are loaded.
    """

    actions: np.ndarray
    """(T, A) float32 in [-1, 1], as executed, noise included."""
    signals: Mapping[str, np.ndarray]
    """Name -> (T+1,) float32."""
    images: np.ndarray | None = None
    """(T+1, H, W, 3) uint8, of the camera called "image"."""
    cameras: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further cameras by name, (T+1, H, W, 3) uint8, or (T+1, H, W, 1) in grey, each of its own size."""
    proprio: np.ndarray | None = None
    """(T+1, P) float32."""
    state: np.ndarray | None = None
    """(T+1, S) float32, the simulator's state."""
    seed: int = 0
    """Seed that determines the initial state and all noise of the episode."""
    start: str = ""
    """Name of the distribution of initial states."""
    behaviour: str = ""
    """Name of the policy that acted."""
    noise: float = 0.0
    """Standard deviation of the action noise."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the behaviour."""
    success: bool = False
    """Whether the episode counts as a success: by its last frame, unless the dataset says by any."""
    terminated: bool = False
    """Whether the environment ended the episode: there is no value beyond it."""
    truncated: bool = False
    """Whether a time limit ended the episode."""
    rewards: np.ndarray | None = None
    """(T,) float32, only in materialised data."""
    terminals: np.ndarray | None = None
    """(T,) bool, only in materialised data."""

    def __len__(self) -> int:
        return len(self.actions)

    def pictures(self) -> dict[str, np.ndarray]:
        """The images of every camera by its name, "image" first; none where the state is observed."""
        return {} if self.images is None else {"image": self.images, **self.cameras}

    def without_pictures(self) -> "Episode":
        """The episode without any image."""
        return replace(self, images=None, cameras={})

    def read_only(self) -> "Episode":
        """The episode with arrays that share its memory and cannot be written to."""
        named = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        arrays: dict[str, Any] = {name: _locked(value) for name, value in named.items()}
        for group in ("signals", "cameras"):
            arrays[group] = {name: _locked(value) for name, value in getattr(self, group).items()}
        return replace(self, **arrays)

    def outcome_signals(self) -> dict[str, np.ndarray]:
        """Each signal after each step, name -> (T,)."""
        return {name: values[1:] for name, values in self.signals.items()}

    def ending(self, hits: np.ndarray, *, terminate: bool, ends: bool = True) -> "Episode":
        """The episode with its terminals, the steps that no value lies beyond; nothing else makes them.

        Whatever the rewards, the last step is terminal if the environment ended the episode there.

        Args:
            hits: (T,) bool, the steps whose reward is positive.
            terminate: whether the first of them is terminal, too; later steps are then left out.
            ends: whether the environment's own end counts; False only as in views of earlier versions.
        """
        cut = terminate and bool(hits.any())
        episode = self.first(int(np.argmax(hits)) + 1) if cut else self
        terminals = np.zeros(len(episode), bool)
        terminals[-1:] = cut or (ends and episode.terminated)
        return replace(episode, terminals=terminals)

    def first(self, steps: int) -> "Episode":
        """The first `steps` steps and the frames around them; what ended the whole did not end them."""
        if steps >= len(self):
            return self
        frames = slice(0, steps + 1)
        return replace(
            self,
            terminated=False,
            actions=self.actions[:steps],
            signals={name: values[frames] for name, values in self.signals.items()},
            images=None if self.images is None else self.images[frames],
            cameras={name: values[frames] for name, values in self.cameras.items()},
            proprio=None if self.proprio is None else self.proprio[frames],
            state=None if self.state is None else self.state[frames],
            rewards=None if self.rewards is None else self.rewards[:steps],
            terminals=None if self.terminals is None else self.terminals[:steps],
        )


def further(names: Iterable[str]) -> list[str]:
    """The further cameras among the names of observations, in order."""
    return sorted(name for name in names if name not in OBSERVED)


def cameras_of(observations: Iterable[str]) -> tuple[str, ...]:
    """The cameras among the names of observations, in the order of `Episode.pictures`: "image" first."""
    named = list(observations)
    return (*(("image",) if "image" in named else ()), *further(named))


def choose_cameras(there: Sequence[str], asked: Sequence[str], where: str | Path) -> tuple[str, ...]:
    """The cameras that are `asked` for, in that order; none named: all that are `there`.

    Raises:
        UsageError: one of them is missing, or named twice; `where` says who asks.
    """
    if missing := [name for name in asked if name not in there]:
        held = f"the data hold {', '.join(there)}" if there else "the data hold states"
        raise UsageError(f"there is no camera '{missing[0]}'; {held}", where=where)
    if len(set(asked)) < len(asked):
        raise UsageError(f"a camera is named twice: {', '.join(asked)}", where=where)
    return tuple(asked or there)


def _locked(array: np.ndarray) -> np.ndarray:
    """A view of an array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
