"""Dreamer's episodes come in with the action and the reward that led to each frame."""

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog.datasets.importers.dreamer import DreamerOptions
from cog.datasets.storage.problem import DataError
from tests.importers.conftest import read_all

MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def episode(steps, seed=0, terminal=False):
    """T actions between T + 1 frames, as a dictionary of Dreamer's columns (T + 1 rows)."""
    rng = np.random.default_rng(seed)
    rows = steps + 1
    actions = rng.uniform(-1, 1, (rows, 3)).astype(np.float32)
    rewards = rng.normal(size=rows).astype(np.float32)
    actions[0], rewards[0] = 0, 0
    return {
        "image": rng.integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8),
        "velocity": rng.normal(size=(rows, 2)).astype(np.float32),
        "action": actions,
        "reward": rewards,
        "discount": np.where((np.arange(rows) == steps) & terminal, 0, 1).astype(np.float32),
        "is_first": np.arange(rows) == 0,
        "is_last": np.arange(rows) == steps,
        "is_terminal": (np.arange(rows) == steps) & terminal,
    }


def save(folder, episodes, without=()):
    """One file each, named by time and length, as Dreamer names them."""
    folder.mkdir(exist_ok=True, parents=True)
    for number, columns in enumerate(episodes):
        kept = {name: values for name, values in columns.items() if name not in without}
        name = f"20261201T0000{number:02d}-abc-{len(columns['image'])}.npz"
        np.savez_compressed(folder / name, **kept)
    return folder


def flat(path, episodes):
    """V-D4RL's HDF5 file: rows of all episodes, channels first, and the types of the steps."""
    kinds = []
    for columns in episodes:
        kind = np.ones(len(columns["action"]))
        kind[-1], kind[0] = 2, 0
        kinds.append(kind)
    with h5py.File(path, "w") as file:
        for name in ("action", "reward", "discount"):
            file.create_dataset(
                name, data=np.concatenate([one[name] for one in episodes]), compression="gzip"
            )
        pictures = np.concatenate([one["image"] for one in episodes]).transpose(0, 3, 1, 2)
        file.create_dataset("observation", data=pictures, compression="gzip")
        file["step_type"] = np.concatenate(kinds)
    return path


def assert_same(found, wanted):
    for mine, columns in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine.images, columns["image"])
        np.testing.assert_array_equal(mine.actions, columns["action"][1:])
        np.testing.assert_array_equal(mine.rewards, columns["reward"][1:])
        terminal = bool(columns["is_terminal"][-1])
        assert (mine.closed, mine.terminated, mine.truncated) == (True, terminal, not terminal)


KINDS = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4)


@MANY
@given(kinds=KINDS, old=st.booleans(), data=st.data())
def test_an_action_leads_to_the_frame_of_its_own_row(tmp_path_factory, kinds, old, data):
    given = [episode(steps, number, terminal) for number, (steps, terminal) in enumerate(kinds)]
    left = ("is_first", "is_last", "is_terminal") if old else ()  # older files have the discount alone
    folder = save(tmp_path_factory.mktemp("made"), given, left)
    found, _ = read_all(DreamerOptions(proprio=("velocity",)), folder)
    assert_same(found, given)
    for mine, columns in zip(found, given, strict=True):
        np.testing.assert_array_equal(mine.vectors, columns["velocity"])
    one = data.draw(st.sampled_from(sorted(folder.iterdir())))
    alone, _ = read_all(DreamerOptions(proprio=("none",)), one)
    assert_same(alone, [given[sorted(folder.iterdir()).index(one)]])


@MANY
@given(kinds=KINDS)
def test_flat_files_are_cut_where_an_episode_begins(tmp_path, kinds):
    given = [episode(steps, number, terminal) for number, (steps, terminal) in enumerate(kinds)]
    found, notes = read_all(DreamerOptions(), flat(tmp_path / "data.hdf5", given))
    assert_same(found, given)
    assert "channels were moved from the first axis to the last" in notes


