"""What `--last-frame` says concerns only last frames were repeated; all others keep theirs."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.datasets.importers.d4rl import D4RLOptions
from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.importers.run import ImportConfig, run_import
from cog.errors import CogError

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
OPTION = st.sampled_from(["drop", "repeat"])


def arrays(number, steps):
    """The observations (T + 1, ...) of an episode: a state, and pictures, all of them different."""
    rng = np.random.default_rng(number)
    return rng.normal(size=(steps + 1, 2)).astype("f4"), rng.integers(0, 255, (steps + 1, 8, 8, 3), np.uint8)


def imported(write, options):
    """The stored episodes and the notes of a file that `write(file)` fills."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        with h5py.File(Path(name) / "d.hdf5", "w") as file:
            write(file)
        done = run_import(Path(name) / "d.hdf5", Path(name) / "out", options, ImportConfig(image_size=0))
        return list(done.dataset.episodes()), " ".join(done.notes)


def kept(rows, followed, option):
    """What must be stored of observations (T + 1, ...), the last of which a file has only if `followed`."""
    return rows if followed else [*rows[:-1], *([rows[-2]] if option == "repeat" else [])]


@settings(max_examples=40, deadline=None)
@given(
    forms=st.lists(st.sampled_from(["next", "beyond", "none", "wrong"]), min_size=1, max_size=4),
    steps=st.integers(2, 4),
    option=OPTION,
    pictures=st.booleans(),
)
def test_demos_with_a_next_observation_keep_it(forms, steps, option, pictures):
    given = [arrays(number, steps) for number in range(len(forms))]

    def write(file):
        for number, (form, rows) in enumerate(zip(forms, given, strict=True)):
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"], demo["rewards"] = np.zeros((steps, 2)), np.ones(steps)
            for key, values in zip(("q", "cam"), rows, strict=True):
                demo[f"obs/{key}"] = values if form == "beyond" else values[:-1]
                if form in ("next", "wrong"):
                    demo[f"next_obs/{key}"] = values[1:] if form == "next" else values[:-1]

    options = RobomimicOptions(image="cam" if pictures else "none", proprio=("q",), last_frame=option)
    episodes, notes = imported(write, options)
    followed = [form in ("next", "beyond") for form in forms]
    for mine, rows, has in zip(episodes, given, followed, strict=True):
        state = mine.proprio if pictures else mine.state
        np.testing.assert_array_equal(state, kept(rows[0], has, option))
        if pictures:
            np.testing.assert_array_equal(mine.images, kept(rows[1], has, option))
    missing = followed.count(False)
    said = {"drop": "last actions were dropped", "repeat": "last frames were repeated"}[option]
    assert (f"{missing} {said}" in notes) == (missing > 0)
    wrong = forms.count("wrong")
    assert (f"next observations of {wrong} episodes were not taken" in notes) == (wrong > 0)


@settings(max_examples=40, deadline=None)
@given(followed=st.lists(st.booleans(), min_size=1, max_size=4), steps=st.integers(2, 4), option=OPTION)
def test_flat_episodes_lose_no_next_observation_but_one_of_a_reset(followed, steps, option):
    followed = [*followed, True]  # none can be taken for the reset after the last
    given = [arrays(number, steps)[0] for number in range(len(followed))]

    def write(file):
        after = [
            rows[1:] if has else [*rows[1:-1], given[number + 1][0]]
            for number, (rows, has) in enumerate(zip(given, followed, strict=True))
        ]
        file["observations"] = np.concatenate([rows[:-1] for rows in given])
        file["next_observations"] = np.concatenate(after)
        file["actions"] = np.zeros((steps * len(given), 2))
        file["timeouts"] = np.arange(steps * len(given)) % steps == steps - 1

    episodes, notes = imported(write, D4RLOptions(last_frame=option))
    for mine, rows, has in zip(episodes, given, followed, strict=True):
        np.testing.assert_array_equal(mine.state, kept(rows, has, option))
    missing = followed.count(False)
    said = {"drop": "last actions were dropped", "repeat": "last frames were repeated"}[option]
    assert (f"{missing} {said}" in notes) == (missing > 0)


def test_next_observations_that_do_not_fit_are_refused_unless_the_option_says_what_to_do():
    def write(file):
        demo = file.create_group("data/demo_0")
        demo["actions"], demo["obs/q"], demo["next_obs/q"] = np.zeros((3, 2)), np.eye(3), np.eye(3)

    with pytest.raises(
        CogError, match=r"must be the observation of the step after.*--last-frame drop or rep"
    ):
        imported(write, RobomimicOptions())
    ((episode,), notes) = imported(write, RobomimicOptions(last_frame="repeat"))
    np.testing.assert_array_equal(episode.state, [*np.eye(3), np.eye(3)[-1]])
    assert "do not fit (episode 0: data/demo_0/next_obs/q must be the observation" in notes
