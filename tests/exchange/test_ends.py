"""How an episode ends is a fact of its source: imports, views and exports keep it, whatever the rewards."""

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.core.files import code_version
from cog.core.sealed import write_sealed
from cog.datasets import exporters
from cog.datasets.edit.config import FilterConfig
from cog.datasets.edit.filter import filter_dataset
from cog.datasets.exporters.run import export
from cog.datasets.importers.d4rl import D4RLOptions
from cog.datasets.importers.minari import MinariOptions
from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.importers.run import run_import
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import labelled, open_view, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.packed import pack_dataset
from cog.errors import CogError, UsageError

APART = 50.0  # between the starts of two episodes; a step is at most 1


class Trip(NamedTuple):
    """An episode as its source lived it: T actions, T + 1 states, and why it ended."""

    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool


@st.composite
def trips(draw, most=5, kinds=(True, False)):
    """Episodes of 1 to 6 steps, each far from all others, after one whose rewards are all different."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ends = [
        draw(st.sampled_from(kinds)),
        *draw(st.lists(st.sampled_from(kinds), min_size=0, max_size=most - 1)),
    ]
    found = []
    for number, terminated in enumerate(ends):
        steps = 5 if number == 0 else draw(st.integers(1, 6))
        moves = rng.uniform(0.2, 1, (steps + 1, 3)) * rng.choice([-1, 1], (steps + 1, 3))
        rewards = (
            rng.normal(size=steps)
            if number == 0
            else draw(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=steps, max_size=steps))
        )
        states = APART * (number + 1) + np.cumsum(moves, axis=0)
        found.append(Trip(states, rng.uniform(-1, 1, (steps, 2)), np.array(rewards, np.float64), terminated))
    return found


def written_flat(path, given, *, timeouts, following, whole=False):
    """The episodes as one flat file; next observations (`following`) are "true", or "reset" at ends."""
    last = [np.arange(len(trip.actions)) == len(trip.actions) - 1 for trip in given]
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([trip.states if whole else trip.states[:-1] for trip in given])
        file["actions"] = np.concatenate([trip.actions for trip in given])
        file["rewards"] = np.concatenate([trip.rewards for trip in given])
        file["terminals"] = np.concatenate(
            [end & trip.terminated for end, trip in zip(last, given, strict=True)]
        )
        marked = [end & (not trip.terminated) for end, trip in zip(last, given, strict=True)]
        if timeouts != "absent":
            file["timeouts"] = np.concatenate(marked) & (timeouts == "marked")
        if following is not None:
            rows = [trip.states[1:].copy() for trip in given]
            for this, after in zip(rows, given[1:], strict=False):
                this[-1] = after.states[0] if following == "reset" else this[-1]
            file["next_observations"] = np.concatenate(rows)
    return path


def assert_is(episode, trip, final):
    """The episode is the trip with this frame after its last step, or without that step if there is none."""
    left = trip.states[:-1] if final is None else [*trip.states[:-1], final]
    steps = len(trip.actions) - (final is None)
    np.testing.assert_array_equal(episode.state, np.array(left, np.float32))
    np.testing.assert_array_equal(episode.actions, trip.actions[:steps].astype(np.float32))
    np.testing.assert_array_equal(episode.signals["reward"][1:], trip.rewards[:steps].astype(np.float32))
    ended = trip.terminated and final is not None
    assert (episode.terminated, episode.truncated) == (ended, not ended)


LAYOUTS = [
    ("marked", "true", False),
    ("marked", "reset", False),
    ("marked", None, False),
    ("unmarked", "true", False),
    ("absent", "true", False),
    ("marked", None, True),
]


def only_by_the_last(rewards):
    """Whether the last of three or more rewards differs from all others, which are alike."""
    return len(rewards) > 2 and len(set(rewards[:-1])) == 1 and rewards[-1] != rewards[0]


@settings(max_examples=60, deadline=None)
@given(given_trips=trips(), layout=st.sampled_from(LAYOUTS))
def test_a_flat_file_gives_back_every_episode_and_its_end(given_trips, layout):
    timeouts, following, whole = layout
    wanted, lost = [], 0
    for number, trip in enumerate(given_trips):
        known = whole or following == "true" or (following == "reset" and number == len(given_trips) - 1)
        final = trip.states[-1] if known else trip.states[-2] if trip.terminated else None
        lost += final is None and only_by_the_last(trip.rewards)
        if final is not None or len(trip.actions) > 1:  # nothing is left of a single step that is dropped
            wanted.append((trip, final))
    with tempfile.TemporaryDirectory() as folder:
        path = written_flat(
            Path(folder) / "a.hdf5", given_trips, timeouts=timeouts, following=following, whole=whole
        )
        if lost:
            with pytest.raises(UsageError, match=f"{lost} episodes would lose the only one"):
                run_import(path, Path(folder) / "out", D4RLOptions())
            assert not (Path(folder) / "out").exists()
            return
        run_import(path, Path(folder) / "out", D4RLOptions())
        episodes = list(open_dataset(Path(folder) / "out").episodes())
    assert len(episodes) == len(wanted)
    for episode, (trip, final) in zip(episodes, wanted, strict=True):
        assert_is(episode, trip, final)


@settings(max_examples=15, deadline=None)
@given(given_trips=trips(kinds=(True,)), timeouts=st.sampled_from(["absent", "unmarked"]))
def test_terminals_alone_may_mark_every_end(given_trips, timeouts):
    with tempfile.TemporaryDirectory() as folder:
        path = written_flat(Path(folder) / "a.hdf5", given_trips, timeouts=timeouts, following=None)
        run_import(path, Path(folder) / "out", D4RLOptions())
        episodes = list(open_dataset(Path(folder) / "out").episodes())
    for episode, trip in zip(episodes, given_trips, strict=True):
        assert_is(episode, trip, trip.states[-2])


@settings(max_examples=25, deadline=None)
@given(data=st.data(), steps=st.lists(st.integers(4, 8), min_size=1, max_size=4), following=st.booleans())
def test_goal_rows_after_which_the_trajectory_goes_on_keep_their_rewards_and_next_frames(
    data, steps, following
):
    """Where every step at the goal is terminal, N rows hold N transitions but for the time limits."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    walks, goals = [], []
    for number, length in enumerate(steps):
        moves = rng.uniform(0.5, 1, (length + 1, 3)) * rng.choice([-1, 1], (length + 1, 3))
        moves[1:3] = 1  # the first steps are as large as any, so that it shows what a step may be
        walks.append(APART * (number + 1) + np.cumsum(moves, axis=0))
        reached = data.draw(st.lists(st.booleans(), min_size=length - 3, max_size=length - 3))
        goals.append(np.array([False, False, *reached, False]))
    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(Path(folder) / "a.hdf5", "w") as file:
            file["observations"] = np.concatenate([walk[:-1] for walk in walks])
            file["actions"] = rng.uniform(-1, 1, (sum(steps), 2))
            file["rewards"] = np.concatenate(goals).astype(float)
            file["terminals"] = np.concatenate(goals)
            file["timeouts"] = np.concatenate([np.arange(length) == length - 1 for length in steps])
            if following:
                file["next_observations"] = np.concatenate([walk[1:] for walk in walks])
        run_import(Path(folder) / "a.hdf5", Path(folder) / "out", D4RLOptions(success="reward>0"))
        dataset = open_dataset(Path(folder) / "out")
        found = [
            (step[0], step[1], float(reward), bool(episode.terminated and last))
            for episode in dataset.episodes()
            for number, reward in enumerate(episode.signals["reward"][1:])
            for step, last in [(episode.state[number : number + 2].tolist(), number == len(episode) - 1)]
        ]
    wanted = [
        (walk[row].tolist(), walk[row + 1].tolist(), float(goal[row]), bool(goal[row]))
        for walk, goal in zip((walk.astype(np.float32) for walk in walks), goals, strict=True)
        for row in range(len(goal) - (not following))
    ]
    assert found == wanted
    assert dataset.success_count == sum(int(goal.sum()) for goal in goals)


