"""ManiSkill trajectories come in with cameras, poses, seeds and both kinds of ends; failures are kept."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog.datasets.importers.maniskill import ManiSkillOptions
from tests.importers.conftest import read_all

MANY = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CAMERA, POSE = "sensor_data/base_camera/rgb", ("agent/qpos", "extra/tcp_pose")


def trajectories(lengths, seed=0):
    """T actions and T + 1 observations each; every second ends in success, every third by the environment."""
    rng = np.random.default_rng(seed)
    for number, steps in enumerate(lengths):
        rows, last = steps + 1, np.arange(steps) == steps - 1
        yield {
            "obs/agent/qpos": rng.normal(size=(rows, 9)).astype(np.float32),
            "obs/agent/qvel": rng.normal(size=(rows, 9)).astype(np.float32),
            "obs/extra/tcp_pose": rng.normal(size=(rows, 7)).astype(np.float32),
            "obs/extra/is_grasped": rng.random(rows) > 0.5,
            "obs/sensor_data/base_camera/rgb": rng.integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8),
            "obs/sensor_data/base_camera/depth": rng.integers(0, 4000, (rows, 8, 8, 1)).astype(np.int16),
            "obs/sensor_data/base_camera/segmentation": np.zeros((rows, 8, 8, 1), np.int16),
            "obs/sensor_data/hand_camera/rgb": rng.integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8),
            "obs/sensor_param/base_camera/extrinsic_cv": np.zeros((rows, 3, 4), np.float32),
            "env_states/actors/cube": rng.normal(size=(rows, 13)).astype(np.float32),
            "actions": rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
            "rewards": rng.normal(size=steps).astype(np.float32),
            "success": last & (number % 2 == 0),
            "terminated": last & (number % 3 == 0),
            "truncated": last & (number % 3 != 0),
        }


def describe(episodes):
    return {
        "env_info": {"env_id": "PickCube-v1", "env_kwargs": {"obs_mode": "rgb"}, "max_episode_steps": 50},
        "episodes": [
            {
                "episode_id": number,
                "episode_seed": 100 + number,
                "control_mode": "pd_ee_delta_pose",
                "elapsed_steps": len(one["actions"]),
                "reset_kwargs": {"seed": [100 + number], "options": {}},
            }
            for number, one in enumerate(episodes)
        ],
    }


def save(path, episodes, description=None):
    with h5py.File(path, "w") as file:
        for number, one in enumerate(episodes):
            group = file.create_group(f"traj_{number}", track_order=True)
            for name, values in one.items():
                packed = {"compression": "gzip", "compression_opts": 5} if "sensor_data" in name else {}
                group.create_dataset(name, data=values, **packed)
    if description is not None:
        path.with_suffix(".json").write_text(json.dumps(description))
    return path


@MANY
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=13))
def test_every_array_of_every_trajectory_comes_in_failures_too(tmp_path, lengths):
    given = list(trajectories(lengths))
    source = save(tmp_path / "trajectory.h5", given, describe(given))
    found, notes = read_all(ManiSkillOptions(image=CAMERA, proprio=POSE), source)
    for number, (mine, one) in enumerate(zip(found, given, strict=True)):  # traj_10 comes after traj_9
        np.testing.assert_array_equal(mine.images, one[f"obs/{CAMERA}"])
        pose = np.concatenate([one[f"obs/{key}"] for key in POSE], axis=1)
        np.testing.assert_array_equal(mine.vectors, pose)
        np.testing.assert_array_equal(mine.actions, one["actions"])
        np.testing.assert_array_equal(mine.rewards, one["rewards"])
        np.testing.assert_array_equal(mine.success, one["success"])
        assert (mine.terminated, mine.truncated) == (number % 3 == 0, number % 3 != 0)
        assert (mine.seed, mine.closed, mine.name) == (100 + number, True, f"traj_{number}")
        assert mine.options == {"control_mode": "pd_ee_delta_pose"}
    assert "is no colour picture but depth" in notes and "is no colour picture but segmentation" in notes


def test_an_import_counts_failures_and_names_the_task(bring, tmp_path):
    given = list(trajectories([3, 4, 5]))
    source = save(tmp_path / "trajectory.h5", given, describe(given))
    found = bring("maniskill", source, "--image", CAMERA, "--proprio", *POSE, "--image-size", 0)
    assert [one.success for one in found.episodes] == [True, False, True]
    assert found.dataset.environment["id"] == "PickCube-v1"
    assert found.dataset.environment["control_mode"] == "pd_ee_delta_pose"
    assert [entry.path.rsplit("/")[-1] for entry in found.dataset.inputs] == [
        "trajectory.h5",
        "trajectory.json",
    ]


def test_two_cameras_must_be_chosen_from(bring, tmp_path):
    source = save(tmp_path / "trajectory.h5", list(trajectories([3])))
    found = bring("maniskill", source)
    assert found.code == 2 and "choose images with --image" in found.said.lower()
    assert "hand_camera" in found.said


def test_depth_is_never_a_picture_or_a_vector(bring, tmp_path):
    source = save(tmp_path / "trajectory.h5", list(trajectories([3])))
    found = bring("maniskill", source, "--image", "sensor_data/base_camera/depth", "--proprio", "agent/qpos")
    assert found.code == 2 and "found depth" in found.said
    found = bring("maniskill", source, "--image", "none", "--proprio", "sensor_data/base_camera/depth")
    assert found.code == 2 and "has 3 axes a step" in found.said


def only(one, *kept):
    return {name: values for name, values in one.items() if name.split("/")[0] in kept}


def test_a_state_vector_alone_is_the_state(tmp_path):
    one = only(next(trajectories([4])), "actions", "success", "terminated", "truncated")
    state = np.random.default_rng(0).normal(size=(5, 42)).astype(np.float32)
    found, notes = read_all(ManiSkillOptions(), save(tmp_path / "state.h5", [{**one, "obs": state}]))
    np.testing.assert_array_equal(found[0].vectors, state)
    assert found[0].images is None and found[0].rewards is None
    assert "there is no state.json beside it" in notes


def test_trajectories_without_observations_say_how_to_record_them(bring, tmp_path):
    one = only(next(trajectories([4])), "actions", "success", "terminated", "truncated", "env_states")
    source = save(tmp_path / "demo.h5", [one])
    found = bring("maniskill", source)
    assert found.code == 1 and "mani_skill.trajectory.replay_trajectory" in found.said
    found = bring("maniskill", source, "--proprio", "env_states/actors/cube")
    np.testing.assert_array_equal(found.episodes[0].state, one["env_states/actors/cube"])


@pytest.mark.parametrize("word", ["none", "None"])
def test_none_takes_no_success_where_the_format_has_its_own(word, tmp_path, bring):
    source = save(tmp_path / "a.h5", list(trajectories([4, 3])))
    found = bring("maniskill", source, "--image", "none", "--proprio", POSE[0], "--success", word)
    assert [one.success for one in found.episodes] == [False, False]
    assert found.dataset.spec["origin"]["success"] is None


def test_a_task_without_success_is_said(tmp_path):
    one = next(trajectories([4]))
    del one["success"]
    found, notes = read_all(ManiSkillOptions(image=CAMERA, proprio=POSE), save(tmp_path / "a.h5", [one]))
    assert found[0].success is None and "no trajectory has an array of success" in notes


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        (
            "obs/agent/qpos",
            np.zeros((4, 9), np.float32),
            "must have one row before, between and after 4 actions",
        ),
        ("rewards", np.zeros(3), "rewards"),
        ("actions", np.full((4, 8), 3.0), "must lie in [-1, 1]"),
        ("obs/extra/tcp_pose", np.full((5, 7), np.inf, np.float32), "must be finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(bring, tmp_path, field, value, named):
    source = save(tmp_path / "a.h5", [{**next(trajectories([4])), field: value}])
    found = bring("maniskill", source, "--image", CAMERA, "--proprio", *POSE)
    assert found.code == 1 and named in found.said, found.said


@pytest.mark.parametrize(
    ("description", "named"),
    [
        ({"episodes": [{"episode_id": 0, "elapsed_steps": 9}]}, "says that traj_0 has 9 steps"),
        ({"episodes": [{}]}, "must list the episodes"),
        ({}, "must list the episodes"),
        ([], "must be a JSON object"),
    ],
)
def test_a_description_of_another_recording_is_refused(bring, tmp_path, description, named):
    source = save(tmp_path / "a.h5", list(trajectories([4])), description)
    found = bring("maniskill", source, "--image", CAMERA, "--proprio", *POSE)
    assert found.code == 1 and named in found.said and "a.json" in found.said, found.said


def test_a_link_to_another_file_is_refused(bring, tmp_path):
    save(tmp_path / "other.h5", list(trajectories([4])))
    source = save(tmp_path / "a.h5", list(trajectories([4])))
    with h5py.File(source, "a") as file:
        del file["traj_0/actions"]
        file["traj_0/actions"] = h5py.ExternalLink(tmp_path / "other.h5", "traj_0/actions")
    found = bring("maniskill", source, "--image", CAMERA, "--proprio", *POSE)
    assert found.code == 1 and "must not be a link to another file" in found.said


def test_trajectories_that_go_on_after_an_end_are_said_and_flags_can_be_a_pose(tmp_path):
    one = {**next(trajectories([4])), "terminated": np.array([0, 1, 1, 0], bool)}
    options = ManiSkillOptions(image=CAMERA, proprio=("agent/qpos", "extra/is_grasped"))
    found, notes = read_all(options, save(tmp_path / "a.h5", [one]))
    assert not found[0].terminated and "1 trajectories go on after a step that is flagged" in notes
    np.testing.assert_array_equal(found[0].vectors[:, 9], one["obs/extra/is_grasped"])


def test_trajectories_that_the_json_alone_names_are_said(tmp_path, bring):
    given = list(trajectories([3, 2]))
    source = save(tmp_path / "trajectory.h5", given, describe(given))
    with h5py.File(source, "a") as file:
        del file["traj_1"]
    found = bring("maniskill", source, "--image", "none", "--proprio", "agent/qpos")
    assert found.code == 0, found.said
    assert "trajectory.json lists 1 trajectories that the file lacks (traj_1)" in found.said


def test_a_json_that_calls_other_trajectories_successes_is_said(tmp_path, bring):
    given = list(trajectories([3, 2]))
    told = describe(given)
    source = save(tmp_path / "trajectory.h5", given, told)
    alike = bring("maniskill", source, "--image", "none", "--proprio", "agent/qpos")
    assert alike.code == 0 and "the flags count" not in alike.said
    flags = [bool(one["success"].any()) for one in given]
    for episode, succeeds in zip(told["episodes"], flags, strict=True):
        episode["success"] = not succeeds
    source = save(tmp_path / "trajectory.h5", given, told)
    found = bring("maniskill", source, "--image", "none", "--proprio", "agent/qpos")
    assert "2 trajectories succeed by their flags and not by the JSON file" in found.said
    assert [episode.success for episode in found.episodes] == flags
