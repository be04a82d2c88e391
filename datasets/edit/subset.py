"""A subset: chosen episodes of one dataset, whole and in order, as a dataset of their own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cog.core.inputs import Input
from cog.core.options import usable_path
from cog.datasets.episode import Episode
from cog.datasets.storage.dataset import Dataset, fill_folder
from cog.datasets.storage.folder import new_folder, refuse_inside

OnProgress = Callable[[int, int], None]
"""Called with how many episodes are done and how many there are."""


def pick(dataset: Dataset, numbers: Iterable[int]) -> Iterator[tuple[int, Episode]]:
    """The episodes with these numbers, each once and ascending; only shards that hold some of them are read.

    Raises:
        DataError: such a shard is missing or damaged.
    """
    wanted, first = set(numbers), 0
    for shard, entry in enumerate(dataset.shards):
        places = [place for place in range(entry.episodes) if first + place in wanted]
        episodes = dataset.read(shard) if places else []
        for place in places:
            yield first + place, episodes[place]
        first += entry.episodes


def write_subset(
    dataset: Dataset,
    numbers: Iterable[int],
    out: Path,
    origin: Mapping[str, Any],
    on_episode: Callable[[], None] | None = None,
) -> Dataset:
    """Copy the episodes with these numbers into a new dataset; its views do not come with them.

    Args:
        dataset: where they come from.
        numbers: their places among its episodes, at least one; they keep their order there.
        out: new or empty folder.
        origin: how they were chosen, as JSON; the hash and the spec of `dataset` are added to it.
        on_episode: called after each episode.

    Raises:
        UsageError: `out` lies in the folder of `dataset`.
        CogError: the folder is not empty, a shard is damaged, or the disk is full; nothing is written.
    """
    out = usable_path(out)
    refuse_inside(dataset.path, out)
    with new_folder(out):
        return fill_subset(dataset, numbers, out, origin, on_episode)


def fill_subset(
    dataset: Dataset,
    numbers: Iterable[int],
    out: Path,
    origin: Mapping[str, Any],
    on_episode: Callable[[], None] | None = None,
) -> Dataset:
    """The same into a folder that `new_folder` has locked already.

    Raises:
        CogError: a shard is damaged, or the disk is full.
    """

    def chosen() -> Iterator[Episode]:
        for _, episode in pick(dataset, numbers):
            yield episode
            if on_episode is not None:
                on_episode()

    spec = {**origin, "of": dataset.hash, "spec": dict(dataset.spec)}
    largest = max(entry.episodes for entry in dataset.shards)
    inputs = [Input.of("dataset", dataset.path, dataset.hash, out)]
    return fill_folder(out, chosen(), spec, dataset.environment, largest, inputs)
