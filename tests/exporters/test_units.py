"""An export writes the robot's actions or says that it does not, and says what another tool would guess."""

import json
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog import cli
from cog.datasets.action_scale import ActionScale
from cog.datasets.exporters import FORMATS
from cog.datasets.exporters.run import export
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.writer import DatasetWriter
from tests.exporters.test_export import KINDS, NEEDED, origin_of, target

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where fsync costs nothing


def exported_actions(kind, path):
    """The actions (T, A) of the first episode."""
    if kind == "lerobot":
        from pyarrow import parquet

        rows = parquet.read_table(path / "data/chunk-000/file-000.parquet").to_pydict()["action"]
        return np.array(rows, np.float32).reshape(len(rows), -1)
    places = {
        "robomimic": "data/demo_0/actions",
        "d3rlpy": "actions_0",
        "minari": "episode_0/actions",
    }
    with h5py.File(path / "data/main_data.hdf5" if kind == "minari" else path) as file:
        return file[places[kind]][()]


def write_arm(folder, actions, scale, images=False):
    """One episode with these actions of the robot."""
    frames = len(actions) + 1
    seen = {"images": np.zeros((frames, 8, 8, 3), np.uint8)} if images else {"state": np.ones((frames, 2))}
    with DatasetWriter(folder, action_scale=scale, image_size=None) as writer:
        writer.add_episode(actions, **seen, rewards=np.arange(len(actions)))
    relabel(folder, "recorded", "r", terminate=False)
    return open_merge(folder)


@st.composite
def arms(draw):
    """Bounds of one to four components of any size and sign, and actions (T, A) within them."""
    parts = draw(st.integers(1, 4))
    numbers = st.floats(-1e4, 1e4, width=32)
    low = np.array(draw(st.lists(numbers, min_size=parts, max_size=parts)))
    spans = st.sampled_from([1e-2, 0.08, 1.0, 3.14, 180.0, 2e4])
    high = low + np.array(draw(st.lists(spans, min_size=parts, max_size=parts)))
    shares = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]), min_size=parts, max_size=parts)
    rows = draw(st.lists(shares, min_size=2, max_size=5))
    return ActionScale(tuple(low), tuple(high)), low + np.array(rows) * (high - low)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arm=arms(), images=st.booleans())
def test_what_the_robot_did_comes_out_again_in_its_units_or_in_the_unit_range(kind, arm, images):
    scale, robot = arm
    low, high = np.array(scale.low), np.array(scale.high)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        merge = write_arm(Path(name) / "d", robot, scale, images)
        for units in ("robot", "unit"):
            out = target(kind, Path(name) / units)
            result = export(FORMATS[kind].load()(**NEEDED.get(kind, {}), units=units), merge, out)
            found = exported_actions(kind, out)
            assert found.dtype == np.float32 and found.shape == robot.shape
            wanted = robot if units == "robot" else (robot - low) / (high - low) * 2 - 1
            size = np.maximum(np.abs(low), np.abs(high)) if units == "robot" else 1.0
            assert (np.abs(found - wanted) <= 4e-7 * (size + high - low)).all()
            assert f"--units {'unit' if units == 'robot' else 'robot'}" in " ".join(result.notes)
            assert origin_of(kind, out)["action_units"] == units
            if kind == "minari" and units == "robot":
                space = json.loads(json.loads((out / "data/metadata.json").read_text())["action_space"])
                assert (found >= np.float32(space["low"])).all() and (
                    found <= np.float32(space["high"])
                ).all()


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_scale_both_choices_write_the_same_bytes_and_say_nothing(kind, tmp_path, frozen):
    merge = write_arm(tmp_path / "d", np.array([[0.25, -1.0], [0.5, 1.0]]), None)
    for units in ("robot", "unit"):
        out = target(kind, tmp_path / units)
        assert not export(FORMATS[kind].load()(**NEEDED.get(kind, {}), units=units), merge, out).notes
        assert "action_units" not in origin_of(kind, out)
    assert frozen(tmp_path / "robot") == frozen(tmp_path / "unit")


def test_the_command_says_in_which_units_it_writes(tmp_path, capsys):
    write_arm(tmp_path / "d", np.array([[-90.0], [45.0], [90.0]]), ActionScale((-90.0,), (90.0,)))
    for units, said in (
        ("robot", "in the robot's units, from (-90) to (90)"),
        ("unit", "in [-1, 1], where -1 is (-90)"),
    ):
        out = str(tmp_path / f"{units}.hdf5")
        assert cli.run(["export", "robomimic", str(tmp_path / "d"), "--out", out, "--units", units]) == 0
        assert said in " ".join(capsys.readouterr().out.split())
    assert exported_actions("robomimic", tmp_path / "robot.hdf5").ravel().tolist() == [-90, 45, 90]


@settings(max_examples=40, deadline=None)
@given(actions=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=1, max_size=6))
def test_whole_numbers_carry_a_warning_for_d3rlpy_which_would_take_them_for_choices(actions):
    values = np.array(actions)[:, None]
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        merge = write_arm(Path(name) / "d", values, None)
        result = export(FORMATS["d3rlpy"].load()(), merge, Path(name) / "d.h5")
    warned = any("ActionSpace.CONTINUOUS" in note for note in result.notes)
    assert warned == bool(np.all(values.astype(np.int32) == values))  # d3rlpy's own question


def test_a_tuple_of_observations_is_said_and_a_pose_that_is_absent_is_not_written(make_dataset, tmp_path):
    relabel(make_dataset("both").path, "zero", "none")
    options = FORMATS["d3rlpy"].load()
    (note,) = export(options(), open_merge(tmp_path / "both"), tmp_path / "both.h5").notes
    assert "--observation image or --observation proprio" in note
    assert not export(
        options(observation="image"), open_merge(tmp_path / "both"), tmp_path / "image.h5"
    ).notes
    merge = write_arm(tmp_path / "blind", np.array([[0.5], [0.25]]), None, images=True)
    assert not export(options(), merge, tmp_path / "blind.h5").notes
    with h5py.File(tmp_path / "blind.h5") as file:
        assert file["observations_0"].shape == (2, 3, 8, 8)
    assert open_dataset(tmp_path / "blind").environment["proprio_absent"] is True


@pytest.mark.parametrize("kind", ["robomimic", "lerobot", "minari"])
@pytest.mark.parametrize("units", ["unit", "robot"])
def test_bounds_that_an_export_names_are_said_at_import(kind, units, tmp_path, capsys):
    scale = ActionScale((-2.0, -4.0), (2.0, 0.5))
    with DatasetWriter(tmp_path / "data", action_scale=scale) as writer:
        writer.add_episode(np.zeros((3, 2)), state=np.eye(4), success=True)
    relabel(tmp_path / "data", "recorded_success", "s")
    out = target(kind, tmp_path / "e")
    more = [f"--{name}={value}" for name, value in NEEDED.get(kind, {}).items()]
    export = ["export", kind, f"{tmp_path / 'data'}@s", "--out", str(out), "--units", units, *more]
    assert cli.run(export) == 0
    capsys.readouterr()
    bounds = ["--action-low", "-2", "-4", "--action-high", "2", "0.5"] if units == "robot" else []
    assert cli.run(["import", kind, str(out), "--out", str(tmp_path / "back"), *bounds]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert ("which are not taken over" if units == "unit" else "(--action-low and --action-high)") in told
    names = "declares bounds of" if (kind, units) == ("minari", "robot") else "names the robot's bounds, "
    assert names in told
    if kind != "minari" or units == "unit":
        assert "[-2.0, -4.0] to [2.0, 0.5]" in told
