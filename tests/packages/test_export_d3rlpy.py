"""d3rlpy itself loads what is exported, every array equal to the bit."""

import pickletools

import numpy as np
import pytest

from cog.datasets.exporters.d3rlpy import D3RLPYExport
from cog.datasets.exporters.run import export
from tests.packages.conftest import same

d3rlpy = pytest.importorskip("d3rlpy", reason="needs d3rlpy: make packages")


def load(path):
    with path.open("rb") as file:
        return d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())


def channels_first(images):
    return np.moveaxis(images, 3, 1)


def test_the_version_is_the_one_that_was_tried():
    assert d3rlpy.__version__ == "2.8.1"


@pytest.mark.parametrize("kind", ["image", "state", "merge"])
def test_every_array_comes_back(kind, make_source, tmp_path):
    source = make_source(kind)
    export(D3RLPYExport(), source.merge, tmp_path / "data.h5")
    buffer = load(tmp_path / "data.h5")
    assert len(buffer.episodes) == len(source.episodes)
    for found, episode in zip(buffer.episodes, source.episodes, strict=True):
        if kind == "state":
            same(found.observations, episode.state[:-1])
        else:
            image, proprio = found.observations
            same(image, channels_first(episode.images[:-1]))
            same(proprio, episode.proprio[:-1])
        same(found.actions, episode.actions)
        same(found.rewards, episode.rewards[:, None])
        assert bool(found.terminated) == bool(episode.terminals.any())


def test_the_transitions_that_it_draws_are_the_source_s(make_source, tmp_path):
    source = make_source("image")
    result = export(D3RLPYExport(observation="image"), source.merge, tmp_path / "data.h5")
    buffer = load(tmp_path / "data.h5")
    assert buffer.transition_count == result.sampled < result.steps
    for found, episode in zip(buffer.episodes, source.episodes, strict=True):
        for step in range(found.transition_count):
            drawn = buffer.transition_picker(found, step)
            same(drawn.observation, channels_first(episode.images)[step])
            same(drawn.action, episode.actions[step])
            assert drawn.reward == episode.rewards[step] and drawn.terminal == episode.terminals[step]
            if not drawn.terminal:
                same(drawn.next_observation, channels_first(episode.images)[step + 1])


def test_its_own_dump_has_the_same_datasets(make_source, tmp_path):
    import h5py

    source = make_source("merge")
    export(D3RLPYExport(), source.merge, tmp_path / "ours.h5")
    with (tmp_path / "theirs.h5").open("w+b") as file:
        load(tmp_path / "ours.h5").dump(file)
    with h5py.File(tmp_path / "ours.h5") as ours, h5py.File(tmp_path / "theirs.h5") as theirs:
        assert set(ours) - set(theirs) == {"cog"} and not set(theirs) - set(ours)
        for name in theirs:
            assert ours[name].shape == theirs[name].shape and ours[name].dtype == theirs[name].dtype, name
            assert np.array_equal(ours[name][()], theirs[name][()]), name


def test_neither_its_dump_nor_the_export_is_a_pickle(make_source, tmp_path):
    export(D3RLPYExport(), make_source("state").merge, tmp_path / "ours.h5")
    with (tmp_path / "theirs.h5").open("w+b") as file:
        load(tmp_path / "ours.h5").dump(file)
    for name in ("ours.h5", "theirs.h5"):
        data = (tmp_path / name).read_bytes()
        assert data.startswith(b"\x89HDF\r\n\x1a\n")
        with pytest.raises(ValueError):
            list(pickletools.genops(data))


@pytest.mark.parametrize("observation", ["image", "proprio", "state"])
def test_its_cql_learns_from_the_file(observation, make_source, tmp_path):
    source = make_source("state" if observation == "state" else "image")
    export(D3RLPYExport(observation=observation), source.merge, tmp_path / "data.h5")
    model = d3rlpy.algos.CQLConfig(batch_size=4, n_action_samples=2).create(device="cpu:0")
    losses = model.fit(
        load(tmp_path / "data.h5"),
        n_steps=2,
        n_steps_per_epoch=2,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    assert all(np.isfinite(value) for value in losses[-1][1].values())
