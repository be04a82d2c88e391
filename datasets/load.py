"""Load a merge into memory for training, one shard at a time."""

import numpy as np

from cog.datasets.episode import further
from cog.datasets.merge import Merge, Source
from cog.datasets.relabel.view import AGAIN, labelled
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.transitions import Transitions, fingerprint


def load(merge: Merge) -> Transitions:
    """Read all sources, one shard at a time, into arrays that are allocated once.

    Raises:
        CogError: a shard is damaged, or a rule fails or has changed since its view was written.
    """
    steps = sum(source.view.steps for source in merge.sources)
    frames = steps + sum(source.episodes for source in merge.sources)
    environment, shapes = merge.sources[0].dataset.environment, merge.observations
    images = None if "state" in shapes else np.empty((frames, *shapes["image"]), np.uint8)
    cameras = {name: np.empty((frames, *shapes[name]), np.uint8) for name in further(shapes)}
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
                seen = source.seen(episode)
                images[where] = seen["image"]
                for name, pictures in cameras.items():
                    pictures[where] = seen[name]
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
        fingerprint=fingerprint(arrays, [(source.role, source.share) for source in merge.sources], cameras),
        origins=origins,
        cameras=cameras,
    )


def _changed(source: Source) -> DataError:
    rule = f"the view '{source.view.name}' records other numbers of steps or episodes than its rule now gives"
    return DataError(Problem(source.dataset.path, "steps", rule, AGAIN))
