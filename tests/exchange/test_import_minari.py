"""A Minari dataset comes in array by array; what cannot be read to the bit is refused by name."""

import json

import h5py
import numpy as np
import pytest

from cog import cli
from cog.core.files import hash_file
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from tests.helpers.foreign import minari_arrays, write_minari

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


def encoded(steps):
    return {"data": np.zeros((steps + 1, 631), np.uint8)}


def ragged(steps):
    return {"shape": (steps + 1,), "dtype": h5py.vlen_dtype(np.uint8)}


@pytest.mark.parametrize("form", [encoded, ragged])
def test_jpeg_images_are_refused_by_name_unless_they_are_not_wanted(form, source, out, capsys):
    replace(source, "observations/camera", form)
    metadata(source, jpeg_encoding=True)
    for image in ([], ["--image", "camera"]):
        assert run(source, "--out", out, *KEYS, *image) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "observations/camera': holds images as JPEG" in said and "jpeg_encoding=False" in said
    assert not out.exists()
    assert run(source, "--out", out, *KEYS, "--image", "none") == 0
    assert open_dataset(out).environment["observations"] == {"state": [6]}


def test_other_forms_of_minari_data_are_refused_by_name(source, out, capsys):
    metadata(source, data_format="arrow")
    assert run(source, "--out", out, *KEYS) == 1
    assert "field 'data_format': must be 'hdf5', found 'arrow'" in " ".join(capsys.readouterr().err.split())
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
