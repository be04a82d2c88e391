"""Numbers whose differences float32 cannot hold are refused by name; all others are stored as float32."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.importers.run import run_import
from cog.datasets.storage.problem import DataError
from cog.datasets.writer import DatasetWriter

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def stored(column):
    """The second component of a state, as the writer stores it."""
    state = np.column_stack([np.zeros(len(column), np.asarray(column).dtype), column])
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        with DatasetWriter(Path(folder) / "d") as writer:
            writer.add_episode(np.zeros((len(column) - 1, 2)), state=state)
        (episode,) = writer.dataset.episodes()
        return episode.state[:, 1]


@settings(max_examples=150, deadline=None)
@given(
    start=st.floats(-2e9, 2e9),
    step=st.sampled_from([1e-4, 0.01, 0.05, 1.0, 30.0]),
    count=st.integers(3, 200),
)
def test_even_steps_are_refused_where_most_of_them_are_lost(start, step, count):
    column = start + step * np.arange(count)
    single = column.astype(np.float32)
    kept, had = len(set(single.tolist())), len(set(column.tolist()))
    if kept == had:
        np.testing.assert_array_equal(stored(column), single)
    elif kept == 1 or 2 * kept < had:
        with pytest.raises(DataError, match=r"component 1 varies .* less than float32 can tell apart"):
            stored(column)


@settings(max_examples=60, deadline=None)
@given(start=st.integers(2**40, 2**62), step=st.integers(1, 2**16), count=st.integers(2, 50))
def test_counts_such_as_nanoseconds_are_judged_as_the_whole_numbers_that_they_are(start, step, count):
    column = start + step * np.arange(count)
    kept = len(set(column.astype(np.float32).tolist()))
    if kept == 1:
        with pytest.raises(DataError, match=f"component 1 varies .{start} to {column[-1]}"):
            stored(column)


@settings(max_examples=60, deadline=None)
@given(
    place=st.floats(-500, 500),
    noise=st.sampled_from([0.0, 1e-15, 1e-12, 1e-9, 1e-7]),
    moved=st.sampled_from([0.0, 1e-5, 0.01, 1.0]),
    seed=st.integers(0, 99),
)
def test_noise_of_what_lies_still_is_no_reason(place, noise, moved, seed):
    path = np.concatenate([np.linspace(0, moved, 20), np.full(80, moved)])
    column = place + path + noise * np.random.default_rng(seed).uniform(-1, 1, 100)
    if abs(place) < 8 or moved in (0.0, 1.0):
        np.testing.assert_array_equal(stored(column), column.astype(np.float32))


def test_rewards_and_signals_are_judged_alike(tmp_path):
    times = 1.7e9 + 0.05 * np.arange(4)
    with DatasetWriter(tmp_path / "d") as writer:
        for name, given in (("rewards", {"rewards": times[1:]}), ("signals", {"signals": {"time": times}})):
            with pytest.raises(DataError, match=f"{name}.*varies.*Subtract a start value"):
                writer.add_episode(np.zeros((3, 2)), state=np.eye(4), **given)
        writer.add_episode(np.zeros((3, 2)), state=np.eye(4), rewards=times[1:] - times[0])


def test_an_import_names_the_vector_and_the_option_that_leaves_it_out(tmp_path):
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"] = np.zeros((4, 2))
        demo["obs/joints"], demo["obs/time"] = np.eye(5), np.zeros((5, 2)) + 1.7e9
        demo["obs/time"][:, 1] += 0.05 * np.arange(5)
    with pytest.raises(DataError, match=r"component 6 \('time', number 1\) varies.*with --proprio") as error:
        run_import(tmp_path / "d.hdf5", tmp_path / "out", RobomimicOptions())
    assert error.value.problem.episode == 0 and not (tmp_path / "out").exists()
    done = run_import(tmp_path / "d.hdf5", tmp_path / "out", RobomimicOptions(proprio=("joints",)))
    assert done.dataset.episode_count == 1
