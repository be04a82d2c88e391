"""A merge gives sources their roles and shares, and loads what their episodes hold, one by one."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cog.datasets.info import describe
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import open_merge, parse_source, write_merge
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from cog.errors import CogError, UsageError
from tests.conftest import forge


@pytest.fixture
def merge(make_dataset, tmp_path):
    """A merge of one task source that ends at success and two prior sources without reward."""
    relabel(make_dataset("task", episodes=7).path, "grasp_success", "reward")
    relabel(make_dataset("old", episodes=5, seed=1, task=False).path, "zero", "none")
    relabel(make_dataset("older", episodes=9, seed=2, task=True).path, "zero", "none")
    sources = [str(tmp_path / name) for name in ("old@none", "older@none")]
    return write_merge(tmp_path / "all.json", [str(tmp_path / "task@reward")], sources, 0.25)


def test_a_merge_without_reward_or_of_several_scenes_says_so(merge, make_dataset, tmp_path):
    assert merge.remarks() == []
    (remark,) = write_merge(tmp_path / "none.json", [str(tmp_path / "old@none")]).remarks()
    assert "no task source has a reward" in remark
    copy = materialise(merge.path, tmp_path / "copy")
    assert copy.remarks() == []  # rewards in shards are not counted
    other = replace(merge.sources[1].dataset, environment={"id": "elsewhere"})
    mixed = replace(merge, sources=(merge.sources[0], replace(merge.sources[1], dataset=other)))
    (remark,) = mixed.remarks()
    assert "different scenes" in remark and "elsewhere" in remark


def test_loaded_transitions_equal_the_episodes_one_by_one(merge):
    transitions = load(merge)
    step = 0
    for number, source in enumerate(merge.sources):
        for episode in labelled(source.dataset, source.view):
            for t in range(len(episode)):
                at = transitions.frame_index[step]
                np.testing.assert_array_equal(transitions.frames[at], episode.images[t])
                np.testing.assert_array_equal(transitions.frames[at + 1], episode.images[t + 1])
                np.testing.assert_array_equal(transitions.proprio[at + 1], episode.proprio[t + 1])
                np.testing.assert_array_equal(transitions.actions[step], episode.actions[t])
                assert transitions.rewards[step] == episode.rewards[t]
                assert transitions.terminals[step] == episode.terminals[t]
                assert transitions.source[step] == number
                step += 1
    assert step == len(transitions.actions) == sum(entry["steps"] for entry in transitions.sources)
    assert len(transitions.frames) == step + 7 + 5 + 9
    assert transitions.rewards[transitions.source > 0].max() == 0 < transitions.rewards.max() == 1


def test_state_datasets_load_without_frames(make_dataset):
    dataset = make_dataset(state=True)
    relabel(dataset.path, "zero", "none")
    transitions = load(open_merge(dataset.path))
    assert transitions.frames is None
    np.testing.assert_array_equal(transitions.proprio[:5], next(dataset.episodes()).state)


def test_shares_follow_roles_and_steps(merge):
    task, old, older = merge.sources
    assert task.share == 0.25
    assert old.share + older.share == pytest.approx(0.75)
    assert old.share / older.share == pytest.approx(old.view.steps / older.view.steps)


def test_a_merge_moves_with_its_datasets(merge, tmp_path):
    before = load(merge).fingerprint
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    assert load(open_merge(moved / "all.json")).fingerprint == before
    moved.rename(tmp_path)


def test_a_materialised_merge_loads_to_the_same_bits(merge, tmp_path):
    view = load(merge)
    copy = load(materialise(merge.path, tmp_path / "copy"))
    for name in ("frames", "proprio", "actions", "rewards", "terminals", "frame_index", "source", "episode"):
        one, other = getattr(view, name), getattr(copy, name)
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), name
    assert view.fingerprint == copy.fingerprint
    assert load(open_merge(tmp_path / "copy")).fingerprint == copy.fingerprint
    assert verify(tmp_path / "copy") == []
    with pytest.raises(CogError, match="not empty"):
        materialise(merge.path, tmp_path / "copy")


def test_a_copy_that_fails_half_way_leaves_nothing(merge, tmp_path):
    (merge.sources[2].dataset.path / "shards/00002.h5").unlink()
    with pytest.raises(CogError, match=r"00002\.h5"):
        materialise(merge.path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_materialised_dataset_needs_no_view_file(make_dataset, tmp_path):
    dataset = make_dataset()
    relabel(dataset.path, "grasp_success", "reward")
    copy = materialise(dataset.path, tmp_path / "copy")
    assert copy.sources[0].dataset.materialised
    assert load(copy).fingerprint == load(open_merge(dataset.path)).fingerprint
    assert load(open_merge(tmp_path / "copy@stored")).fingerprint == load(copy).fingerprint


def test_the_fingerprint_follows_rewards_and_shares(make_dataset, tmp_path):
    path = make_dataset().path
    prints = set()
    for name, options in (("a", {}), ("b", {"scale": 2.0}), ("c", {"terminate": False})):
        relabel(path, "grasp_success", name, **options)
        prints.add(load(open_merge(path.with_name(f"data@{name}"))).fingerprint)
    relabel(path, "zero", "none")
    for share in (0.25, 0.5):
        merge = write_merge(tmp_path / f"{share}.json", [f"{path}@a"], [f"{path}@none"], share)
        prints.add(load(merge).fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("task", "prior", "said"),
    [("aa", "", "2 times, as task and task"), ("a", "a", "2 times, as task and prior"), ("a", "b", None)],
)
def test_data_that_are_named_twice_are_said(task, prior, said, make_dataset, tmp_path):
    path = make_dataset().path
    relabel(path, "grasp_success", "a")
    relabel(path, "zero", "b")
    sources = ([f"{path}@{name}" for name in names] for names in (task, prior))
    twice = [remark for remark in write_merge(tmp_path / "m.json", *sources).remarks() if "times" in remark]
    assert twice == ([] if said is None else [f"data@a is in the merge {said}"])


def test_copies_of_one_dataset_are_named_by_their_own_paths(make_dataset, tmp_path):
    relabel(make_dataset("one").path, "zero", "a")
    shutil.copytree(tmp_path / "one", tmp_path / "another")
    manifest = json.loads((tmp_path / "another/manifest.json").read_text())
    forge(tmp_path / "another/manifest.json", environment=manifest["environment"] | {"note": "other names"})
    merge = write_merge(tmp_path / "m.json", [f"{tmp_path}/one@a"], [f"{tmp_path}/another@a"])
    said = f"{tmp_path}/one@a and {tmp_path}/another@a hold the same episodes with the same rewards"
    assert f"{said}, as task and prior" in merge.remarks()
    assert not any("times" in remark for remark in merge.remarks())


def test_a_share_without_prior_data_to_share_with_is_refused(make_dataset, tmp_path):
    path = make_dataset().path
    relabel(path, "zero", "none")
    with pytest.raises(
        UsageError, match=r"share is 0\.3, but there are no prior data.*leave out --task-share"
    ):
        write_merge(tmp_path / "m.json", [f"{path}@none"], task_share=0.3)
    for share in (0, 1.0):
        with pytest.raises(
            UsageError, match=f"between 0 and 1, got {share:g}. Choose one in between.*--prior"
        ):
            write_merge(tmp_path / "m.json", [f"{path}@none"], [f"{path}@none"], task_share=share)
    assert not (tmp_path / "m.json").exists()
    assert write_merge(tmp_path / "m.json", [f"{path}@none"]).sources[0].share == 1.0
    both = write_merge(tmp_path / "b.json", [f"{path}@none"], [f"{path}@none"])
    assert [source.share for source in both.sources] == [0.5, 0.5]


def test_names_that_no_file_can_have_are_one_clear_line(make_dataset, tmp_path):
    path = make_dataset().path
    relabel(path, "zero", "b" * 250)
    for name in ("a" * 251, "a" * 5000, "ä" * 126):
        with pytest.raises(UsageError, match=r"view name .{20}\.\.\. is too long"):
            relabel(path, "zero", name)
    for opening in (open_merge, open_dataset, parse_source):
        with pytest.raises(CogError, match=r"File name too long\. Choose a shorter name"):
            opening(f"{path}@{'a' * 300}")


def test_describing_tells_its_progress_in_episodes_whatever_the_views(make_dataset):
    path = make_dataset(episodes=6).path
    relabel(path, "zero", "none")
    relabel(path, "grasp_success", "some", only="grasp_success")
    told = []
    describe(path, lambda *step: told.append(step))
    assert told[-1] == (6, 6) and {total for _, total in told} == {6}
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_sources_are_written_as_folder_at_view():
    assert parse_source("a/b@c") == parse_source("a/b@c")
    assert [str(part) for part in parse_source("a@x/b@c")] == ["a@x/b", "c"]
    assert parse_source("a@x/b")[1] is None
    with pytest.raises(UsageError):
        parse_source("a@")


def test_a_name_with_an_at_that_exists_is_no_view(make_dataset, tmp_path):
    path = make_dataset("my@data").path
    relabel(path, "zero", "none")
    for text in (f"{path}", f"{path}@none"):
        merge = write_merge(tmp_path / "m.json", [text])
        assert [source.name for source in merge.sources] == ["my@data"]


def test_where_a_whole_dataset_is_meant_a_view_is_refused_with_the_name_to_give(make_dataset, tmp_path):
    path = make_dataset().path
    relabel(path, "zero", "none")
    for attempt in (describe, open_dataset):
        with pytest.raises(CogError, match=f"this takes a dataset, not a view. Pass {path}$"):
            attempt(tmp_path / "data@none")
    with pytest.raises(CogError, match="Check the path"):
        describe(tmp_path / "other@none")


def test_a_dataset_with_several_views_asks_which(make_dataset):
    path = make_dataset().path
    with pytest.raises(CogError, match=r"no reward view\. Make one with cog relabel"):
        open_merge(path)
    relabel(path, "zero", "a")
    relabel(path, "zero", "b")
    with pytest.raises(CogError, match=r"several reward views\. Use one of .*FOLDER@VIEW: a, b"):
        open_merge(path)
    with pytest.raises(CogError, match="no view 'c'"):
        open_merge(path.with_name("data@c"))


def test_a_merge_never_overwrites_another(merge, make_dataset, tmp_path, frozen):
    before = frozen(tmp_path)
    with pytest.raises(CogError, match="exists already"):
        write_merge(merge.path, [str(tmp_path / "task@reward")])
    assert frozen(tmp_path) == before


def test_sources_of_other_shapes_are_refused(make_dataset, tmp_path):
    relabel(make_dataset("image").path, "zero", "none")
    relabel(make_dataset("state", state=True).path, "zero", "none")
    with pytest.raises(CogError, match=r"cannot be merged: observations.*differ"):
        write_merge(tmp_path / "m.json", [str(tmp_path / "image")], [str(tmp_path / "state")])
    assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("share", 0.9, "add up to 1"),
        ("share", "half", "must be a number"),
        ("role", "expert", "'task' or 'prior'"),
        ("dataset_hash", "0", "has changed since"),
        ("relabel_hash", "0", "has changed since"),
        ("relabel", "other", "no view 'other'"),
        ("path", "nowhere", "no dataset here"),
        ("path", 3, "must contain the strings path"),
    ],
)
def test_a_merge_file_with_one_wrong_field_is_refused_and_verify_names_it(field, value, message, merge):
    sources = json.loads(merge.path.read_text())["sources"]
    forge(merge.path, sources=[{**sources[0], field: value}, *sources[1:]])
    with pytest.raises(CogError, match=message):
        open_merge(merge.path)
    assert any(message.split()[0] in str(problem) for problem in verify(merge.path))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1, "kind": "merge", "sources": []}'])
def test_a_file_that_is_no_merge_is_refused(content, tmp_path):
    path = tmp_path / "m.json"
    path.write_text(content)
    with pytest.raises(CogError, match=r"m\.json"):
        open_merge(path)
    assert len(verify(path)) == 1


def test_a_missing_path_is_named(tmp_path):
    for attempt in (open_dataset, open_merge, describe):
        with pytest.raises(CogError, match="nowhere"):
            attempt(tmp_path / "nowhere")
    assert "nowhere" in str(verify(tmp_path / "nowhere")[0])
    with pytest.raises(CogError, match="nowhere"):
        relabel(tmp_path / "nowhere", "zero", "none")


def test_info_counts_what_the_episodes_hold(merge, make_dataset):
    dataset = make_dataset("again", episodes=7)
    facts = describe(dataset.path)
    lengths = [len(episode) for episode in dataset.episodes()]
    assert (facts["episodes"], facts["steps"], facts["frames"]) == (7, sum(lengths), sum(lengths) + 7)
    assert facts["successes"] == 4
    assert facts["behaviours"] == {"made up": {"episodes": 7, "successes": 4}}
    assert facts["signals"]["object_height"] == [0.02, 0.2]
    assert json.loads(json.dumps(facts)) == facts
    merged = describe(merge.path)
    assert merged["steps"] == len(load(merge).actions)
    assert json.loads(json.dumps(merged)) == merged


@pytest.mark.parametrize(
    "begin", [b"\x89HDF\r\n", b"\x08\x07\x12\x07pytorch", b"\x1f\x8b\x08", b"a,b\n1,2\n"]
)
def test_a_sound_file_of_another_kind_is_not_called_a_broken_merge(tmp_path, begin):
    (tmp_path / "file").write_bytes(begin)
    for found in (open_merge, verify, describe):
        try:
            said = "; ".join(map(str, found(tmp_path / "file") or []))
        except CogError as error:
            said = str(error)
        assert "is neither a merge nor a dataset of cog" in said and "make the merge again" not in said
