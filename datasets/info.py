"""Describe what a dataset or merge holds, for people and machines."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cog.datasets.episode import Episode
from cog.datasets.merge import Merge, open_merge
from cog.datasets.relabel import open_view, view_names
from cog.datasets.store import Dataset, open_dataset


def describe(path: Path) -> dict[str, Any]:
    """Facts about a dataset folder or merge file as JSON values; all shards are read.

    Raises:
        CogError: there is nothing to describe, or it is damaged.
    """
    if path.is_file() or (
        path.is_dir() and not (path / "shards").is_dir() and (path / "merge.json").is_file()
    ):
        return _describe_merge(open_merge(path))
    return _describe_dataset(open_dataset(path))


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


def _describe_dataset(dataset: Dataset) -> dict[str, Any]:
    starts: dict[str, list[int]] = {}
    behaviours: dict[str, list[int]] = {}
    signals = {name: _Range() for name in dataset.signal_names}
    actions: dict[str, _Range] = {}
    lengths = []
    for episode in dataset.episodes():
        lengths.append(len(episode))
        for counts, name in ((starts, episode.start), (behaviours, episode.behaviour)):
            entry = counts.setdefault(name, [0, 0])
            entry[0] += 1
            entry[1] += episode.success
        _widen(signals, actions, episode)
    episodes = dataset.episode_count
    return {
        "kind": "dataset",
        "environment": dataset.environment.get("id", "unknown"),
        "observations": ", ".join(
            f"{name} {'x'.join(map(str, shape))}"
            for name, shape in dataset.environment["observations"].items()
        ),
        "episodes": episodes,
        "steps": dataset.step_count,
        "frames": dataset.step_count + episodes,
        "mean_length": round(float(np.mean(lengths)), 2),
        "successes": dataset.success_count,
        "success_rate": round(dataset.success_count / episodes, 4),
        "shards": len(dataset.shards),
        "bytes": sum((dataset.path / shard.file).stat().st_size for shard in dataset.shards),
        "code_version": dataset.code_version,
        "hash": dataset.hash,
        "starts": _outcomes(starts),
        "behaviours": _outcomes(behaviours),
        "signals": {name: entry.to_json() for name, entry in signals.items()},
        "actions": {name: entry.to_json() for name, entry in actions.items()},
        "views": {name: str(open_view(dataset, name)) for name in view_names(dataset)},
    }


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
