"""Minari itself loads what is exported, every array equal to the bit, images without JPEG."""

from pathlib import Path

import numpy as np
import pytest

from cog.datasets.exporters.minari import MinariExport
from cog.datasets.exporters.run import export
from tests.packages.conftest import same

minari = pytest.importorskip("minari", reason="needs Minari: make packages")


@pytest.fixture(autouse=True)
def minari_folder(tmp_path: Path, monkeypatch) -> Path:
    """Minari's own folder of datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def test_the_version_is_the_one_that_was_tried():
    assert minari.__version__ == "0.5.4"


@pytest.mark.parametrize("kind", ["image", "state", "merge"])
def test_every_array_comes_back(kind, make_source, minari_folder):
    source = make_source(kind)
    export(MinariExport(name="cog/made-v2"), source.merge, minari_folder / "cog/made-v2")
    assert list(minari.list_local_datasets()) == ["cog/made-v2"]
    data = minari.load_dataset("cog/made-v2")
    assert (data.total_episodes, data.total_steps) == (len(source.episodes), sum(map(len, source.episodes)))
    assert data.spec.version == 2 and data.spec.namespace == "cog"
    for number, episode in enumerate(source.episodes):
        found = data[number]
        frames = {"image": episode.images, "proprio": episode.proprio, "state": episode.state}
        frames = {name: values for name, values in frames.items() if values is not None}
        assert found.observations.keys() == frames.keys()
        for name, values in frames.items():
            same(found.observations[name], values)
        same(found.actions, episode.actions)
        same(found.rewards, episode.rewards)
        same(found.terminations, episode.terminals)
        cut_off = np.arange(len(episode)) == len(episode) - 1
        same(found.truncations, cut_off & ~episode.terminals)
        assert found.infos["signals"].keys() == episode.signals.keys()
        for name, values in episode.signals.items():
            same(found.infos["signals"][name], values)


@pytest.mark.parametrize("kind", ["image", "state"])
def test_its_spaces_hold_the_data(kind, make_source, tmp_path):
    source = make_source(kind)
    export(MinariExport(), source.merge, tmp_path / "made-v0")
    data = minari.MinariDataset(tmp_path / "made-v0/data")
    assert not data.storage.jpeg_encoding
    for episode in data:
        for step, action in enumerate(episode.actions):
            assert data.action_space.contains(action)
            frame = {name: values[step] for name, values in episode.observations.items()}
            assert data.observation_space.contains(frame)


def test_seeds_and_starts_come_back_as_what_repeats_a_reset(make_source, tmp_path):
    source = make_source("image")
    export(MinariExport(), source.merge, tmp_path / "made-v0")
    data = minari.MinariDataset(tmp_path / "made-v0/data")
    metadata = data.storage.get_episode_metadata(data.episode_indices)
    for found, episode in zip(metadata, source.episodes, strict=True):
        assert found["seed"] == episode.seed and found["options"] == {"start": episode.start}
        assert found["total_steps"] == len(episode) and found["success"] == episode.success


def test_minari_filters_and_splits_it_like_its_own(make_source, tmp_path):
    source = make_source("image")
    export(MinariExport(), source.merge, tmp_path / "made-v0")
    data = minari.MinariDataset(tmp_path / "made-v0/data")
    ended = data.filter_episodes(lambda episode: bool(episode.terminations[-1]))
    assert ended.total_episodes == sum(episode.terminals.any() for episode in source.episodes)
    one, other = minari.split_dataset(data, [2, 3], seed=0)
    assert (one.total_episodes, other.total_episodes) == (2, 3)
