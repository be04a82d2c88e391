"""Materialise: copy a view or a merge into shards that contain the rewards and load to the same arrays."""

from dataclasses import replace
from pathlib import Path

from cog.core.options import usable_path
from cog.datasets.merge import Merge, Source, open_merge, publish_merge
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.view import labelled, open_view
from cog.datasets.robot_interface import KEY
from cog.datasets.storage.absent import MERGE
from cog.datasets.storage.container import is_container
from cog.datasets.storage.dataset import Dataset, write_dataset
from cog.datasets.storage.folder import new_folder, refuse_inside


def materialise(path: Path, out: Path) -> Merge:
    """Copy what `path` opens as a merge (see `open_merge`) into a new folder.

    A single dataset becomes a dataset; a merge becomes a folder of datasets and a merge file. Episodes
    a view ends early end early in the copy, and count as successes by the frames that are kept.

    Raises:
        UsageError: `out` lies in one of the datasets.
        CogError: the folder is not empty, or the data cannot be read or written.
    """
    out, merge = usable_path(out), open_merge(path)
    for source in merge.sources:
        refuse_inside(source.dataset.path, out)
    if is_container(merge.path) or not merge.path.is_file():
        _copy(merge.sources[0], out)
        return open_merge(out)
    copies = []
    with new_folder(out):
        for number, source in enumerate(merge.sources):
            dataset = _copy(source, out / f"{number}-{source.name}")
            copies.append(Source(dataset, open_view(dataset, STORED), source.role, source.share))
        return publish_merge(out / MERGE, copies)


def _copy(source: Source, folder: Path) -> Dataset:
    """One source as a dataset whose shards contain rewards and terminals."""
    spec = {
        "kind": "materialised",
        "of": source.dataset.hash,
        "view": source.view.to_json(),
        "spec": dict(source.dataset.spec),
        **({"cameras": dict(source.cameras)} if source.cameras else {}),
    }
    largest = max(shard.episodes for shard in source.dataset.shards)
    episodes = map(source.as_merged, labelled(source.dataset, source.view))
    environment = dict(source.dataset.environment)
    if source.cameras:
        environment[KEY] = replace(source.interface, scale=None).to_json()
    return write_dataset(folder, episodes, spec, environment, largest, [source.as_input(folder)])
