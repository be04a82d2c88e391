"""Describe the content of a dataset or merge, for people and programs."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cog.core.videos import side_by_side
from cog.datasets.edit.subset import OnProgress, pick
from cog.datasets.episode import Episode, cameras_of
from cog.datasets.merge import Merge, open_merge
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.rules import reads_signals_alone
from cog.datasets.relabel.terms import ZERO
from cog.datasets.relabel.view import View, labelled, open_view, view_names
from cog.datasets.storage.container import is_container
from cog.datasets.storage.dataset import Dataset, open_dataset
from cog.datasets.success import counted_by, counts
from cog.errors import CogError, UsageError
from cog.signals.success import SuccessBy


def describe(
    path: Path, on_progress: OnProgress | None = None, success_by: SuccessBy | None = None
) -> dict[str, Any]:
    """Facts about a dataset (folder or packed) or a merge as JSON values; reads it once for each view.

    Successes are counted `success_by` any frame or the last; by default as the dataset counts them. Users'
    functions and classifiers are not run: for a view by one, only the mean return is given.

    Raises:
        UsageError: the data hold no marks from which another rule could count them.
        CogError: there is nothing to describe, or it is damaged.
    """
    if is_container(path):
        return _describe_dataset(open_dataset(path), on_progress, success_by)
    if path.is_file() or (
        path.is_dir() and not (path / "shards").is_dir() and (path / "merge.json").is_file()
    ):
        return _describe_merge(open_merge(path))
    return _describe_dataset(open_dataset(path), on_progress, success_by)


def film(path: Path, numbers: Sequence[int]) -> list[tuple[str, np.ndarray]]:
    """A caption and the frames (T+1, H, W, 3) uint8 of each of these episodes of a dataset, in that order.

    The pictures of several cameras lie side by side.

    Raises:
        UsageError: there is no episode with such a number.
        CogError: there is no dataset, it is damaged, or it has no images.
    """
    dataset = open_dataset(path)
    if "image" not in dataset.environment["observations"]:
        raise CogError("it holds states, not images, so there is nothing to draw", where=path)
    wrong = [number for number in numbers if not 0 <= number < dataset.episode_count]
    if wrong or not numbers:
        raise UsageError(
            f"there are no episodes {wrong}", remedy=f"choose from 0 to {dataset.episode_count - 1}"
        )
    rows: dict[int, tuple[str, np.ndarray]] = {}
    for number, episode in pick(dataset, numbers):
        outcome = "success" if episode.success else "no success"
        origin = f"{episode.start}, {episode.behaviour}"
        caption = f"episode {number}: {origin}, {len(episode)} steps, {outcome}"
        rows[number] = (caption, side_by_side(list(episode.pictures().values())))
    return [rows[number] for number in numbers]


def _describe_merge(merge: Merge) -> dict[str, Any]:
    return {
        "kind": "merge",
        "steps": sum(source.view.steps for source in merge.sources),
        "sources": {
            f"{number} {source.role}": {
                "dataset": str(source.dataset.path),
                "view": str(source.view),
                "share": round(source.share, 6),
                "steps": source.view.steps,
                "episodes": source.episodes,
            }
            for number, source in enumerate(merge.sources)
        },
    }


def _describe_dataset(
    dataset: Dataset, on_progress: OnProgress | None, success_by: SuccessBy | None
) -> dict[str, Any]:
    views = {name: open_view(dataset, name) for name in view_names(dataset)}
    episodes = dataset.episode_count
    kept = [view.episodes for view in views.values() if _may_run(view)]
    total = episodes + sum(episodes if count is None else count for count in kept)
    done = content = 0

    def advance() -> None:
        nonlocal done
        done += 1  # every view reads its episodes again; shown is the share of them as episodes of the data
        if on_progress is not None:
            on_progress(done * episodes // total, episodes)

    starts: dict[str, list[int]] = {}
    behaviours: dict[str, list[int]] = {}
    signals = {name: _Range() for name in dataset.signal_names}
    actions: dict[str, _Range] = {}
    shapes = dataset.environment["observations"]
    picture = sum(math.prod(shapes[name]) for name in cameras_of(shapes))  # bytes of one frame
    lengths = []
    successes = 0
    ends = {"by the environment": 0, "cut off": 0, "not recorded": 0}
    for episode in dataset.episodes(pictures=False):
        lengths.append(len(episode))
        success = counts(episode, success_by, dataset.environment)
        successes += success
        ends[_end(episode)] += 1
        for outcomes, name in ((starts, episode.start), (behaviours, episode.behaviour)):
            entry = outcomes.setdefault(name, [0, 0])
            entry[0] += 1
            entry[1] += success
        content += _content(episode) + picture * (len(episode) + 1)
        _widen(signals, actions, episode)
        advance()
    returns = {name: _returns(dataset, view, advance) for name, view in views.items()}
    return {
        "kind": "dataset",
        "environment": dataset.environment.get("id", "unknown"),
        "observations": ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items()),
        "episodes": episodes,
        "steps": dataset.step_count,
        "frames": dataset.step_count + episodes,
        "successes": successes,
        "success_by": f"{success_by or counted_by(dataset.environment)} frame",
        "success_rate": round(successes / episodes, 4),
        "shards": len(dataset.shards),
        "bytes": _size(dataset),
        "bytes_in_memory": content,
        "code_version": dataset.code_version,
        "hash": dataset.hash,
        "length": _spread(lengths),
        "ends": {name: count for name, count in ends.items() if count},
        "starts": _outcomes(starts),
        "behaviours": _outcomes(behaviours),
        "signals": {name: entry.to_json() for name, entry in signals.items()},
        "actions": {name: entry.to_json() for name, entry in actions.items()},
        "views": {name: str(view) for name, view in views.items()},
        "returns": returns,
    }


def _end(episode: Episode) -> str:
    """Why an episode ended, as far as it is recorded."""
    if episode.terminated:
        return "by the environment"
    return "cut off" if episode.truncated else "not recorded"


def _size(dataset: Dataset) -> int:
    """Bytes on disk: of the packed file, or of the shards."""
    if dataset.path.is_file():
        return dataset.path.stat().st_size
    return sum((dataset.path / shard.file).stat().st_size for shard in dataset.shards)


def _content(episode: Episode) -> int:
    """Bytes of an episode's arrays, without its images."""
    arrays = [episode.proprio, episode.state, episode.actions, *episode.signals.values()]
    return sum(array.nbytes for array in arrays if array is not None)


