"""A Minari dataset comes in array by array; what is lossy or no picture is named."""

import io
import json

import h5py
import numpy as np
import pytest
from PIL import Image

from cog import cli
from cog.core.files import hash_file
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from tests.helpers import foreign
from tests.helpers.foreign import jpegs, minari_arrays, write_minari

KEYS = ["--proprio", "arm/joints", "arm/force", "--image-size", "0"]


def run(*arguments):
    return cli.run(["import", "minari", *map(str, arguments)])


@pytest.fixture
def source(tmp_path):
    return write_minari(tmp_path / "arm-v0", minari_arrays())


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data"


def test_every_array_comes_in_with_seeds_and_ends(source, out, frozen):
    before = frozen(source)
    assert run(source, "--out", out, *KEYS, "--success", "infos/success") == 0
    assert frozen(source) == before and verify(out) == []
    dataset = open_dataset(out)
    assert dataset.environment["id"] == "lab/arm-v0"
    for number, (episode, wanted) in enumerate(zip(dataset.episodes(), minari_arrays(), strict=True)):
        np.testing.assert_array_equal(episode.images, wanted["camera"])
        pose = np.concatenate([wanted["arm/joints"], wanted["arm/force"]], axis=1)
        np.testing.assert_array_equal(episode.proprio, pose.astype(np.float32))
        np.testing.assert_array_equal(episode.actions, wanted["actions"])
        np.testing.assert_array_equal(episode.signals["reward"], np.float32([0, *wanted["rewards"]]))
        np.testing.assert_array_equal(episode.signals["success"], wanted["success"])
        assert (episode.seed, episode.success) == (40 + number, True)
        assert (episode.terminated, episode.truncated) == (number % 2 == 0, number % 2 == 1)
    files = [source / "data/metadata.json", source / "data/main_data.hdf5"]
    assert [entry.hash for entry in dataset.inputs] == [hash_file(file) for file in files]


def test_the_folder_of_the_data_is_taken_as_well(source, out):
    assert run(source / "data", "--out", out, *KEYS) == 0
    assert open_dataset(out).episode_count == 2


def test_observations_that_are_one_vector_become_states(source, out):
    states = [
        np.random.default_rng(n).normal(size=(len(e["actions"]) + 1, 3))
        for n, e in enumerate(minari_arrays())
    ]
    with h5py.File(source / "data/main_data.hdf5", "a") as file:
        for number, state in enumerate(states):
            del file[f"episode_{number}/observations"]
            file[f"episode_{number}/observations"] = state
    assert run(source, "--out", out) == 0
    for episode, state in zip(open_dataset(out).episodes(), states, strict=True):
        np.testing.assert_array_equal(episode.state, state.astype(np.float32))


def metadata(source, **values):
    path = source / "data/metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def replace(source, field, value):
    with h5py.File(source / "data/main_data.hdf5", "a") as file:
        for number in range(2):
            del file[f"episode_{number}/{field}"]
            steps = len(file[f"episode_{number}/rewards"])
            if value is not None:
                file.create_dataset(f"episode_{number}/{field}", **value(steps))


FORMS = ("hdf5", "arrow", "parquet")


