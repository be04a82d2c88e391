"""Robomimic itself loads what is exported, every array equal to the bit."""

import numpy as np
import pytest

from cog.datasets.exporters.robomimic import RobomimicExport
from cog.datasets.exporters.run import export
from tests.packages.conftest import same

pytest.importorskip("robomimic", reason="needs robomimic: make packages")

import robomimic
import robomimic.utils.file_utils as file_utils
import robomimic.utils.obs_utils as obs_utils
from robomimic.algo import algo_factory
from robomimic.config import config_factory
from robomimic.utils.dataset import SequenceDataset

KEYS = {"image": ["image", "proprio"], "merge": ["image", "proprio"], "state": ["state"]}


def modalities(kind):
    low_dim = [name for name in KEYS[kind] if name != "image"]
    return {"obs": {"rgb": ["image"] if "image" in KEYS[kind] else [], "low_dim": low_dim}}


def opened(path, kind, **changes):
    obs_utils.initialize_obs_utils_with_obs_specs(modalities(kind))
    options = {
        "hdf5_path": str(path),
        "obs_keys": KEYS[kind],
        "dataset_keys": ["actions", "rewards", "dones"],
        "hdf5_cache_mode": None,
    }
    return SequenceDataset(**{**options, **changes})


def test_the_version_is_the_one_that_was_tried():
    assert robomimic.__version__ == "0.3.0"


@pytest.mark.parametrize("kind", ["image", "state", "merge"])
def test_every_array_comes_back_through_its_dataset(kind, make_source, tmp_path):
    source = make_source(kind)
    export(RobomimicExport(), source.merge, tmp_path / "data.hdf5")
    data = opened(tmp_path / "data.hdf5", kind)
    assert data.n_demos == len(source.episodes)
    for number, episode in enumerate(source.episodes):
        found = data.get_trajectory_at_index(number)
        assert found["ep"] == f"demo_{number}"
        frames = {"image": episode.images, "proprio": episode.proprio, "state": episode.state}
        for name in KEYS[kind]:
            same(found["obs"][name], frames[name][:-1])
            same(found["next_obs"][name], frames[name][1:])
        same(found["actions"], episode.actions)
        same(found["rewards"], episode.rewards)
        same(found["dones"], episode.terminals.astype(np.int64))


@pytest.mark.parametrize("cache", ["all", "low_dim"])
def test_its_caches_read_the_file_too(cache, make_source, tmp_path):
    source = make_source("image")
    export(RobomimicExport(), source.merge, tmp_path / "data.hdf5")
    data = opened(tmp_path / "data.hdf5", "image", hdf5_cache_mode=cache)
    first = data[0]
    assert len(data) == sum(len(episode) for episode in source.episodes)
    same(first["obs"]["image"], source.episodes[0].images[:1])
    same(first["next_obs"]["image"], source.episodes[0].images[1:2])
    same(first["actions"], source.episodes[0].actions[:1])


def test_filter_keys_choose_roles_and_held_out_demonstrations(make_source, tmp_path):
    source = make_source("merge")
    export(RobomimicExport(valid_share=0.3, seed=3), source.merge, tmp_path / "data.hdf5")
    demos = {
        key: opened(tmp_path / "data.hdf5", "merge", filter_by_attribute=key).demos
        for key in ("task", "prior", "train", "valid")
    }
    assert demos["task"] == [f"demo_{number}" for number in range(5)]
    assert demos["prior"] == [f"demo_{number}" for number in range(5, 10)]
    assert len(demos["valid"]) == 3
    assert sorted(demos["train"] + demos["valid"]) == sorted(demos["task"] + demos["prior"])


@pytest.mark.parametrize("kind", ["image", "state"])
def test_its_cql_learns_from_the_file(kind, make_source, tmp_path):
    source = make_source(kind)
    export(RobomimicExport(), source.merge, tmp_path / "data.hdf5")
    config = config_factory("cql")
    with config.unlocked():
        config.observation.modalities.obs.rgb = modalities(kind)["obs"]["rgb"]
        config.observation.modalities.obs.low_dim = modalities(kind)["obs"]["low_dim"]
    config.lock()
    obs_utils.initialize_obs_utils_with_config(config)
    path = str(tmp_path / "data.hdf5")
    shapes = file_utils.get_shape_metadata_from_dataset(path, all_obs_keys=KEYS[kind])
    assert shapes["ac_dim"] == 8 and shapes["use_images"] == (kind == "image")
    assert file_utils.get_env_metadata_from_dataset(path)["type"] == 2
    model = algo_factory("cql", config, shapes["all_shapes"], shapes["ac_dim"], device="cpu")
    import torch

    loader = torch.utils.data.DataLoader(opened(path, kind, hdf5_cache_mode="low_dim"), batch_size=4)
    model.set_train()
    batch = model.process_batch_for_training(next(iter(loader)))
    batch = model.postprocess_batch_for_training(batch, obs_normalization_stats=None)
    losses = model.train_on_batch(batch, epoch=0)
    values = {name: float(value) for name, value in model.log_info(losses).items() if np.ndim(value) == 0}
    assert values and all(np.isfinite(value) for value in values.values())
