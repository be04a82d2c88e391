"""Transitions in memory: every frame once, and flat arrays of steps that index them; NumPy only."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cog.core.files import hash_json
from cog.datasets.episode import Episode, choose_cameras


@dataclass(frozen=True, eq=False)
class Transitions:
    """F frames and S steps; step s leads from frame `frame_index[s]` to the next frame."""

    frames: np.ndarray | None
    """(F, H, W, 3) uint8 of the first camera, or None in state mode."""
    proprio: np.ndarray
    """(F, P) float32: the arm's pose, or the whole state in state mode."""
    actions: np.ndarray
    """(S, A) float32 in [-1, 1]."""
    rewards: np.ndarray
    """(S,) float32."""
    terminals: np.ndarray
    """(S,) bool: no value beyond this step."""
    frame_index: np.ndarray
    """(S,) int64."""
    source: np.ndarray
    """(S,) int64: number of the source."""
    episode: np.ndarray
    """(S,) int64: number of the episode over all sources."""
    sources: Sequence[Mapping[str, Any]]
    """One {role, name, share, steps} per source."""
    fingerprint: str
    """Hash of all arrays, roles and shares; the same for a view and its materialised copy."""
    origins: Sequence[tuple[str, str]] = ()
    """Start and behaviour of each episode."""
    cameras: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further cameras by name, (F, H, W, C) uint8 each."""
    first: str = "image"
    """Name of the first camera."""

    def seeing(self, cameras: Sequence[str]) -> "Transitions":
        """The same transitions with these cameras alone, in this order; none named: with all.

        Raises:
            UsageError: one of them is missing, or named twice.
        """
        if not cameras:
            return self
        there = {} if self.frames is None else {self.first: self.frames, **self.cameras}
        first, *further = choose_cameras(list(there), cameras, "network.cameras")
        return replace(
            self, frames=there[first], cameras={name: there[name] for name in further}, first=first
        )


def from_episodes(episodes: Sequence[Episode], name: str) -> Transitions:
    """Transitions of episodes that have rewards and terminals, as the sole task source `name`.

    Equal to `cog.datasets.load.load` of a dataset of that name with these episodes.
    """

    def joined(field: str) -> np.ndarray:
        return np.concatenate([getattr(episode, field) for episode in episodes])

    lengths = np.array([len(episode) for episode in episodes])
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    images = None if episodes[0].images is None else joined("images")
    poses, actions = joined("state" if images is None else "proprio"), joined("actions")
    rewards, terminals = joined("rewards"), joined("terminals")
    frame_index = np.arange(len(numbers)) + numbers  # each earlier episode has one frame more than steps
    source = np.zeros(len(numbers), np.int64)
    cameras = {
        name: np.concatenate([episode.cameras[name] for episode in episodes]) for name in episodes[0].cameras
    }
    arrays = [images, poses, actions, rewards, terminals, frame_index, source, numbers]
    return Transitions(
        frames=images,
        proprio=poses,
        actions=actions,
        rewards=rewards,
        terminals=terminals,
        frame_index=frame_index,
        source=source,
        episode=numbers,
        sources=[{"role": "task", "name": name, "share": 1.0, "steps": len(numbers)}],
        fingerprint=fingerprint(arrays, [("task", 1.0)], cameras),
        origins=[(episode.start, episode.behaviour) for episode in episodes],
        cameras=cameras,
    )


def fingerprint(
    arrays: Sequence[np.ndarray | None],
    roles: Sequence[tuple[str, float]],
    cameras: Mapping[str, np.ndarray],
) -> str:
    """Hash of arrays, of the role and share of each source, and of further cameras by name."""
    digest = hashlib.blake2b(hash_json(list(roles)).encode(), digest_size=32)
    for name in cameras:
        digest.update(f"camera {name}".encode())
    for array in (*arrays, *cameras.values()):
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
