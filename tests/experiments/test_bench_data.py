"""The data benchmark compares like with like, and its merge trains."""

import dataclasses
from pathlib import Path

import h5py
import numpy as np

from cog.datasets.merge import open_merge
from cog.datasets.storage.layout import pack
from cog.datasets.storage.shard import write_shard
from cog.experiments.bench.data import BenchData, episodes, make_merge, measure, use_merge, write_plain

SMALL = BenchData(
    rounds=1,
    episodes=2,
    steps=4,
    image_size=16,
    sources=3,
    source_episodes=2,
    source_steps=3,
    source_image_size=16,
)


def test_the_plain_file_holds_the_arrays_of_a_shard_with_its_chunks_and_filters(tmp_path: Path) -> None:
    made = list(episodes(3, 10, 16, 0))
    write_shard(tmp_path / "ours.h5", made, "made up", 0)
    write_plain(tmp_path / "plain.h5", pack(made, tmp_path / "ours.h5")[0])
    compared = []
    with h5py.File(tmp_path / "ours.h5") as ours, h5py.File(tmp_path / "plain.h5") as plain:

        def compare(name: str, node: object) -> None:
            if isinstance(node, h5py.Dataset):
                other = plain[name]
                np.testing.assert_array_equal(node[...], other[...])
                for trait in ("dtype", "chunks", "compression", "compression_opts", "fletcher32"):
                    assert getattr(node, trait) == getattr(other, trait), (name, trait)
                compared.append(name)

        ours.visititems(compare)
    assert {"frames", "actions", "signals", "episodes/options"} <= set(compared)


def test_the_shard_and_load_figures_are_rates_and_ratios(tmp_path: Path) -> None:
    figures = measure(dataclasses.replace(SMALL, sources=0), tmp_path)
    assert (
        figures["write_ratio"] > 0 and figures["read_ratio"] > 0 and figures["load_megabytes_per_second"] > 0
    )


def test_the_merge_of_many_sources_opens_and_trains_without_a_copy(tmp_path: Path) -> None:
    path = make_merge(SMALL, tmp_path / "merge")
    merge = open_merge(path)
    assert [source.role for source in merge.sources] == ["task", "task", "prior"]
    assert [source.view.rewarded_steps for source in merge.sources] == [2, 2, 0]
    before = {file: file.stat().st_mtime_ns for file in path.parent.rglob("*")}
    figures = use_merge(path, tmp_path / "run")
    assert figures["merge_episodes"] == 6
    assert figures["merge_frames_megabytes"] == 6 * 4 * 16 * 16 * 3 / 1e6
    assert {file: file.stat().st_mtime_ns for file in path.parent.rglob("*")} == before
    assert (tmp_path / "run/checkpoints/step_0000001").is_dir()