def _may_run(view: View) -> bool:
    """Whether a view's rewards can be computed quickly and without running a user's code."""
    return view.rule == STORED or all(reads_signals_alone(rule) for rule in (view.rule, view.only or ZERO))


def _returns(dataset: Dataset, view: View, advance: Callable[[], None]) -> dict[str, float]:
    """Smallest, mean and largest undiscounted return of the episodes that a view keeps."""
    if not _may_run(view):
        episodes = dataset.episode_count if view.episodes is None else view.episodes
        return {"mean": round(view.reward_sum / episodes, 6)}
    sums = []
    for episode in labelled(dataset, view, pictures=False):
        assert episode.rewards is not None
        sums.append(float(episode.rewards.sum(dtype=np.float64)))
        advance()
    return _spread(sums)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "mean": round(float(np.mean(values)), 6), "max": max(values)}


class _Range:
    """Smallest and largest value seen."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    def to_json(self) -> list[float]:
        return [round(self._low, 6), round(self._high, 6)]


def _widen(signals: dict[str, _Range], actions: dict[str, _Range], episode: Episode) -> None:
    for name, values in episode.signals.items():
        signals[name].add(values)
    for number, column in enumerate(episode.actions.T):
        actions.setdefault(str(number), _Range()).add(column)


def _outcomes(counts: dict[str, list[int]]) -> dict[str, dict[str, int]]:
    ordered: Iterable[tuple[str, list[int]]] = sorted(counts.items())
    return {name: {"episodes": total, "successes": good} for name, (total, good) in ordered}
