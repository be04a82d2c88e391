"""LeRobot itself loads what is exported, every array equal to the bit, images without video."""

import importlib.metadata
import json

import numpy as np
import pytest

from cog.datasets.exporters import lerobot as layout
from cog.datasets.exporters import statistics
from cog.datasets.exporters.lerobot import LeRobotExport
from cog.datasets.exporters.run import export
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.writer import DatasetWriter
from tests.packages.conftest import SIZE

pytest.importorskip("lerobot", reason="needs LeRobot: make packages")

from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset

FPS = LeRobotExport(fps=20)


def opened(path, **changes):
    return LeRobotDataset("cog/made", root=path, **changes)


def pixels(tensor):
    """A loaded image, (3, H, W) float32 in [0, 1], as the bytes that it was made from."""
    values = np.moveaxis(tensor.numpy(), 0, 2)
    found = np.rint(values * 255).astype(np.uint8)
    np.testing.assert_array_equal(values, found.astype(np.float32) / 255)
    return found


def test_the_version_is_one_of_those_that_were_tried():
    assert importlib.metadata.version("lerobot") in ("0.4.4", "0.6.1")


@pytest.mark.parametrize("kind", ["image", "state", "merge"])
def test_every_array_comes_back(kind, make_source, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "EPISODES_PER_GROUP", 2)
    source = make_source(kind)
    export(FPS, source.merge, tmp_path / "data")
    data = opened(tmp_path / "data")
    assert (data.num_episodes, data.fps) == (len(source.episodes), 20)
    assert data.num_frames == len(data) == sum(map(len, source.episodes))
    row = 0
    for number, episode in enumerate(source.episodes):
        for step in range(len(episode)):
            found = data[row]
            if kind == "state":
                np.testing.assert_array_equal(found["observation.environment_state"], episode.state[step])
            else:
                np.testing.assert_array_equal(pixels(found["observation.images.image"]), episode.images[step])
                np.testing.assert_array_equal(found["observation.state"], episode.proprio[step])
            np.testing.assert_array_equal(found["action"], episode.actions[step])
            assert found["next.reward"] == episode.rewards[step]
            assert found["next.done"] == episode.terminals[step]
            last = step == len(episode) - 1
            assert bool(found["next.truncated"]) == (last and not episode.terminals[step])
            assert found["timestamp"] == np.float32(step / 20)
            assert (found["episode_index"], found["frame_index"], found["index"]) == (number, step, row)
            assert found["task"] == "made up"
            row += 1


def test_several_files_and_chosen_episodes_are_read_too(make_source, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "MEGABYTES_PER_FILE", 0.05)
    source = make_source("image")
    export(FPS, source.merge, tmp_path / "data")
    assert len(list((tmp_path / "data/data").rglob("*.parquet"))) > 1
    chosen = opened(tmp_path / "data", episodes=[1, 4])
    actions = np.concatenate([source.episodes[number].actions for number in (1, 4)])
    np.testing.assert_array_equal(np.stack([chosen[row]["action"] for row in range(len(chosen))]), actions)
    whole = opened(tmp_path / "data")
    assert len(whole) == sum(map(len, source.episodes))


def test_neighbours_in_time_are_found_by_their_timestamps(make_source, tmp_path):
    source = make_source("state")
    export(FPS, source.merge, tmp_path / "data")
    data = opened(tmp_path / "data", delta_timestamps={"action": [0.0, 1 / 20]})
    np.testing.assert_array_equal(data[1]["action"], source.episodes[0].actions[1:3])


def test_the_statistics_are_those_that_it_computes(make_source, tmp_path):
    source = make_source("image")
    export(FPS, source.merge, tmp_path / "data")
    data = opened(tmp_path / "data")
    columns = {
        "observation.state": np.concatenate([episode.proprio[:-1] for episode in source.episodes]),
        "action": np.concatenate([episode.actions for episode in source.episodes]),
        "next.reward": np.concatenate([episode.rewards for episode in source.episodes]),
    }
    wanted = compute_episode_stats(columns, {name: data.features[name] for name in columns})
    images = np.concatenate([episode.images[:-1] for episode in source.episodes]) / 255
    for name in ("min", "max", "mean", "std"):
        assert set(statistics.QUANTILES) <= wanted["action"].keys()
        for column in columns:
            np.testing.assert_allclose(data.meta.stats[column][name], wanted[column][name], atol=1e-6)
        found = data.meta.stats["observation.images.image"][name]
        np.testing.assert_allclose(found[:, 0, 0], getattr(np, name)(images, axis=(0, 1, 2)), atol=1e-9)
    assert found.shape == (3, 1, 1) and images.shape[1] == SIZE


@pytest.mark.parametrize("kind", ["image", "state"])
def test_its_quantiles_are_within_one_bin_of_those_that_lerobot_computes(kind, make_source, tmp_path):
    source = make_source(kind)
    export(FPS, source.merge, tmp_path / "data")
    meta = opened(tmp_path / "data").meta
    features = {name: meta.features[name] for name in ("action", "next.reward")}
    theirs = []
    for episode in source.episodes:
        columns = {"action": episode.actions, "next.reward": episode.rewards}
        theirs.append(compute_episode_stats(columns, features))
    whole = aggregate_stats(theirs)
    for column in features:
        width = (whole[column]["max"] - whole[column]["min"]) / 5000
        for name in statistics.QUANTILES:
            difference = np.abs(meta.stats[column][name] - whole[column][name])
            assert (difference <= width + 1e-6).all(), (column, name)
    if kind == "image":
        assert {meta.stats["observation.images.image"][name].shape for name in statistics.QUANTILES} == {
            (3, 1, 1)
        }


@pytest.mark.parametrize("state", [False, True])
def test_one_motor_and_no_pose_are_loaded_too(state, tmp_path):
    rng = np.random.default_rng(0)
    given = [rng.uniform(-1, 1, (steps, 1)).astype(np.float32) for steps in (4, 1)]
    with DatasetWriter(tmp_path / "made", image_size=None) as writer:
        for actions in given:
            frames = len(actions) + 1
            images = None if state else rng.integers(0, 256, (frames, SIZE, SIZE, 3), np.uint8)
            values = np.arange(frames, dtype=np.float32)[:, None] if state else None
            writer.add_episode(actions, images=images, state=values, rewards=np.zeros(len(actions)))
    relabel(tmp_path / "made", "recorded", "view", terminate=False)
    export(FPS, open_merge(tmp_path / "made"), tmp_path / "data")
    data = opened(tmp_path / "data")
    actions = np.concatenate(given)
    np.testing.assert_array_equal([float(data[row]["action"]) for row in range(len(data))], actions[:, 0])
    key = "observation.environment_state" if state else "observation.state"
    assert [float(data[row][key]) for row in range(5)] == ([0, 1, 2, 3, 0] if state else [0] * 5)


def test_where_the_data_came_from_is_in_its_information(make_source, tmp_path):
    source = make_source("merge")
    export(FPS, source.merge, tmp_path / "data")
    origin = json.loads((tmp_path / "data/meta/info.json").read_text())["cog"]
    hashes = [one["dataset_hash"] for one in origin["sources"]]
    assert hashes == [one.dataset.hash for one in source.merge.sources]
    info = opened(tmp_path / "data").meta.info
    assert not isinstance(info, dict) or info["cog"] == origin  # later versions keep only what they know