def test_an_import_keeps_frames_actions_and_rewards_in_step(bring, tmp_path):
    given = [episode(4, 1), episode(3, 2, terminal=True)]
    folder = save(tmp_path / "made", given)
    found = bring("dreamer", folder, "--image-size", 0, "--proprio", "velocity", "--success", "reward>0")
    assert len(found.dataset.inputs) == 2
    for mine, columns in zip(found.episodes, given, strict=True):
        np.testing.assert_array_equal(mine.images, columns["image"])
        np.testing.assert_array_equal(mine.proprio, columns["velocity"])
        np.testing.assert_array_equal(mine.actions, columns["action"][1:])
        np.testing.assert_array_equal(mine.signals["reward"], columns["reward"])
    assert [one.terminated for one in found.episodes] == [False, True]


def broken(**changes):
    return {name: value for name, value in (episode(4) | changes).items() if value is not None}


CHOICES = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 0]]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"action": None}, "must hold Dreamer's 'action'"),
        ({"action": np.zeros((5, 3), int)}, "must be continuous vectors"),
        ({"action": CHOICES}, "found one choice of several at every step"),
        ({"is_terminal": np.arange(5) == 2}, "field 'is_terminal': must mark the last step of 4 alone"),
        ({"reward": np.zeros(4)}, "field 'reward': must have one row for each of 5 rows"),
        ({"is_first": np.zeros(5, bool)}, "field 'is_first': must mark the first row"),
        ({"image": np.zeros((5, 8, 8, 9), np.uint8), "velocity": None}, "9 channels"),
        ({"image": np.array([{}] * 5, object)}, "'image' is no camera but"),
    ],
)
def test_what_is_no_such_episode_is_refused_by_field_and_rule(bring, tmp_path, changes, named):
    folder = save(tmp_path / "made", [broken(**changes)])
    found = bring("dreamer", folder, "--image", "image", "--proprio", "none")
    assert found.code in (1, 2) and named in found.said, found.said
    assert not found.out.exists()


def test_folders_without_episodes_and_other_files_are_refused(bring, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no npz or HDF5 files" in bring("dreamer", tmp_path / "empty").said
    (tmp_path / "notes.txt").write_text("hello")
    assert "must be an npz or HDF5 file" in bring("dreamer", tmp_path / "notes.txt").said
    assert bring("dreamer", tmp_path / "missing.npz").code == 1


def test_a_reward_before_the_first_action_is_said(tmp_path):
    folder = save(tmp_path / "made", [broken(reward=np.full(5, 2.0))])
    found, notes = read_all(DreamerOptions(proprio=("none",)), folder)
    np.testing.assert_array_equal(found[0].rewards, np.full(4, 2.0))
    assert "1 episodes have a reward in their first row, of 2 in all" in notes


def test_a_file_of_several_episodes_is_cut_and_said_and_an_end_within_one_is_refused(tmp_path):
    two = {name: np.concatenate([episode(3)[name], episode(2)[name]]) for name in episode(3)}
    found, notes = read_all(DreamerOptions(image="image", proprio=("velocity",)), save(tmp_path / "a", [two]))
    assert [len(one.actions) for one in found] == [3, 2]
    assert "1 files hold several episodes, and were cut where a row is marked as a first" in notes
    within = episode(4) | {"is_last": np.arange(5) == 2}
    with pytest.raises(DataError, match="'is_last': must mark the last step"):
        read_all(DreamerOptions(image="image", proprio=("velocity",)), save(tmp_path / "b", [within]))


def test_a_discount_of_0_within_an_episode_is_refused_as_an_end_there(tmp_path, bring):
    made = episode(4)
    made["discount"][2] = 0
    source = save(tmp_path / "made", [made], without=("is_terminal", "is_last", "is_first"))
    found = bring("dreamer", source, "--image", "image", "--proprio", "velocity")
    assert found.code == 1 and "'discount'" in found.said and "alone as an end, found step 1" in found.said


def test_an_action_in_the_first_row_is_said_since_none_led_there(tmp_path):
    made = [episode(3, seed=1), episode(3, seed=2)]
    _, notes = read_all(DreamerOptions(image="image", proprio=("none",)), save(tmp_path / "as_usual", made))
    assert "first row" not in notes
    made[1]["action"][0] = 0.5
    found, notes = read_all(DreamerOptions(image="image", proprio=("none",)), save(tmp_path / "made", made))
    assert "1 episodes have an action in their first row, which leads to no frame" in notes
    np.testing.assert_array_equal(found[1].actions, made[1]["action"][1:])
