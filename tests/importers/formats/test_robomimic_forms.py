"""Odd episodes, pictures and attributes of robomimic files are read, or told as what they are."""

import json
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog import cli
from cog.datasets.action_scale import ActionScale
from cog.datasets.exporters.robomimic import RobomimicExport
from cog.datasets.exporters.run import export
from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.importers.run import ImportConfig, run_import
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.writer import DatasetWriter

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
STEPS = 4
CAMERA = np.arange((STEPS + 1) * 8 * 8 * 3).reshape(STEPS + 1, 8, 8, 3).astype(np.uint8)
STATE = np.linspace(-1, 1, (STEPS + 1) * 2).reshape(STEPS + 1, 2)


def add_demo(data, name="demo_0", steps=STEPS, *, camera=None, following=True):
    """An episode of states, and of pictures if given, (T + 1, ...) of any type."""
    demo = data.create_group(name)
    demo["actions"] = np.linspace(-0.9, 0.9, steps * 2).reshape(steps, 2)
    demo["rewards"] = (np.arange(steps) == steps - 1).astype(float)
    seen = {"q": STATE[: steps + 1]} | ({} if camera is None else {"cam": camera[: steps + 1]})
    for key, values in seen.items():
        demo[f"obs/{key}"] = values[:-1]
        if following:
            demo[f"next_obs/{key}"] = values[1:]
    return demo


def import_file(tmp_path, capsys, make, *options):
    """Exit code, and what was said, of the import of a file that `make(data)` fills."""
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        make(file.create_group("data"))
    code = cli.run(
        ["import", "robomimic", str(tmp_path / "d.hdf5"), "--out", str(tmp_path / "out"), *options]
    )
    said = capsys.readouterr()
    assert (tmp_path / "out").exists() == (code == 0)
    return code, " ".join((said.out + said.err).split())


def episodes_of(tmp_path):
    return list(open_dataset(tmp_path / "out").episodes())


BOTH = ["--image", "cam", "--proprio", "q", "--image-size", "0"]
GREY = np.repeat(CAMERA[..., :1], 3, axis=-1)
READ = {
    "floats of whole levels": (CAMERA / 255, CAMERA, "multiplied by 255"),
    "floats to 255": (CAMERA.astype("f4"), CAMERA, "stored as uint8"),
    "channels first": (np.moveaxis(CAMERA, 3, 1), CAMERA, "from the first axis to the last"),
    "grey": (CAMERA[..., 0], GREY, "repeated three times"),
    "opaque": (np.concatenate([CAMERA, np.full_like(CAMERA[..., :1], 255)], 3), CAMERA, "left out"),
}


@pytest.mark.parametrize("case", READ)
def test_pictures_of_another_form_are_converted_exactly_and_it_is_said(case, tmp_path, capsys):
    stored, wanted, said = READ[case]
    code, text = import_file(tmp_path, capsys, lambda data: add_demo(data, camera=stored), *BOTH)
    assert code == 0 and said in text
    np.testing.assert_array_equal(episodes_of(tmp_path)[0].images, wanted)


