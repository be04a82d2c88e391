"""A flat D4RL file comes in episode by episode, cut where its marks or its observations say."""

import h5py
import numpy as np
import pytest

from cog import cli
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from tests.helpers.foreign import flat_arrays, write_flat


def run(*arguments):
    return cli.run(["import", "d4rl", *map(str, arguments)])


def assert_same(dataset, given):
    """Every array of the dataset is that of the given episodes."""
    assert dataset.episode_count == len(given)
    for episode, wanted in zip(dataset.episodes(), given, strict=True):
        np.testing.assert_array_equal(episode.state, wanted["observations"])
        np.testing.assert_array_equal(episode.actions, wanted["actions"])
        np.testing.assert_array_equal(episode.signals["reward"], [0, *wanted["rewards"]])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data"


def test_every_array_comes_in_with_the_reason_of_each_end(tmp_path, out, capsys):
    source = write_flat(tmp_path / "flat.hdf5", flat_arrays())
    before = source.read_bytes()
    assert run(source, "--out", out, "--success", "infos/goal") == 0
    assert source.read_bytes() == before and verify(out) == []
    dataset = open_dataset(out)
    assert_same(dataset, flat_arrays())
    names = ("image", "proprio", "success", "last_frame", "mask", "episode_steps")
    taken = [dataset.spec["origin"][name] for name in names]
    assert taken == [None, [], "infos/goal", "next", None, None], "the dataset's hash depends on them"
    ends = [(episode.terminated, episode.truncated) for episode in dataset.episodes()]
    assert ends == [(True, False), (False, True)] * 2
    assert dataset.success_count == 4
    names = [episode.options["source_episode"] for episode in dataset.episodes()]
    assert names == ["rows 0 to 4", "rows 5 to 5", "rows 6 to 8", "rows 9 to 12"]
    said = capsys.readouterr().out
    assert "arrays not taken: infos/qpos, metadata/algorithm" in said
    assert "4 episodes, 13 steps, 4 successes" in said


def test_dense_rewards_come_back_by_the_rule_recorded(tmp_path, out):
    assert run(write_flat(tmp_path / "flat.hdf5", flat_arrays()), "--out", out) == 0
    view = relabel(out, "recorded", "dense", terminate=False)
    back = np.concatenate([episode.rewards for episode in labelled(open_dataset(out), view)])
    np.testing.assert_array_equal(back, np.concatenate([episode["rewards"] for episode in flat_arrays()]))


def test_without_time_limits_episodes_end_where_observations_jump(tmp_path, out, capsys):
    source = write_flat(tmp_path / "flat.hdf5", flat_arrays(), timeouts=False)
    assert run(source, "--out", out) == 0
    assert_same(open_dataset(out), flat_arrays())
    assert "episodes end where the observations jump" in " ".join(capsys.readouterr().out.split())


def test_without_time_limits_and_next_observations_the_length_must_be_told(tmp_path, out, capsys):
    given = flat_arrays((4, 2, 4, 4))  # the second ends before the limit of 4 by itself
    for number, episode in enumerate(given):
        episode["terminal"] = number == 1
    source = write_flat(tmp_path / "flat.hdf5", given, timeouts=False, following=False)
    assert run(source, "--out", out) == 2
    assert "--episode-steps" in " ".join(capsys.readouterr().err.split())
    assert run(source, "--out", out, "--episode-steps", 4) == 0
    dataset = open_dataset(out)
    assert [len(episode) for episode in dataset.episodes()] == [3, 2, 3, 3]
    for episode, wanted in zip(dataset.episodes(), given, strict=True):
        steps, before = len(episode), wanted["observations"][:-1]
        frames = [*before, before[-1]] if wanted["terminal"] else before  # no value is taken after an end
        np.testing.assert_array_equal(episode.state, frames)
        np.testing.assert_array_equal(episode.actions, wanted["actions"][:steps])
        assert (episode.terminated, episode.truncated) == (wanted["terminal"], not wanted["terminal"])
    said = " ".join(capsys.readouterr().out.split())
    lost = sum(float(episode["rewards"][-1]) for episode in given if not episode["terminal"])
    assert f"3 last actions were dropped, since no observation follows them, with rewards of {lost:g}" in said


def test_an_unmarked_end_of_the_file_ends_the_last_episode(tmp_path, out):
    assert run(write_flat(tmp_path / "flat.hdf5", flat_arrays(), cut=True), "--out", out) == 0
    dataset = open_dataset(out)
    assert_same(dataset, flat_arrays())
    assert [episode.truncated for episode in dataset.episodes()][-1]


def test_the_jump_is_found_across_the_blocks_that_are_read(tmp_path, out, monkeypatch):
    from cog.datasets.importers import d4rl

    monkeypatch.setattr(d4rl, "ROWS_AT_ONCE", 5)  # a block ends with the first episode
    source = write_flat(tmp_path / "flat.hdf5", flat_arrays(), timeouts=False)
    assert run(source, "--out", out) == 0
    assert_same(open_dataset(out), flat_arrays())


