"""A robomimic file comes in array by array, and what is missing or wrong is said."""

import json

import h5py
import numpy as np
import pytest

from cog import cli
from cog.core.files import hash_file
from cog.datasets.importers.foreign.hdf5 import ForeignFile
from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.importers.run import run_import
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.problem import DataError
from cog.datasets.storage.verify import verify
from cog.errors import CogError
from tests.helpers.foreign import robomimic_arrays, write_robomimic

KEYS = ["--image", "agentview_image", "--proprio", "robot0_eef_pos", "robot0_gripper_qpos"]


def run(*arguments):
    return cli.run(["import", *map(str, arguments)])


@pytest.fixture
def source(tmp_path):
    """A file of three episodes, and the folder to import into."""
    return write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays())


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data"


def test_every_array_comes_in_and_the_source_stays_as_it_was(source, out, capsys):
    before = source.read_bytes()
    arguments = ["robomimic", source, "--out", out, *KEYS, "--image-size", 0, "--success", "reward>0"]
    assert run(*arguments) == 0
    assert source.read_bytes() == before
    dataset = open_dataset(out)
    assert verify(out) == []
    given = robomimic_arrays()
    assert dataset.episode_count == len(given)
    for number, (episode, wanted) in enumerate(zip(dataset.episodes(), given, strict=True)):
        np.testing.assert_array_equal(episode.images, wanted["agentview_image"])
        pose = np.concatenate([wanted["robot0_eef_pos"], wanted["robot0_gripper_qpos"]], axis=1)
        np.testing.assert_array_equal(episode.proprio, pose.astype(np.float32))
        np.testing.assert_array_equal(episode.actions, wanted["actions"].astype(np.float32))
        np.testing.assert_array_equal(episode.signals["reward"], [0, *wanted["rewards"]])
        np.testing.assert_array_equal(episode.signals["success"], [0, *(wanted["rewards"] > 0)])
        assert episode.success == (number % 2 == 0)
        assert episode.options == {"source_episode": f"demo_{number}"}
    assert dataset.environment["id"] == "Lift"
    assert [(entry.kind, entry.hash) for entry in dataset.inputs] == [("file", hash_file(source))]
    said = capsys.readouterr().out
    assert "observations not taken: object, robot0_eye_in_hand_image" in said
    assert "arrays not taken: dones, states" in said
    assert "masks not taken (--mask): train, valid" in said
    assert "3 episodes, 11 steps, 2 successes" in said


def test_recorded_rewards_train_as_the_source_meant_them(source, out):
    assert run("robomimic", source, "--out", out, *KEYS) == 0
    view = relabel(out, "recorded", "sparse")
    assert (view.rewarded_steps, view.reward_sum, view.steps) == (2, 2.0, 11)
    rewards = [episode.rewards.tolist() for episode in labelled(open_dataset(out), view)]
    assert rewards == [episode["rewards"].tolist() for episode in robomimic_arrays()]


def test_states_come_in_where_no_images_are_wanted(source, out):
    assert run("robomimic", source, "--out", out, "--image", "none") == 0
    dataset = open_dataset(out)
    assert dataset.environment["observations"] == {"state": [15]}
    for episode, wanted in zip(dataset.episodes(), robomimic_arrays(), strict=True):
        parts = [wanted[key] for key in ("object", "robot0_eef_pos", "robot0_gripper_qpos")]
        np.testing.assert_array_equal(episode.state, np.concatenate(parts, axis=1).astype(np.float32))


def test_a_mask_chooses_episodes_in_the_order_of_their_numbers(tmp_path, out):
    source = write_robomimic(tmp_path / "many.hdf5", robomimic_arrays((2,) * 12))
    with h5py.File(source, "a") as file:
        file["mask/some"] = np.array(["demo_10", "demo_9", "demo_2"], dtype="S8")
    assert run("robomimic", source, "--out", out, *KEYS, "--mask", "some") == 0
    names = [episode.options["source_episode"] for episode in open_dataset(out).episodes()]
    assert names == ["demo_2", "demo_9", "demo_10"]


