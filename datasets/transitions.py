"""Load a merge into memory: every frame once, flat arrays of transitions that point at them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cog.core.files import hash_json
from cog.datasets.episode import Episode
from cog.datasets.merge import Merge, Source
from cog.datasets.relabel.view import AGAIN, labelled
from cog.datasets.storage.problem import DataError, Problem


@dataclass(frozen=True, eq=False)
class Transitions:
    """F frames and S steps; the frame before step s is `frame_index[s]`, the frame after it the next one."""

    frames: np.ndarray | None
    """(F, H, W, 3) uint8, or none in state mode."""
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
    """One {role, name, share, steps} a source."""
    reward_max: float
    """Largest reward."""
    fingerprint: str
    """Hash of all arrays, roles and shares; the same for a view and its materialised copy."""
    origins: Sequence[tuple[str, str]] = ()
    """Start and behaviour of each episode."""


def load(merge: Merge) -> Transitions:
    """Read all sources shard by shard into arrays that are allocated once.

    Raises:
        CogError: a shard is damaged, or a rule fails or has changed since its view was written.
    """
    steps = sum(source.view.steps for source in merge.sources)
    frames = steps + sum(source.episodes for source in merge.sources)
    environment = merge.sources[0].dataset.environment
    shapes = environment["observations"]
    images = None if "state" in shapes else np.empty((frames, *shapes["image"]), np.uint8)
    poses = np.empty((frames, *shapes["state" if images is None else "proprio"]), np.float32)
    actions = np.empty((steps, *environment["action"]), np.float32)
    rewards = np.empty(steps, np.float32)
    terminals = np.empty(steps, bool)
    frame_index = np.empty(steps, np.int64)
    numbers = np.empty(steps, np.int64)
    episodes = np.empty(steps, np.int64)

    origins: list[tuple[str, str]] = []
    frame = step = count = 0
    for number, source in enumerate(merge.sources):
        last, last_episode = step + source.view.steps, count + source.episodes
        for episode in labelled(source.dataset, source.view):
            length = len(episode)
            if step + length > last or count == last_episode:
                raise _changed(source)
            at, where = slice(step, step + length), slice(frame, frame + length + 1)
            if images is not None:
                images[where] = episode.images
            poses[where] = episode.state if images is None else episode.proprio
            actions[at], rewards[at], terminals[at] = episode.actions, episode.rewards, episode.terminals
            frame_index[at] = np.arange(frame, frame + length)
            numbers[at], episodes[at] = number, count
            origins.append((episode.start, episode.behaviour))
            step, frame, count = step + length, frame + length + 1, count + 1
        if step != last or count != last_episode:
            raise _changed(source)

    sources = [
        {"role": source.role, "name": source.name, "share": source.share, "steps": source.view.steps}
        for source in merge.sources
    ]
    arrays = [images, poses, actions, rewards, terminals, frame_index, numbers, episodes]
    return Transitions(
        frames=images,
        proprio=poses,
        actions=actions,
        rewards=rewards,
        terminals=terminals,
        frame_index=frame_index,
        source=numbers,
        episode=episodes,
        sources=sources,
        reward_max=float(rewards.max()),
        fingerprint=_fingerprint(arrays, [(source.role, source.share) for source in merge.sources]),
        origins=origins,
    )


def from_episodes(episodes: Sequence[Episode], name: str) -> Transitions:
    """Episodes in memory that hold rewards and terminals, as the sole task source, called `name`.

    Equal to `load` of a dataset of that name that holds these episodes.
    """

    def joined(field: str) -> np.ndarray:
        return np.concatenate([getattr(episode, field) for episode in episodes])

    lengths = np.array([len(episode) for episode in episodes])
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    images = None if episodes[0].images is None else joined("images")
    poses, actions = joined("state" if images is None else "proprio"), joined("actions")
    rewards, terminals = joined("rewards"), joined("terminals")
    frame_index = np.arange(len(numbers)) + numbers  # one frame more than steps in each episode before
    source = np.zeros(len(numbers), np.int64)
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
        reward_max=float(rewards.max()),
        fingerprint=_fingerprint(arrays, [("task", 1.0)]),
        origins=[(episode.start, episode.behaviour) for episode in episodes],
    )


def _fingerprint(arrays: Sequence[np.ndarray | None], roles: Sequence[tuple[str, float]]) -> str:
    digest = hashlib.blake2b(hash_json(list(roles)).encode(), digest_size=32)
    for array in arrays:
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _changed(source: Source) -> DataError:
    rule = f"the view '{source.view.name}' counts other steps or episodes than its rule gives now"
    return DataError(Problem(source.dataset.path, "steps", rule, AGAIN))