def change(path, field, value):
    with h5py.File(path, "a") as file:
        del file[field]
        if value is not None:
            file[field] = value


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("actions", None, "field 'actions': must be present"),
        ("observations", None, "field 'observations': must be present"),
        ("observations", np.zeros((12, 4)), "field 'observations': must have one row for each of 13 actions"),
        ("observations", np.zeros((13, 8, 8, 3), np.uint8), "field 'observations': must be states"),
        ("rewards", np.zeros(12), "field 'rewards': must have one row for each of 13"),
        ("terminals", np.zeros(14), "field 'terminals': must have one row"),
        (
            "next_observations",
            np.zeros((13, 4)),
            "episode 0, field 'next_observations': must be the observation",
        ),
        ("actions", np.full((13, 2), 2.0), "field 'rows 0 to 4/actions': component 0 must lie in [-1, 1]"),
        ("rewards", np.full(13, np.inf), "field 'rows 0 to 4/rewards': must be finite"),
    ],
)
def test_a_broken_file_is_refused_by_field_and_rule(field, value, named, tmp_path, out, capsys):
    source = write_flat(tmp_path / "flat.hdf5", flat_arrays())
    change(source, field, value)
    assert run(source, "--out", out) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert str(source) in said and named in said
    assert not out.exists()


@pytest.mark.parametrize(
    "option", [["--image", "x"], ["--mask", "x"], ["--proprio", "x"], ["--success", "x"]]
)
def test_options_without_meaning_for_flat_files_are_refused(option, tmp_path, out):
    source = write_flat(tmp_path / "flat.hdf5", flat_arrays())
    assert run(source, "--out", out, *option) == 2
    assert not out.exists()


def test_a_link_to_another_file_is_refused(tmp_path, out, capsys):
    other = write_flat(tmp_path / "other.hdf5", flat_arrays())
    source = write_flat(tmp_path / "flat.hdf5", flat_arrays())
    with h5py.File(source, "a") as file:
        del file["rewards"]
        file["rewards"] = h5py.ExternalLink(other, "rewards")
    assert run(source, "--out", out) == 1
    assert "must not be a link to another file" in " ".join(capsys.readouterr().err.split())


def test_states_and_actions_of_one_number_may_be_rows_without_an_axis(tmp_path, out):
    given = flat_arrays()
    source = write_flat(tmp_path / "flat.hdf5", given)
    with h5py.File(source, "a") as file:
        for field in ("observations", "next_observations", "actions"):
            column = file[field][:, 0]
            del file[field]
            file[field] = column
    assert run(source, "--out", out) == 0
    columns = [
        {**one, "observations": one["observations"][:, :1], "actions": one["actions"][:, :1]} for one in given
    ]
    assert_same(open_dataset(out), columns)


def test_numbered_actions_are_refused(tmp_path, out, capsys):
    source = write_flat(tmp_path / "flat.hdf5", flat_arrays())
    change(source, "actions", np.zeros(13, np.int64))
    assert run(source, "--out", out) == 1
    assert "must be continuous vectors (T, A), found int64" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool])
@pytest.mark.parametrize("shape", [(13,), (13, 1)])
def test_numbered_actions_are_refused_in_a_column_as_in_a_row_and_floats_are_taken(
    kind, shape, tmp_path, out, capsys
):
    source, numbered = write_flat(tmp_path / "flat.hdf5", flat_arrays()), np.arange(13) % 2
    change(source, "actions", numbered.reshape(shape).astype(kind))
    assert run(source, "--out", out, "--action-bounds", "measured") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "field 'actions': must be continuous vectors" in said and "store them as floats" in said
    change(source, "actions", numbered.reshape(shape).astype(np.float32))
    assert run(source, "--out", out, "--action-bounds", "measured") == 0


@pytest.mark.parametrize("wide", [True, False])
def test_rows_that_lead_to_a_new_start_are_told_where_they_jump_and_never_left_out(
    wide, tmp_path, out, capsys
):
    far = 100.0 if wide else 0.55
    walks = [number * far + 0.1 * np.arange(6)[:, None] * np.ones(3) for number in range(3)]
    ends = [len(walks[0]), 2 * len(walks[0])]
    seen = np.concatenate(walks)  # the row of a reset begins at each last state, and ends at the next start
    rows = {"observations": seen[:-1], "next_observations": seen[1:]}
    rows["actions"] = np.linspace(-1, 1, 17)[:, None]
    rows["rewards"] = np.zeros(17)
    rows["terminals"] = np.isin(np.arange(17), [end - 2 for end in ends])
    rows["timeouts"] = np.arange(17) == 16
    with h5py.File(tmp_path / "reset.hdf5", "w") as file:
        for name, values in rows.items():
            file[name] = values
    assert run(tmp_path / "reset.hdf5", "--out", out) == 0
    said = " ".join(capsys.readouterr().out.split())
    lengths = [len(episode) for episode in open_dataset(out).episodes()]
    assert ("2 first rows of episodes begin where the one before ended" in said) == wide
    assert lengths == [5, 6, 6]