def test_without_next_observations_last_actions_are_dropped_and_counted(tmp_path, out, capsys):
    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays(), following=False)
    arguments = ["robomimic", source, "--out", out, *KEYS, "--image-size", 0, "--success", "reward>0"]
    assert run(*arguments) == 2 and not out.exists()
    said = " ".join(capsys.readouterr().err.split())
    assert "rewards of 2 and 2 successes would be gone, and 2 episodes would lose the only one" in said
    assert run(*arguments, "--last-frame", "drop") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 last actions were dropped" in said and "rewards of 2 and 2 successes" in said
    assert "1 episodes had no other action and were left out" in said
    given = [robomimic_arrays()[0], robomimic_arrays()[2]]
    for episode, wanted in zip(open_dataset(out).episodes(), given, strict=True):
        np.testing.assert_array_equal(episode.images, wanted["agentview_image"][:-1])
        np.testing.assert_array_equal(episode.actions, wanted["actions"][:-1].astype(np.float32))
        assert not episode.success and episode.truncated


def test_the_last_frame_may_be_repeated_instead(tmp_path, out):
    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays(), following=False)
    repeat = ["--last-frame", "repeat", "--success", "reward>0", "--image-size", 0]
    assert run("robomimic", source, "--out", out, *KEYS, *repeat) == 0
    dataset = open_dataset(out)
    assert (dataset.step_count, dataset.success_count) == (11, 2)
    for episode, wanted in zip(dataset.episodes(), robomimic_arrays(), strict=True):
        frames = wanted["agentview_image"]
        np.testing.assert_array_equal(episode.images, [*frames[:-1], frames[-2]])
        assert len(episode.proprio) == len(frames)


def test_measured_bounds_scale_actions_and_are_recorded(tmp_path, out):
    given = robomimic_arrays()
    for episode in given:
        episode["actions"] = episode["actions"] * 3 + 1
    source = write_robomimic(tmp_path / "demo.hdf5", given)
    assert run("robomimic", source, "--out", out, *KEYS, "--action-bounds", "measured") == 0
    every = np.concatenate([episode["actions"] for episode in given])
    dataset = open_dataset(out)
    scale = dataset.environment["action_scale"]
    np.testing.assert_allclose(scale["low"], every.min(0))
    np.testing.assert_allclose(scale["high"], every.max(0))
    stored = np.concatenate([episode.actions for episode in dataset.episodes()])
    assert stored.min(0).tolist() == [-1] * 7 and stored.max(0).tolist() == [1] * 7


def test_given_bounds_scale_actions_one_for_all_or_one_for_each(source, tmp_path):
    for name, low in (("one", ["-2"]), ("each", ["-2"] * 7)):
        arguments = ["--action-low", *low, "--action-high", *(["2"] * len(low))]
        assert run("robomimic", source, "--out", tmp_path / name, *KEYS, *arguments) == 0
        stored = np.concatenate([episode.actions for episode in open_dataset(tmp_path / name).episodes()])
        every = np.concatenate([episode["actions"] for episode in robomimic_arrays()])
        np.testing.assert_allclose(stored, every / 2, atol=1e-7)


