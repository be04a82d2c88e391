"""An episode counts as a success by one rule: imports, the writer, info, filter and rewards agree on it."""

import tempfile
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog import cli
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.edit.config import FilterConfig
from cog.datasets.edit.filter import filter_dataset
from cog.datasets.importers.d4rl import D4RLOptions
from cog.datasets.importers.run import ImportConfig, run_import
from cog.datasets.info import describe
from cog.datasets.materialise import materialise
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.writer import DatasetWriter
from cog.errors import CogError, UsageError
from cog.signals.success import success_frames
from tests.helpers.state_scene import StateLine

MARKS = st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=4)


def counts(marks: list[bool], by: str) -> bool:
    """The definition, for the marks after each step."""
    return any(marks) if by == "any" else marks[-1]


def rewarded(marks: list[bool], by: str) -> list[bool]:
    """The definition: every mark, or the marks that last to the end."""
    return [mark and (by == "any" or all(marks[step:])) for step, mark in enumerate(marks)]


def written(folder: Path, every: list[list[bool]], by: str, form: str) -> Path:
    """A dataset of episodes with these marks after each step."""
    rng = np.random.default_rng(0)
    if form == "writer":
        with DatasetWriter(folder / "d", success_by=by) as writer:
            for marks in every:
                state = rng.normal(size=(len(marks) + 1, 2))
                writer.add_episode(np.zeros((len(marks), 2)), state=state, success=[False, *marks])
        return folder / "d"
    with h5py.File(folder / "a.hdf5", "w") as file:
        rows = sum(map(len, every))
        file["observations"] = file["next_observations"] = np.zeros((rows, 2))
        file["actions"] = np.zeros((rows, 2))
        file["infos/success"] = np.concatenate(every)
        file["timeouts"] = np.concatenate([np.arange(len(marks)) == len(marks) - 1 for marks in every])
    options = D4RLOptions(success="infos/success", last_frame="repeat")
    run_import(folder / "a.hdf5", folder / "d", options, ImportConfig(success_by=by))
    return folder / "d"


@settings(max_examples=12, deadline=None)
@given(every=MARKS, by=st.sampled_from(["any", "last"]), form=st.sampled_from(["writer", "import"]))
def test_every_command_counts_as_the_definition_does(every, by, form):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = written(folder, every, by, form)
        wanted = [counts(marks, by) for marks in every]
        dataset = open_dataset(path)
        assert [episode.success for episode in dataset.episodes()] == wanted
        assert describe(path)["success_by"] == f"{by} frame"
        assert describe(path)["successes"] == dataset.success_count == sum(wanted)
        for other in ("any", "last"):
            said = describe(path, success_by=other)
            assert said["successes"] == sum(counts(marks, other) for marks in every)
            assert said["success_by"] == f"{other} frame"
            for kind in (True, False):
                kept = [marks for marks in every if counts(marks, other) == kind]
                asked = FilterConfig(success="true" if kind else "false", success_by=other)
                if kept:
                    found = filter_dataset(path, folder / f"{other}{kind}", asked)
                    assert [len(episode) for episode in found.episodes()] == [len(marks) for marks in kept]
                else:
                    with pytest.raises(CogError, match="none of its"):
                        filter_dataset(path, folder / f"{other}{kind}", asked)
        view = relabel(path, "recorded_success", "all", terminate=False)
        for episode, marks in zip(labelled(dataset, view), every, strict=True):
            by_rule = rewarded(marks, by)
            assert episode.rewards.astype(bool).tolist() == by_rule
            assert episode.success == any(by_rule)


@pytest.mark.parametrize(
    ("marks", "lasting"),
    [([0, 0, 1, 1, 0], [0, 0, 0, 0, 0]), ([0, 1, 0, 1, 1], [0, 0, 0, 1, 1]), ([1], [1]), ([0], [0])],
)
def test_by_the_last_frame_only_a_success_that_lasts_counts(marks, lasting):
    assert success_frames(np.array(marks), "any").tolist() == [mark > 0 for mark in marks]
    assert success_frames(np.array(marks), "last").tolist() == [mark > 0 for mark in lasting]


def test_collected_data_count_by_the_last_frame_and_cannot_be_judged_by_any(make_dataset, capsys):
    dataset = make_dataset(episodes=4)
    assert describe(dataset.path)["success_by"] == describe(dataset.path, success_by="last")["success_by"]
    with pytest.raises(UsageError, match="only that of each last frame was recorded"):
        describe(dataset.path, success_by="any")
    assert cli.run(["info", str(dataset.path), "--success-by", "last"]) == 0
    assert "last frame" in capsys.readouterr().out


def test_a_rule_of_success_needs_a_question_for_success():
    with pytest.raises(UsageError, match="success_by is 'last', but success is not asked for"):
        FilterConfig(min_length=2, success_by="last")


