"""Actions mean the same after an import: ranges are told, and switches of any two values become -1 and 1."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog import cli
from cog.datasets.action_scale import FACT, ActionScale
from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.importers.run import ImportConfig, run_import
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError, UsageError

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def write_actions(path, episodes):
    """A robomimic file of states and these actions."""
    with h5py.File(path, "w") as file:
        for number, actions in enumerate(episodes):
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"] = actions
            demo["obs/q"] = demo["next_obs/q"] = np.ones((len(actions), 2))
            demo["rewards"] = np.ones(len(actions))
    return path


def imported(episodes, **config):
    """The result of an import of episodes with these actions, and the stored actions."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        path = write_actions(Path(name) / "d.hdf5", episodes)
        done = run_import(path, Path(name) / "out", RobomimicOptions(), ImportConfig(**config))
        return done, [episode.actions for episode in done.dataset.episodes()]


def moving(column):
    """Actions (T, 2): a component that moves, and the given one."""
    return np.column_stack([np.linspace(-0.8, 0.8, len(column)), column])


@settings(max_examples=25, deadline=None)
@given(
    pair=st.tuples(st.integers(-255, 255), st.integers(-255, 255)).filter(lambda pair: pair[0] != pair[1]),
    unit=st.sampled_from([1.0, 0.01, 0.04]),
    sides=st.lists(st.lists(st.booleans(), min_size=2, max_size=6), min_size=1, max_size=3),
)
def test_the_two_values_of_a_switch_become_its_two_sides_and_come_back(pair, unit, sides):
    low, high = (value * unit for value in sorted(pair))
    sides[0] += [True, False]  # both occur
    episodes = [moving(np.where(side, high, low)) for side in sides]
    done, stored = imported(episodes, switches=1)
    scale = ActionScale.of(done.dataset.environment)
    for found, actions, side in zip(stored, episodes, sides, strict=True):
        assert found[:, 1].tolist() == [1.0 if one else -1.0 for one in side]
        np.testing.assert_allclose(found[:, 0], actions[:, 0], atol=1e-7)
        back = found if scale is None else scale.to_robot(found)
        np.testing.assert_allclose(back[:, 1], actions[:, 1], rtol=1e-12)
    assert (scale is None) == ((low, high) == (-1.0, 1.0))


def held(column, start):
    """The command in force at each step, by its definition."""
    first = next((value for value in column if value), None)
    now = start if start is not None else -np.sign(first)
    result = []
    for value in column:
        now = np.sign(value) if value else now
        result.append(float(now))
    return result


@settings(max_examples=25, deadline=None)
@given(
    columns=st.lists(
        st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=7), min_size=1, max_size=3
    ),
    size=st.sampled_from([1.0, 0.5, 3.0]),
    start=st.sampled_from([None, -1, 1]),
)
def test_zero_between_two_commands_is_the_command_before_it(columns, size, start):
    episodes = [moving(size * np.array(column)) for column in [*columns, [0.0, 1.0, -1.0]]]
    if start is None and any(not any(column) for column in columns):
        with pytest.raises(UsageError, match=r"demo_\d holds no command.*--switch-start -1 or 1"):
            imported(episodes, switches=1, switch_start=start)
        return
    done, stored = imported(episodes, switches=1, switch_start=start)
    for found, column in zip(stored, columns, strict=False):
        assert found[:, 1].tolist() == held(column, start)
    assert any("0 became the command before it" in note for note in done.notes)


@pytest.mark.parametrize(
    ("column", "config", "said"),
    [
        ([0.0, 0.0], {}, "has only the value 0"),
        ([0.04, 0.04], {}, "has only the value 0.04"),
        ([0.1, 0.2, 0.7], {}, "has the values 0.1, 0.2, 0.7"),
        (np.linspace(0, 0.08, 40), {}, "has more than 8 values from 0 to 0.08"),
        ([0.0, 0.5], {"action_low": (-1.0, 0.0), "action_high": (1.0, 1.0)}, "has the bounds 0 and 1"),
        (
            [0.0, 1.0],
            {"action_low": (-180.0,), "action_high": (180.0,)},
            "one number for each component of an action, for this one 0 and 1",
        ),
        ([0.0, 1.0], {"switches": 2}, "at least one of the 2 components"),
        ([0.0, 1.0], {"switches": -1}, "switches is -1; it must be at least 0"),
    ],
)
def test_what_is_no_switch_is_refused_with_what_was_found(column, config, said):
    with pytest.raises(UsageError, match=said):
        imported([moving(np.array(column))], **{"switches": 1, **config})


