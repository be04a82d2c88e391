"""What the real robomimic reads from a file is what comes in."""

import numpy as np
import pytest

from cog import cli
from cog.datasets.storage.dataset import open_dataset
from tests.helpers.foreign import robomimic_arrays, write_robomimic

pytest.importorskip("robomimic")
IMAGE, POSES = "agentview_image", ("robot0_eef_pos", "robot0_gripper_qpos")


def test_every_array_that_robomimic_reads_is_in_the_import(tmp_path):
    from robomimic.utils import file_utils, obs_utils
    from robomimic.utils.dataset import SequenceDataset

    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays((5, 3, 8)))
    file_utils.create_hdf5_filter_key(str(source), ["demo_2", "demo_0"], "mine")
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(POSES), "rgb": [IMAGE]}})
    theirs = SequenceDataset(
        hdf5_path=str(source),
        obs_keys=(IMAGE, *POSES),
        dataset_keys=("actions", "rewards", "dones"),
        load_next_obs=True,
        hdf5_cache_mode=None,
        filter_by_attribute="mine",
    )
    out = tmp_path / "data"
    options = ["--image", IMAGE, "--proprio", *POSES, "--image-size", "0", "--mask", "mine"]
    assert cli.run(["import", "robomimic", str(source), "--out", str(out), *options]) == 0
    dataset = open_dataset(out)
    assert dataset.environment["id"] == file_utils.get_env_metadata_from_dataset(str(source))["env_name"]
    assert dataset.step_count == len(theirs) == 13
    row = 0
    for episode in dataset.episodes():
        for step in range(len(episode)):
            entry = theirs[row]
            for frame, part in ((step, "obs"), (step + 1, "next_obs")):
                np.testing.assert_array_equal(episode.images[frame], entry[part][IMAGE][0])
                pose = np.concatenate([entry[part][key][0] for key in POSES])
                np.testing.assert_array_equal(episode.proprio[frame], pose.astype(np.float32))
            np.testing.assert_array_equal(episode.actions[step], entry["actions"][0].astype(np.float32))
            assert episode.signals["reward"][step + 1] == np.ravel(entry["rewards"])[0]
            row += 1
    assert row == 13