def decoded(data):
    return np.array(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("jpeg", [False, True])
def test_every_storage_of_minari_is_read_coded_or_not(jpeg, form, tmp_path, out, capsys):
    given = minari_arrays(size=40)
    source = write_minari(tmp_path / "arm-v0", given, data_format=form, jpeg_encoding=jpeg)
    assert run(source, "--out", out, *KEYS, "--success", "infos/success") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert ("camera: decoded from JPEG, which keeps the recorded pictures approximately" in text) == jpeg
    dataset = open_dataset(out)
    assert verify(out) == []
    for number, (episode, wanted) in enumerate(zip(dataset.episodes(), given, strict=True)):
        shown = [decoded(data) for data in jpegs(wanted["camera"])] if jpeg else wanted["camera"]
        np.testing.assert_array_equal(episode.images, shown)
        pose = np.concatenate([wanted["arm/joints"], wanted["arm/force"]], axis=1)
        np.testing.assert_array_equal(episode.proprio, pose.astype(np.float32))
        np.testing.assert_array_equal(episode.actions, wanted["actions"])
        np.testing.assert_array_equal(episode.signals["reward"], np.float32([0, *wanted["rewards"]]))
        np.testing.assert_array_equal(episode.signals["success"], wanted["success"])
        assert (episode.seed, episode.success) == (40 + number, True)
        assert (episode.terminated, episode.truncated) == (number % 2 == 0, number % 2 == 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("spaces", [False, True])
def test_a_coded_plane_is_neither_a_state_nor_a_picture(spaces, still, form, tmp_path, out, capsys):
    """The files of a still plane have one length, so that they look like an array of numbers."""
    given = minari_arrays(size=40)
    for episode in given:
        plane = np.random.default_rng(3).integers(0, 9, (40, 40), dtype=np.uint8)
        planes = np.stack([plane] * len(episode["camera"]))
        episode["camera"] = planes if still else planes * (np.arange(len(planes)) > 1)[:, None, None]
    facts = {} if spaces else {"observation_space": "null"}
    source = write_minari(tmp_path / "arm-v0", given, data_format=form, jpeg_encoding=True, **facts)
    assert run(source, "--out", out) == 0
    assert "camera is no colour picture but a plane without colour, coded as JPEG" in capsys.readouterr().out
    assert open_dataset(out).environment["observations"] == {"state": [6]}
    for option in (["--image", "camera", "--proprio", "none"], ["--proprio", "camera"]):
        assert run(source, "--out", tmp_path / "other", *option) == 2
        assert "'camera'" in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
def test_a_coded_picture_that_is_damaged_is_named(form, tmp_path, out, capsys, monkeypatch):
    given = minari_arrays(size=40)
    monkeypatch.setattr(foreign, "jpegs", lambda pictures: [b"no picture"] * len(pictures))
    source = write_minari(tmp_path / "arm-v0", given, data_format=form, jpeg_encoding=True)
    assert run(source, "--out", out, *KEYS, "--image", "camera") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "observations/camera': must hold a colour JPEG for every frame" in said and not out.exists()


@pytest.mark.parametrize("form", FORMS)
def test_episodes_without_a_step_are_left_out_and_counted(form, tmp_path, out, capsys):
    given = minari_arrays((3, 0, 5))
    source = write_minari(tmp_path / "arm-v0", given, data_format=form)
    assert run(source, "--out", out, *KEYS, "--action-bounds", "measured") == 0
    assert "1 episodes without a step were left out" in capsys.readouterr().out
    found = [episode.proprio[:, 0] for episode in open_dataset(out).episodes()]
    for one, wanted in zip(found, (given[0], given[2]), strict=True):
        np.testing.assert_array_equal(one, wanted["arm/joints"][:, 0].astype(np.float32))


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_damaged_or_missing_table_is_refused_by_file(form, tmp_path, out, capsys):
    source = write_minari(tmp_path / "arm-v0", minari_arrays(), data_format=form)
    path = source / f"data/1/part-0.{form}"
    data = path.read_bytes()
    for spoilt in (data[: len(data) // 2], None):
        path.write_bytes(spoilt) if spoilt is not None else path.unlink()
        assert run(source, "--out", out, *KEYS) == 1
        assert f"data/1/part-0.{form}" in " ".join(capsys.readouterr().err.split()) and not out.exists()


def test_the_layout_before_minari_05_is_named(source, out, capsys):
    (source / "data/metadata.json").unlink()
    assert run(source, "--out", out, *KEYS) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "Minari before 0.5 kept the description in main_data.hdf5" in said and "damaged" not in said


def test_actions_of_one_number_are_vectors_of_one(source, out):
    replace(source, "actions", lambda steps: {"data": np.linspace(-1, 1, steps)})
    assert run(source, "--out", out, *KEYS) == 0
    for episode in open_dataset(out).episodes():
        expected = np.linspace(-1, 1, len(episode)).astype(np.float32)[:, None]
        np.testing.assert_array_equal(episode.actions, expected)


def test_other_forms_of_minari_data_are_refused_by_name(source, out, capsys):
    metadata(source, data_format="zarr")
    assert run(source, "--out", out, *KEYS) == 1
    assert "must be 'hdf5', 'arrow' or 'parquet', found 'zarr'" in " ".join(capsys.readouterr().err.split())
    metadata(source, data_format="hdf5", total_episodes=3)
    assert run(source, "--out", out, *KEYS) == 1
    assert "must contain the 3 episodes" in " ".join(capsys.readouterr().err.split())
    (source / "data/metadata.json").write_text("[]")
    assert run(source, "--out", out, *KEYS) == 1
    assert "metadata.json" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_discrete_actions_are_refused(source, out, capsys):
    replace(source, "actions", lambda steps: {"data": np.zeros(steps, np.int64)})
    assert run(source, "--out", out, *KEYS) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "field 'episode_0/actions': must be continuous vectors" in said and not out.exists()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rewards", None, "field 'episode_0/rewards': must be present"),
        ("terminations", None, "field 'episode_0/terminations': must be present"),
        ("observations/camera", lambda n: {"data": np.zeros((n, 6, 6, 3), np.uint8)}, "must have 4 rows"),
        ("actions", lambda n: {"data": np.full((n, 3), 5.0)}, "--action-bounds measured"),
        ("infos/success", None, "no array 'infos/success' that marks success"),
    ],
)
def test_a_broken_dataset_is_refused(field, value, said, source, out, capsys):
    with h5py.File(source / "data/main_data.hdf5", "a") as file:
        for number in range(2):
            steps = len(file[f"episode_{number}/actions"])
            del file[f"episode_{number}/{field}"]
            if value is not None:
                file.create_dataset(f"episode_{number}/{field}", **value(steps))
    assert run(source, "--out", out, *KEYS, "--success", "infos/success") in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


@pytest.mark.parametrize("option", [["--mask", "x"], ["--episode-steps", "5"], ["--last-frame", "repeat"]])
def test_options_without_meaning_for_minari_are_refused(option, source, out, capsys):
    assert run(source, "--out", out, *KEYS, *option) == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ([-2.0] * 3, [2.0] * 3, "bounds of -2 to 2 (--action-low and --action-high)"),
        ([-1.0, -1.0, 0.0], [1.0] * 3, "bounds of 0: -1 to 1, 1: -1 to 1, 2: 0 to 1"),
        ([-1.0] * 3, [1.0] * 3, None),
        ([-np.inf] * 3, [np.inf] * 3, None),
        (-2.0, 2.0, "bounds of -2 to 2"),
        (["a"], [1.0], None),
    ],
)
def test_other_bounds_that_the_action_space_declares_are_said(tmp_path, out, capsys, low, high, said):
    space = json.dumps({"type": "Box", "shape": [3], "low": low, "high": high})
    source = write_minari(tmp_path / "declared", minari_arrays(), action_space=space)
    assert run(source, "--out", out, *KEYS) == 0
    found = " ".join(capsys.readouterr().out.split())
    assert (said in found) if said else ("declares" not in found)