def test_bounds_that_are_given_or_measured_go_with_switches():
    column = [0.0, 1.0, 1.0]
    for config in ({"action_low": (-1.0, 0.0), "action_high": (1.0, 1.0)}, {"action_bounds": "measured"}):
        done, (stored,) = imported([moving(np.array(column))], switches=1, **config)
        assert stored[:, 1].tolist() == [-1, 1, 1]
        assert ActionScale.of(done.dataset.environment).low[1] == 0.0
    one_side = {"action_low": (-1.0, 0.0), "action_high": (1.0, 1.0)}
    assert imported([moving(np.zeros(3))], switches=1, **one_side)[1][0][:, 1].tolist() == [-1, -1, -1]


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.sampled_from([-1.0, -0.02, 0.0, 0.3, 1.0]), min_size=1, max_size=4, unique=True))
def test_a_component_that_a_policy_could_not_turn_is_noted(values):
    done, _ = imported([moving(np.array(values * 3))])
    noted = any("component 1 of the actions has" in note and "--switches 1" in note for note in done.notes)
    two_sided = min(values) < 0 < max(values) and 0 not in values
    assert noted == (2 <= len(values) <= 3 and not two_sided)


@settings(max_examples=25, deadline=None)
@given(reach=st.floats(0.001, 1.0), parts=st.integers(1, 14))
def test_actions_taken_as_they_are_come_with_their_measured_range(reach, parts):
    actions = np.linspace(-reach, reach, 5)[:, None] * np.ones(parts)
    done, _ = imported([actions])
    (note,) = [note for note in done.notes if "measured range" in note]
    assert f"{-reach:.3g} to {reach:.3g}" in note
    assert ("--action-bounds measured" in note) == (reach < 0.5)
    scaled, _ = imported([actions], action_bounds="measured")
    assert not any("measured range" in note for note in scaled.notes)


def test_the_command_maps_switches_and_says_so(tmp_path, capsys):
    path = write_actions(tmp_path / "d.hdf5", [moving(np.array([0.0, 1.0, 0.0]))])
    arguments = ["import", "robomimic", str(path), "--out", str(tmp_path / "d"), "--switches", "1"]
    assert cli.run(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "switch in component 1 of the actions: 0 became -1 and 1 became 1" in said
    (episode,) = open_dataset(tmp_path / "d").episodes()
    assert episode.actions[:, 1].tolist() == [-1, 1, -1]


def test_steps_beyond_the_unit_range_name_the_options_with_switches_too():
    with pytest.raises(CogError, match=r"component 0 must lie in .*--action-bounds measured"):
        imported([moving(np.array([0.0, 1.0, 0.0])) * [3, 1]], switches=1)


@settings(max_examples=25, deadline=None)
@given(
    value=st.sampled_from([-3.5, 0.0, 1.0, 40.0]),
    moves=st.lists(st.booleans(), min_size=2, max_size=4),
    switches=st.integers(0, 1),
)
def test_bounds_assumed_for_what_never_changes_are_told(value, moves, switches):
    columns = [np.linspace(-2, 3, 6) if one else np.full(6, value) for one in moves]
    actions = np.column_stack([*columns, *[np.array([0.0, 1.0] * 3)] * switches])
    done, (stored,) = imported([actions], action_bounds="measured", switches=switches)
    scale = ActionScale.of(done.dataset.environment)
    for part, moving_part in enumerate(moves):
        told = (
            f"component {part} of the actions is always {value:g}; bounds {value - 1:g} to {value + 1:g} were"
        )
        assert any(note.startswith(told) for note in done.notes) == (not moving_part)
        if not moving_part:
            assert (scale.low[part], scale.high[part]) == (value - 1, value + 1)
            assert not stored[:, part].any()


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(2, 8), values=st.integers(2, 3))
def test_a_few_steps_do_not_make_a_switch_of_what_moves(steps, values):
    column = 0.1 + 0.3 * (np.arange(max(steps, values)) % values)
    done, _ = imported([moving(column)])
    hinted = any("component 1 of the actions has the values" in note for note in done.notes)
    assert hinted == (len(column) >= 2 * values)


def test_bounds_of_minus_one_and_one_are_the_same_map_as_none():
    unit, other = ActionScale((-1.0, -1.0), (1.0, 1.0)), ActionScale((-1.0, -1.0), (1.0, 2.0))
    facts = [{}, {FACT: unit.to_json()}, {FACT: other.to_json()}]
    alike = [[ActionScale.alike(one, two) for two in facts] for one in facts]
    assert alike == [[True, True, False], [True, True, False], [False, False, True]]