RULES = ("recorded", "zero", "recorded > 0.25", "-1 * recorded", "recorded - 10")


def terminals_by_definition(trip, rule, terminate):
    """Rewards and terminals of a trip: nothing else than the definition."""
    values = {
        "recorded": trip.rewards,
        "zero": np.zeros(len(trip.rewards)),
        "recorded > 0.25": (trip.rewards > 0.25).astype(float),
        "-1 * recorded": -trip.rewards,
        "recorded - 10": trip.rewards - 10,
    }[rule]
    hit = np.flatnonzero(values > 0)
    if terminate and len(hit):
        return values[: hit[0] + 1], [False] * int(hit[0]) + [True]
    return values, [*[False] * (len(values) - 1), trip.terminated]


@settings(max_examples=15, deadline=None)
@given(given_trips=trips(), rule=st.sampled_from(RULES), terminate=st.booleans())
def test_views_merges_packing_filters_and_copies_agree_with_the_definition(given_trips, rule, terminate):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run_import(
            written_flat(root / "a.hdf5", given_trips, timeouts="marked", following="true"),
            root / "d",
            D4RLOptions(),
        )
        view = relabel(root / "d", rule, "v", terminate=terminate)
        assert open_view(open_dataset(root / "d"), "v") == view
        wanted = [terminals_by_definition(trip, rule, terminate) for trip in given_trips]
        every = np.concatenate([ends for _, ends in wanted]).tolist()
        for episode, (values, ends) in zip(labelled(open_dataset(root / "d"), view), wanted, strict=True):
            np.testing.assert_allclose(episode.rewards, values, rtol=1e-5, atol=1e-6)
            assert episode.terminals.tolist() == ends
        pack_dataset(root / "d", root / "d.zip")
        materialise(Path(f"{root / 'd'}@v"), root / "copy")
        write_merge(root / "m.json", [f"{root / 'd'}@v"])
        for data in (root / "m.json", Path(f"{root / 'd.zip'}@v"), root / "copy"):
            assert load(open_merge(data)).terminals.tolist() == every
        filter_dataset(root / "d", root / "f", FilterConfig(min_length=1, behaviour=("d4rl",)))
        filtered = relabel(root / "f", rule, "v", terminate=terminate)
        assert filtered.reward_hash == view.reward_hash
        again = relabel(root / "copy", "zero", "again")
        ended = [
            values is not None and trip.terminated and len(values) == len(trip.rewards)
            for trip, (values, _) in zip(given_trips, wanted, strict=True)
        ]
        assert [bool(e.terminals[-1]) for e in labelled(open_dataset(root / "copy"), again)] == ended