def test_an_image_without_a_pose_is_said(source, out, capsys):
    assert run("robomimic", source, "--out", out, "--image", "agentview_image", "--proprio", "none") == 0
    assert "one constant 0 replaces it" in " ".join(capsys.readouterr().out.split())
    assert open_dataset(out).environment["proprio_absent"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Choose images with --image"),
        (["--image", "agentview_image"], "Choose the pose with --proprio"),
        (["--image", "side"], "there are no images 'side'; it has images agentview_image"),
        ([*KEYS, "robot0_joint"], "there is no vector 'robot0_joint'"),
        (["--image", "none", "--proprio", "none"], "neither images nor vectors"),
        ([*KEYS, "--mask", "test"], "there is no mask 'test'; there are: train, valid"),
        ([*KEYS, "--success", "reward>high"], "invalid success rule 'reward>high'"),
        ([*KEYS, "--success", "won"], "no array 'won' that marks success; it has: actions, dones"),
        ([*KEYS, "--action-low", "0", "--action-high", "0"], "each low below its high"),
        ([*KEYS, "--action-low", "0"], "one low and one high per"),
        ([*KEYS, "--action-bounds", "measured", "--action-low", "0"], "Choose one of the two"),
        ([*KEYS, "--episode-steps", "5"], "--episode-steps"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_and_names_what_there_is(options, said, source, out, capsys):
    assert run("robomimic", source, "--out", out, *options) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def change(path, field, value):
    with h5py.File(path, "a") as file:
        del file[field]
        if value is not None:
            file[field] = value


BROKEN = {
    "actions outside": ("data/demo_2/actions", np.full((6, 7), 1.79), "demo_2/actions", "--action-bounds"),
    "actions nan": ("data/demo_2/actions", np.full((6, 7), np.nan), "demo_2/actions", "repair"),
    "actions too few": (
        "data/demo_2/actions",
        np.zeros((5, 7)),
        "obs/robot0_eef_pos",
        "as many observations",
    ),
    "no actions": ("data/demo_2/actions", None, "data/demo_2/actions", "restore"),
    "rewards too few": ("data/demo_2/rewards", np.zeros(5), "demo_2/rewards", "another array"),
    "image gone": (
        "data/demo_2/obs/agentview_image",
        None,
        "obs/agentview_image",
        "--image robot0_eye_in_hand_image",
    ),
    "image float": ("data/demo_2/obs/agentview_image", np.zeros((6, 8, 8, 3)), "agentview_image", "drop"),
    "pose of another width": ("data/demo_2/obs/robot0_eef_pos", np.zeros((6, 4)), "eef_pos", "drop"),
    "pose jumps": ("data/demo_2/obs/robot0_eef_pos", np.zeros((6, 3)), "next_obs/robot0_eef_pos", "drop"),
    "next image too few": (
        "data/demo_2/next_obs/agentview_image",
        np.zeros((5, 8, 8, 3), np.uint8),
        "next_obs/agentview_image",
        "as many observations",
    ),
    "texts": ("data/demo_2/actions", np.array([b"a"] * 6), "data/demo_2/actions", "fixed size"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_episode_is_refused_by_file_field_rule_and_remedy(case, source, out, capsys):
    field, value, named, remedy = BROKEN[case]
    change(source, field, value)
    assert run("robomimic", source, "--out", out, *KEYS, "--image-size", 0) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert str(source) in said and named in said and remedy in said
    assert not out.exists()


@pytest.mark.parametrize("fault", ["in what is looked at first", "in an episode", "none"])
def test_an_import_lets_go_of_its_file_however_long_its_error_is_kept(fault, source, out):
    with h5py.File(source, "a") as file:
        if fault == "in what is looked at first":
            del file["data"]
        elif fault == "in an episode":
            del file["data/demo_2/actions"]
    kept = None
    try:
        run_import(source, out, RobomimicOptions(image="agentview_image", proprio=("robot0_eef_pos",)))
    except CogError as error:
        kept = error
    assert (kept is None) == (fault == "none")
    with h5py.File(source, "a") as file:  # refused while the file is open for reading
        file["mark"] = 1


def test_a_truncated_or_damaged_file_is_refused_without_a_crash(source, out, tmp_path):
    whole = source.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(40):
        damaged = bytearray(whole[: int(rng.integers(len(whole)))] if number % 2 else whole)
        for place in rng.integers(len(damaged), size=0 if number % 2 else 200):
            damaged[place] ^= 0xFF
        source.write_bytes(damaged)
        target = tmp_path / f"out{number}"
        code = run("robomimic", source, "--out", target, *KEYS)
        assert code in (0, 1, 2) and target.exists() == (code == 0)
        refused += code != 0
    assert refused >= 20  # every truncation


def test_a_file_that_is_none_of_robomimics_is_refused(tmp_path, out, capsys):
    for name, content in (("text.hdf5", b"no"), ("missing.hdf5", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert run("robomimic", tmp_path / name, "--out", out) == 1
        assert "cannot be read as HDF5" in " ".join(capsys.readouterr().err.split())
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["data/x"] = 1
    assert run("robomimic", tmp_path / "other.hdf5", "--out", out) == 1
    assert "this is not a robomimic file" in " ".join(capsys.readouterr().err.split())


def test_the_description_of_the_environment_is_read_as_json_alone(source, out, capsys):
    with h5py.File(source, "a") as file:
        file["data"].attrs["env_args"] = "__import__('os').system('true')"
    assert run("robomimic", source, "--out", out, *KEYS) == 0
    assert "the description of the environment (env_args) was left out" in " ".join(
        capsys.readouterr().out.split()
    )
    assert open_dataset(out).environment["env_args"] == {}


def test_the_origin_is_recorded(source, out):
    assert run("robomimic", source, "--out", out, *KEYS, "--colour", "bgr") == 0
    spec = json.loads((out / "manifest.json").read_text())["spec"]
    assert spec["origin"]["format"] == "robomimic" and spec["origin"]["files"] == [hash_file(source)]
    assert (spec["origin"]["image"], spec["colour"], spec["image_size"]) == ("agentview_image", "bgr", 48)
    first = next(open_dataset(out).episodes()).images
    assert first.shape[1:] == (48, 48, 3)


def test_a_plain_path_of_a_group_is_no_array(source):
    with ForeignFile(source) as file, pytest.raises(DataError, match="must be present, as an array"):
        file.read("data/demo_0")


def test_groups_that_are_no_episodes_by_their_name_are_said(tmp_path, out, capsys):
    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays())
    with h5py.File(source, "a") as file:
        file["data"].move("demo_1", "épisode 1")
    assert run("robomimic", source, "--out", out, *KEYS) == 0
    assert "groups of data not taken, since only demo_N are: épisode 1" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (lambda n: np.ones((n, 4), bool), "bool of shape (T, 4)"),
        (lambda n: np.ones((n, 2), complex), "(T, 2)"),
    ],
)
def test_a_key_that_is_no_vector_of_numbers_is_told_by_type_and_shape(rows, told, tmp_path, out, capsys):
    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays())
    with h5py.File(source, "a") as file:
        for demo in file["data"].values():
            for group in ("obs", "next_obs"):
                demo[f"{group}/touch"] = rows(len(demo["actions"]))
    assert run("robomimic", source, "--out", out, "--image", "none", "--proprio", "touch") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "'touch' is" in said and f"{told}, no vector of numbers" in said


def test_an_episode_that_a_mask_names_twice_is_taken_once_and_said(source, out, capsys):
    with h5py.File(source, "a") as file:
        file["mask/twice"] = np.array(["demo_2", "demo_0", "demo_2"], dtype="S8")
    assert run("robomimic", source, "--out", out, *KEYS, "--mask", "twice") == 0
    assert "the mask 'twice' names episodes twice; each was taken once" in " ".join(
        capsys.readouterr().out.split()
    )
    names = [episode.options["source_episode"] for episode in open_dataset(out).episodes()]
    assert names == ["demo_0", "demo_2"]


def test_an_attribute_that_is_no_number_marks_no_success_and_is_shown(source, out, capsys):
    with h5py.File(source, "a") as file:
        for demo in file["data"].values():
            demo.attrs["solved"] = "False"
    assert run("robomimic", source, "--out", out, *KEYS, "--success", "solved") == 2
    assert "its attribute is 'False', no number" in " ".join(capsys.readouterr().err.split())


def test_a_vector_named_twice_or_without_numbers_is_refused_as_such(source, out, capsys):
    with h5py.File(source, "a") as file:
        for demo in file["data"].values():
            for group in ("obs", "next_obs"):
                demo[f"{group}/none"] = np.zeros((len(demo["actions"]), 0))
    for keys, told in (
        (["robot0_eef_pos", "robot0_eef_pos"], "the vector 'robot0_eef_pos' is named twice"),
        (["robot0_eef_pos", "none"], "'none' is float64 of shape (T, 0), no vector of numbers"),
    ):
        assert run("robomimic", source, "--out", out, "--image", "none", "--proprio", *keys) == 2
        assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("row", [0, 1, 2, 3, 4])
def test_a_number_that_is_not_finite_in_a_picture_is_named_by_its_row(row, tmp_path, out, capsys):
    [episode] = robomimic_arrays((4,))
    pictures = episode["agentview_image"].astype(np.float32)
    pictures[row, 0, 0, 0] = np.nan
    episode["agentview_image"] = pictures
    source = write_robomimic(tmp_path / "demo.hdf5", [episode])
    assert run("robomimic", source, "--out", out, *KEYS, "--image-size", 0) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "finite" in said
    named = {0: "row 0", 1: "row 1", 2: "step 2", 3: "step 3", 4: "step 3"}  # of `next_obs`, the last
    assert named[row] in said


def test_stacked_frames_are_called_no_camera_with_their_shape(tmp_path, out, capsys):
    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays())
    with h5py.File(source, "a") as file:
        for demo in file["data"].values():
            for group in ("obs", "next_obs"):
                demo[f"{group}/stack"] = np.zeros((len(demo["actions"]), 2, 8, 8, 3), np.uint8)
    assert run("robomimic", source, "--out", out, "--image", "stack", "--proprio", "none") == 2
    assert "'stack' is no camera but uint8 of shape (T, 2, 8, 8, 3)" in " ".join(
        capsys.readouterr().err.split()
    )