@settings(max_examples=25, deadline=None)
@given(
    every=st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6), min_size=1),
    by=st.sampled_from(["any", "last"]),
)
def test_an_episode_that_a_view_cuts_counts_by_its_kept_frames(every, by):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = []
        with DatasetWriter(folder / "d", success_by=by) as writer:
            for steps in every:
                paid, marks = map(list, zip(*steps, strict=True))
                state = np.zeros((len(steps) + 1, 1))
                actions = np.zeros((len(steps), 1))
                writer.add_episode(actions, state=state, rewards=paid, success=[False, *marks])
                kept.append(marks[: paid.index(True) + 1] if any(paid) else marks)
        wanted = [counts(marks, by) for marks in kept]
        view = relabel(folder / "d", "recorded", "cut")
        assert [one.success for one in labelled(open_dataset(folder / "d"), view)] == wanted
        write_merge(folder / "m.json", [f"{folder / 'd'}@cut"])
        copy = materialise(folder / "m.json", folder / "M").sources[0].dataset
        assert [len(episode) for episode in copy.episodes()] == list(map(len, kept))
        assert describe(copy.path)["successes"] == sum(wanted)
        for other in ("any", "last"):
            said = describe(copy.path, success_by=other)["successes"]
            assert said == sum(counts(marks, other) for marks in kept)
        if any(wanted):
            chosen = filter_dataset(copy.path, folder / "f", FilterConfig(success="true"))
            assert chosen.episode_count == sum(wanted)
        again = relabel(copy.path, "recorded_success", "again", terminate=False)
        assert [one.rewards.any() for one in labelled(copy, again)] == wanted


def test_without_marks_an_episode_that_a_view_cuts_keeps_the_outcome_of_the_whole(make_dataset):
    dataset = make_dataset(episodes=4)
    whole = [episode.success for episode in dataset.episodes()]
    assert any(whole) and "success" not in dataset.signal_names
    view = relabel(dataset.path, "1 > 0", "cut")
    found = list(labelled(dataset, view))
    assert [len(episode) for episode in found] == [1] * 4
    assert [episode.success for episode in found] == whole


def test_a_mark_on_the_first_frame_alone_is_no_success_and_the_writer_says_so(tmp_path):
    marks = [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    with (
        pytest.warns(UserWarning, match="1 episodes have a success mark on their first frame alone"),
        DatasetWriter(tmp_path / "d") as writer,
    ):
        for one in marks:
            writer.add_episode(np.zeros((3, 1)), state=np.zeros((4, 1)), success=one)
    assert [episode.success for episode in open_dataset(tmp_path / "d").episodes()] == [False, True, False]
    assert describe(tmp_path / "d")["success_by"] == "any frame"


def test_an_import_says_by_which_rule_it_counted_where_that_matters(tmp_path, capsys):
    written(tmp_path, [[False, True, False], [False, True, True]], "any", "import")
    for by, number in (("any", 2), ("last", 1)):
        arguments = ["--success", "infos/success", "--last-frame", "repeat", "--success-by", by]
        assert (
            cli.run(["import", "d4rl", str(tmp_path / "a.hdf5"), "--out", str(tmp_path / by), *arguments])
            == 0
        )
        said = " ".join(capsys.readouterr().out.split())
        assert f"count as successes by {by} frame" in said and f"{number} successes" in said


class MarkedLine(StateLine):
    """The toy scene with its success among the signals; it is reached in the middle and left again."""

    signal_names = ("place", "success")

    def _see(self):
        observation, info = super()._see()
        success = 0.6 < self.place < 0.9
        return observation, {"signals": {**info["signals"], "success": success}, "success": success}


if "toy/MarkedLine-v0" not in gymnasium.registry:
    gymnasium.register("toy/MarkedLine-v0", entry_point=MarkedLine, max_episode_steps=12)


def test_rewards_for_recorded_success_agree_with_what_a_scene_calls_its_success(tmp_path):
    spec = CollectionSpec(
        4,
        (BehaviourChoice("reach", 0.5, {"speed": 0.6}), BehaviourChoice("reach", 0.5, {"speed": 0.1})),
        ("left", "middle"),
        "tests.exchange.test_success:toy/MarkedLine-v0",
        observation="state",
        max_episode_steps=8,
        terminate_on_success=False,
    )
    collect(spec, tmp_path / "d", workers=1)
    dataset = open_dataset(tmp_path / "d")
    marks = [(episode.signals["success"] > 0).tolist() for episode in dataset.episodes()]
    assert any(any(one) and not one[-1] for one in marks) and any(one[-1] for one in marks)
    assert [episode.success for episode in dataset.episodes()] == [one[-1] for one in marks]
    view = relabel(tmp_path / "d", "recorded_success", "v", terminate=False)
    for episode in labelled(dataset, view):
        assert bool(episode.rewards.any()) == episode.success