@settings(max_examples=8, deadline=None)
@given(given_trips=trips(most=3), terminate=st.booleans())
def test_every_export_says_where_episodes_end(given_trips, terminate):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run_import(
            written_flat(root / "a.hdf5", given_trips, timeouts="marked", following="true"),
            root / "d",
            D4RLOptions(),
        )
        relabel(root / "d", "recorded", "v", terminate=terminate)
        wanted = [terminals_by_definition(trip, "recorded", terminate)[1] for trip in given_trips]
        merge = open_merge(Path(f"{root / 'd'}@v"))
        for name, settings_given in (
            ("minari", {}),
            ("robomimic", {}),
            ("d3rlpy", {}),
            ("lerobot", {"fps": 10}),
        ):
            options = exporters.FORMATS[name].load()
            export(options(**settings_given), merge, root / f"{name}-v0")
        with h5py.File(root / "minari-v0/data/main_data.hdf5") as file:
            for number, ends in enumerate(wanted):
                group = file[f"episode_{number}"]
                assert group["terminations"][...].tolist() == ends
                assert group["truncations"][...].tolist() == [*[False] * (len(ends) - 1), not ends[-1]]
        with h5py.File(root / "robomimic-v0") as file:
            assert [
                file[f"data/demo_{n}/dones"][...].astype(bool).tolist() for n in range(len(wanted))
            ] == wanted
        with h5py.File(root / "d3rlpy-v0") as file:
            assert [bool(file[f"terminated_{n}"][()]) for n in range(len(wanted))] == [e[-1] for e in wanted]
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(root / "lerobot-v0/data/chunk-000/file-000.parquet").to_pydict()
        assert rows["next.done"] == [end for ends in wanted for end in ends]
        cut = [place == len(ends) - 1 and not ends[-1] for ends in wanted for place in range(len(ends))]
        assert rows["next.truncated"] == cut
        run_import(root / "minari-v0", root / "back", MinariOptions())
        back = [(episode.terminated, episode.truncated) for episode in open_dataset(root / "back").episodes()]
        assert back == [(ends[-1], not ends[-1]) for ends in wanted]