REFUSED = {
    "fractions": (np.linspace(0, 0.7, CAMERA.size).reshape(CAMERA.shape), "multiples of 1/255"),
    "16 bits": (CAMERA.astype(np.uint16) * 257, "uint16"),
    "see-through": (np.concatenate([CAMERA, CAMERA[..., :1]], 3), "fourth channel"),
    "a mask": (CAMERA > 9, "a mask"),
    "depth": (CAMERA[..., 0].astype("f4"), "depth map"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_pictures_that_cannot_be_converted_are_named_with_type_and_wish(case, tmp_path, capsys):
    stored, said = REFUSED[case]
    code, text = import_file(tmp_path, capsys, lambda data: add_demo(data, camera=stored), *BOTH)
    assert code != 0 and "cam" in text and said in text and "there are no images" not in text


def as_attribute(value):
    def make(data):
        add_demo(data).attrs["success"] = value

    return make


@pytest.mark.parametrize("value", [True, False, 1, 0, 0.5, np.bool_(True)])
def test_success_may_be_an_attribute_of_the_episode(value, tmp_path, capsys):
    code, text = import_file(tmp_path, capsys, as_attribute(value), "--success", "success")
    assert code == 0 and f"{int(value > 0)} successes" in text
    assert episodes_of(tmp_path)[0].signals["success"].tolist() == [0] * STEPS + [value > 0]


def test_a_text_that_should_mark_success_is_refused(tmp_path, capsys):
    code, text = import_file(tmp_path, capsys, as_attribute("yes"), "--success", "success")
    assert code == 2 and "no array 'success' that marks success" in text and "its attribute is 'yes'" in text


def imported(make):
    """The dataset's environment and episodes, from a file that `make(data)` fills, in memory."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        with h5py.File(Path(name) / "d.hdf5", "w") as file:
            make(file.create_group("data"))
        dataset = run_import(Path(name) / "d.hdf5", Path(name) / "out", RobomimicOptions()).dataset
        return dataset.environment, list(dataset.episodes())


@settings(max_examples=20, deadline=None)
@given(said=st.one_of(st.none(), st.integers(-2, 7), st.just(2.0)), actual=st.integers(1, 4))
def test_num_samples_says_how_many_rows_count_as_it_does_for_robomimic(said, actual):
    def make(data):
        demo = add_demo(data, steps=actual)
        add_demo(data, "demo_1")
        if said is not None:
            demo.attrs["num_samples"] = said

    counts = isinstance(said, int) and said >= 0
    wanted = min(said, actual) if counts else actual
    _, episodes = imported(make)
    assert [len(episode) for episode in episodes] == ([wanted] if wanted else []) + [STEPS]
    np.testing.assert_array_equal(episodes[0].state, STATE[: len(episodes[0]) + 1].astype(np.float32))


DESCRIPTIONS = st.one_of(
    st.sampled_from(['{"env_name": "Lift", "noise": NaN}', "", "{", "[1]", "null", "[" * 100_000, "7", "\\"]),
    st.text(st.characters(codec="ascii", min_codepoint=32), max_size=30),
    st.integers(),
    st.binary(min_size=1, max_size=8).filter(lambda data: not data.endswith(b"\0")),
)


@settings(max_examples=25, deadline=None)
@given(description=DESCRIPTIONS)
def test_whatever_describes_the_environment_is_no_reason_to_refuse_the_data(description):
    def make(data):
        add_demo(data)
        value = np.bytes_(description) if isinstance(description, bytes) else description
        data.attrs["env_args"] = value % 2**60 if isinstance(value, int) else value

    assert isinstance(imported(make)[0]["env_args"], dict)


def test_a_description_that_is_sound_is_kept(tmp_path, capsys):
    def make(data):
        add_demo(data)
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "deep": {"a": [1]}})

    code, text = import_file(tmp_path, capsys, make)
    assert code == 0 and "env_args" not in text
    assert open_dataset(tmp_path / "out").environment["env_args"] == {"env_name": "Lift", "deep": {"a": [1]}}


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(STEPS,), (STEPS, 1)])
def test_one_number_is_a_vector_of_one_component(kind, shape, tmp_path, capsys):
    values = np.linspace(-0.5, 0.5, STEPS).astype(kind)

    def make(data):
        demo = add_demo(data)
        del demo["actions"]
        demo["actions"] = values.reshape(shape)
        demo["obs/width"], demo["next_obs/width"] = values.reshape(shape), np.roll(values, -1).reshape(shape)

    code, _ = import_file(tmp_path, capsys, make, "--proprio", "width", "q")
    (episode,) = episodes_of(tmp_path)
    assert code == 0 and episode.actions.shape == (STEPS, 1) and episode.state.shape == (STEPS + 1, 3)
    np.testing.assert_array_equal(episode.actions[:, 0], values.astype(np.float32))
    np.testing.assert_array_equal(episode.state[:-1, 0], values.astype(np.float32))


@pytest.mark.parametrize("shape", [(STEPS,), (STEPS, 1), (STEPS, 2)])
def test_whole_numbers_are_continuous_actions_if_they_are_vectors_and_choices_if_not(shape, tmp_path, capsys):
    def make(data):
        demo = add_demo(data)
        del demo["actions"]
        demo["actions"] = np.ones(shape, np.int64)

    code, text = import_file(tmp_path, capsys, make)
    taken = shape == (STEPS, 2)
    assert code == (0 if taken else 1)
    assert taken or (f"found int64 of shape {shape}" in text and "store them as floats" in text)


def test_one_observation_more_than_actions_is_the_one_after_the_last(tmp_path, capsys):
    def make(data):
        demo = add_demo(data, following=False)
        del demo["obs/q"]
        demo["obs/q"] = STATE

    code, text = import_file(tmp_path, capsys, make)
    assert code == 0 and f"{STEPS} steps" in text and "dropped" not in text
    np.testing.assert_array_equal(episodes_of(tmp_path)[0].state, STATE.astype(np.float32))


def empty_first(data):
    data.create_group("demo_0")["actions"] = np.zeros((0, 2))
    add_demo(data, "demo_1")


def raw(data):
    made = data.create_group("demo_1")
    made["actions"], made["states"] = np.zeros((STEPS, 7)), np.ones((STEPS, 32))


def one_without(data):
    add_demo(data, "demo_0")
    raw(data)


def without_next(data):
    add_demo(data)["obs/instruction"] = np.ones((STEPS, 5))


def not_finite(data):
    demo = add_demo(data)
    demo["obs/q"][2], demo["next_obs/q"][1] = np.nan, np.nan


def empty_mask(data):
    add_demo(data)
    data.file["mask/valid"], data.file["mask/train"] = np.array([], "S8"), np.array(["demo_0"], "S8")


def other_names(data):
    add_demo(data, "episode_0")


TOLD = {
    "raw robosuite": (raw, [], 1, ["no observations, only actions, states", "dataset_states_to_obs.py"]),
    "one without": (one_without, [], 1, ["demo_1 has none, the other", "--mask"]),
    "no next": (without_next, [], 1, ["obs has 'instruction', but next_obs does not", "--last-frame drop"]),
    "no next, not taken": (without_next, ["--proprio", "q"], 0, ["observations not taken: instruction"]),
    "not a number": (not_finite, [], 1, ["must be finite, found nan in row 2"]),
    "empty mask": (empty_mask, ["--mask", "valid"], 2, ["names no episode", "another mask (train)"]),
    "other names": (other_names, [], 1, ["not a robomimic file (found episode_0)", "DatasetWriter"]),
    "no step first": (empty_first, [], 0, ["1 episodes without a step were left out (demo_0)"]),
}


@pytest.mark.parametrize("case", TOLD)
def test_odd_files_are_told_as_what_they_are(case, tmp_path, capsys):
    make, options, wanted, words = TOLD[case]
    code, text = import_file(tmp_path, capsys, make, *options)
    assert code == wanted and all(word in text for word in words) and "damaged" not in text, text


@settings(max_examples=15, deadline=None)
@given(
    width=st.sampled_from([1, 3]),
    state=st.sampled_from([1, 2]),
    units=st.sampled_from(["robot", "unit"]),
    ended=st.booleans(),
)
def test_what_is_exported_comes_back_in_its_units_with_its_end(width, state, units, ended):
    bounds = ActionScale((-30.0,) * width, (60.0,) * width)
    robot = np.linspace(-30, 60, STEPS)[:, None] * np.ones(width)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        root = Path(name)
        with DatasetWriter(root / "d", action_scale=bounds) as writer:
            writer.add_episode(robot, state=STATE[:, :state], rewards=np.ones(STEPS), terminated=ended)
        relabel(root / "d", "recorded", "r", terminate=False)
        export(RobomimicExport(units=units), open_merge(root / "d"), root / "e.hdf5")
        given = ImportConfig(action_low=bounds.low, action_high=bounds.high)
        config = given if units == "robot" else ImportConfig()
        (back,) = run_import(root / "e.hdf5", root / "back", RobomimicOptions(), config).dataset.episodes()
        (first,) = open_dataset(root / "d").episodes()
    np.testing.assert_allclose(back.actions, first.actions, atol=1e-6)
    np.testing.assert_array_equal(back.state, first.state)
    assert (back.terminated, back.truncated) == (ended, not ended)


@pytest.mark.parametrize("said", [-1, -7, 2.5, "all"])
def test_num_samples_that_counts_no_rows_is_told(said, tmp_path, capsys):
    def make(data):
        add_demo(data)
        add_demo(data, "demo_1").attrs["num_samples"] = said

    code, text = import_file(tmp_path, capsys, make)
    assert code == 0 and f"num_samples of 1 episodes is no count of rows (demo_1: {said}); all were" in text
    assert [len(one) for one in episodes_of(tmp_path)] == [STEPS, STEPS]


def coded(dtype):
    """A demo whose camera is one string of bytes a step."""

    def make(data):
        demo = add_demo(data)
        stored = demo.create_dataset("obs/image", (STEPS,), dtype)
        for step in range(STEPS):
            row = np.arange(1, 6 + step, dtype=np.uint8)
            stored[step] = row if h5py.check_vlen_dtype(dtype) == np.uint8 else np.void(row.tobytes()[:5])

    return make


@pytest.mark.parametrize("dtype", [h5py.vlen_dtype(np.uint8), np.dtype("V5")])
def test_a_camera_of_byte_strings_is_told_as_such(dtype, tmp_path, capsys):
    code, text = import_file(tmp_path, capsys, coded(dtype), "--image", "image")
    assert code == 2 and "'image' must be colour pictures (H, W, 3), found byte strings" in text
    assert "ecode it to (T, H, W, 3) uint8" in text
    code, text = import_file(tmp_path, capsys, coded(dtype))
    assert code == 0 and "image is no colour picture but byte strings (encoded pictures?)" in text


def test_features_of_one_number_are_listed_and_taken_where_named_or_alone(tmp_path, capsys):
    def make(data, alone=False):
        demo = add_demo(data)
        demo["obs/g"], demo["next_obs/g"] = np.arange(STEPS) / 10, np.arange(1, STEPS + 1) / 10
        if alone:
            del demo["obs/q"]

    code, text = import_file(tmp_path, capsys, make, "--proprio", "x")
    assert code == 2 and "vectors q, and single numbers g that --proprio may name" in text
    code, text = import_file(tmp_path, capsys, lambda data: make(data, alone=True))
    np.testing.assert_allclose(episodes_of(tmp_path)[0].state[:, 0], np.arange(STEPS + 1) / 10)
