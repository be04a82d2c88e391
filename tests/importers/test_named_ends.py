"""Flags of ends are what the user says they are: the environment's own ends, or those of a time limit."""

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog.datasets.importers.diffusion_policy import DiffusionPolicyOptions
from cog.datasets.importers.lerobot import LeRobotOptions
from cog.datasets.importers.robomimic import RobomimicOptions
from tests.helpers.foreign import robomimic_arrays, write_robomimic
from tests.importers.conftest import read_all
from tests.importers.stores import buffer, write_folder

MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ENDED = st.lists(st.booleans(), min_size=1, max_size=4)
POSE = ("robot0_eef_pos",)


def marks(ended):
    """Flags (T,) of episodes of 1, 2, ... steps: 1 at the last step of those that `ended`."""
    return [(np.arange(steps) == steps - 1) & end for steps, end in enumerate(ended, start=1)]


def robomimic(place, flags):
    source = write_robomimic(place / "demo.hdf5", robomimic_arrays(tuple(map(len, flags))))
    with h5py.File(source, "a") as file:
        for number, one in enumerate(flags):
            file[f"data/demo_{number}/dones"][...] = one
    return source


def lerobot(place, flags):
    helper = pytest.importorskip("tests.helpers.lerobot")
    episodes = helper.episodes(tuple(map(len, flags)))
    for episode, one in zip(episodes, flags, strict=True):
        episode["next.done"] = one
    return helper.write_lerobot(place / "source", episodes, video=False, files=(tuple(range(len(flags))),))


def diffusion_policy(place, flags):
    pytest.importorskip("zarr")
    done = np.concatenate(flags).astype(np.uint8)
    state = np.arange(len(done) * 3, dtype=np.float32).reshape(len(done), 3)
    columns = {"action": np.zeros((len(done), 2), np.float32), "state": state, "done": done}
    return write_folder(place / "a.zarr", buffer(columns, np.cumsum(list(map(len, flags))), 3))


FORMATS = {
    "robomimic": (robomimic, RobomimicOptions, POSE, "dones"),
    "lerobot": (lerobot, LeRobotOptions, ("observation.state",), "next.done"),
    "diffusion_policy": (diffusion_policy, DiffusionPolicyOptions, ("state",), "done"),
}


@pytest.mark.parametrize("kind", FORMATS)
@MANY
@given(ended=ENDED)
def test_named_flags_say_which_episodes_the_environment_ended(tmp_path_factory, kind, ended):
    write, options, pose, key = FORMATS[kind]
    source = write(tmp_path_factory.mktemp("made"), marks(ended))
    found, notes = read_all(options(image="none", proprio=pose, terminated=key), source)
    assert [one.terminated for one in found] == ended
    assert [one.truncated for one in found] == [not end for end in ended]
    assert "does not say what ended them" not in notes


@pytest.mark.parametrize("kind", ["robomimic", "lerobot"])
@MANY
@given(ended=ENDED)
def test_flags_that_nobody_named_are_counted_and_taken_as_time_limits(tmp_path_factory, kind, ended):
    write, options, pose, key = FORMATS[kind]
    source = write(tmp_path_factory.mktemp("made"), marks(ended))
    found, notes = read_all(options(image="none", proprio=pose), source)
    assert [(one.terminated, one.truncated) for one in found] == [(False, True)] * len(ended)
    marked = f"{key} marks the last step of {sum(ended)} of {len(ended)} episodes"
    assert (marked in notes and f"--terminated {key}" in notes) == any(ended)


@pytest.mark.parametrize("kind", ["robomimic", "lerobot"])
def test_flags_within_episodes_that_nobody_named_are_said(tmp_path, kind):
    write, options, pose, key = FORMATS[kind]
    source = write(tmp_path, [*marks([True, False]), np.array([False, True, False])])
    _, notes = read_all(options(image="none", proprio=pose), source)
    assert f"{key} marks steps before the last in 1 of 3 episodes, which go on there" in notes
    assert f"{key} marks the last step of 1 of 3 episodes" in notes


@pytest.mark.parametrize("kind", FORMATS)
def test_a_named_end_within_an_episode_is_refused(tmp_path, bring, kind):
    write, _, pose, key = FORMATS[kind]
    source = write(tmp_path, [*marks([True, False]), np.array([False, True, True])])
    found = bring(kind, source, "--image", "none", "--proprio", *pose, "--terminated", key)
    assert found.code == 1 and "must mark the last step of 3 alone as an end, found step 1" in found.said


@pytest.mark.parametrize("kind", FORMATS)
def test_a_name_that_the_source_lacks_is_refused_with_those_that_it_has(tmp_path, bring, kind):
    write, _, _, key = FORMATS[kind]
    found = bring(kind, write(tmp_path, marks([True])), "--image", "none", "--terminated", "finished")
    assert found.code == 2 and "'finished'" in found.said and key in found.said


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("key", ["dones", "rewards", "won"])
def test_values_that_are_not_one_a_step_are_refused(tmp_path, bring, key, rows):
    source = robomimic(tmp_path, marks([True, True]))
    with h5py.File(source, "a") as file:
        for number in range(2):
            file[f"data/demo_{number}/won"] = np.ones(number + 1)
        del file[f"data/demo_1/{key}"]
        file[f"data/demo_1/{key}"] = np.arange(rows) == rows - 1
    options = ["--image", "none", "--proprio", *POSE, "--terminated", "dones", "--success", "won"]
    found = bring("robomimic", source, *options)
    assert found.code == 1 and f"must have one row for each of 2 actions, found {rows}" in found.said
    assert f"data/demo_1/{key}" in found.said


def test_ends_that_are_not_taken_may_have_any_number_of_rows(tmp_path, bring):
    source = robomimic(tmp_path, marks([True]))
    with h5py.File(source, "a") as file:
        del file["data/demo_0/dones"]
        file["data/demo_0/dones"] = [0, 1]
    found = bring("robomimic", source, "--image", "none", "--proprio", *POSE)
    assert found.code == 0 and "dones marks the last step of 1 of 1 episodes" in found.said


def test_what_is_not_named_is_no_part_of_what_a_dataset_records(tmp_path, bring):
    source = robomimic(tmp_path, marks([True]))
    plain = bring("robomimic", source, "--image", "none", "--proprio", *POSE)
    named = bring("robomimic", source, "--image", "none", "--proprio", *POSE, "--terminated", "dones")
    assert "terminated" not in plain.dataset.spec["origin"]
    assert named.dataset.spec["origin"]["terminated"] == "dones"