@settings(max_examples=20, deadline=None)
@given(given_trips=trips(), form=st.sampled_from(["minari", "next_obs", "obs"]))
def test_robomimic_and_minari_sources_keep_what_they_know_of_ends(given_trips, form):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if form == "minari":
            path = root / "m-v0"
            (path / "data").mkdir(parents=True)
            about = {"data_format": "hdf5", "total_episodes": len(given_trips)}
            (path / "data/metadata.json").write_text(json.dumps(about))
            options = MinariOptions()
        else:
            path, options = (
                root / "r.hdf5",
                RobomimicOptions(last_frame="next" if form == "next_obs" else "repeat"),
            )
        with h5py.File(path / "data/main_data.hdf5" if form == "minari" else path, "w") as file:
            for number, trip in enumerate(given_trips):
                last = np.arange(len(trip.actions)) == len(trip.actions) - 1
                group = file.create_group(f"episode_{number}" if form == "minari" else f"data/demo_{number}")
                group["actions"], group["rewards"] = trip.actions, trip.rewards
                if form == "minari":
                    group["observations"] = trip.states
                    group["terminations"], group["truncations"] = (
                        last & trip.terminated,
                        last & (not trip.terminated),
                    )
                else:
                    group["obs/state"] = trip.states[:-1]
                    if form == "next_obs":
                        group["next_obs/state"] = trip.states[1:]
        run_import(path, root / "d", options)
        for episode, trip in zip(open_dataset(root / "d").episodes(), given_trips, strict=True):
            known = trip if form == "minari" else trip._replace(terminated=False)
            assert_is(episode, known, trip.states[-2] if form == "obs" else trip.states[-1])


def test_a_view_from_before_ends_counted_stays_as_it_was_and_says_so_when_asked_for_again(make_dataset):
    dataset = make_dataset(episodes=6, task=False)
    new = relabel(dataset.path, "zero", "v")
    ended = sum(episode.terminated for episode in dataset.episodes())
    assert new.ended == ended > 0
    digest = dataclasses.replace(new, ended=None)
    path = dataset.path / "relabels/v.json"
    path.unlink()
    old = relabelled_without_ends(dataset, digest)
    before = path.read_bytes()
    assert not any(episode.terminals.any() for episode in labelled(dataset, open_view(dataset, "v")))
    assert open_view(dataset, "v") == old and path.read_bytes() == before
    again = relabel(dataset.path, "zero", "v")
    assert again == old and path.read_bytes() == before
    assert any(f"not terminal in {ended} episodes" in text for text in again.remarks(dataset.step_count))
    assert relabel(dataset.path, "zero", "w").reward_hash == new.reward_hash
    with pytest.raises(CogError, match="exists already with other content"):
        relabel(dataset.path, "grasp_success", "v")


def relabelled_without_ends(dataset, view):
    """The view as versions wrote it in which only rewards made terminals."""
    digest = hashlib.blake2b(digest_size=32)
    for episode in dataset.episodes():
        steps = len(episode)
        digest.update(steps.to_bytes(8, "little") + np.zeros(steps, np.float32).tobytes() + bytes(steps))
    old = dataclasses.replace(view, reward_hash=digest.hexdigest())
    write_sealed(
        dataset.path / "relabels/v.json", "relabel", {"code_version": code_version(), **old.to_json()}
    )
    return old
