"""Rewards are views: computed from signals, never stored in what was collected, checked whenever loaded."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from cog.core.files import hash_json
from cog.datasets.edit.config import FilterConfig
from cog.datasets.edit.filter import select
from cog.datasets.info import describe
from cog.datasets.load import load
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import labelled, open_view, relabel
from cog.datasets.storage import shard
from cog.datasets.storage.dataset import write_dataset
from cog.datasets.storage.verify import verify
from cog.datasets.writer import DatasetWriter
from cog.errors import CogError, UsageError
from tests.conftest import forge, make_episode


def test_a_terminal_view_rewards_the_first_success_and_drops_the_rest(make_dataset):
    dataset = make_dataset(episodes=6)
    view = relabel(dataset.path, "grasp_success", "reward", scale=10.0)
    for number, episode in enumerate(labelled(dataset, view)):
        if number % 2 == 0:  # held from step 2 on
            assert episode.rewards.tolist() == [0, 0, 10]
            assert episode.terminals.tolist() == [False, False, True]
            assert len(episode.images) == 4
        else:
            assert not episode.rewards.any() and len(episode) == 4 + number % 3
            assert episode.terminals.tolist() == [*[False] * (len(episode) - 1), episode.terminated]
    assert (view.rewarded_steps, view.episodes_rewarded, view.reward_sum) == (3, 3, 30.0)


def test_a_view_that_drops_steps_or_rewards_none_says_so(make_dataset):
    dataset = make_dataset(episodes=6)
    steps = dataset.step_count
    cut = relabel(dataset.path, "grasp_success", "cut")
    assert [text.split(" are kept")[0] for text in cut.remarks(steps)] == [f"{cut.steps} of {steps} steps"]
    assert relabel(dataset.path, "grasp_success", "whole", terminate=False).remarks(steps) == []
    (remark,) = relabel(dataset.path, "object_height > 9", "never").remarks(steps)
    assert remark == "no step has a reward, none of 3 episodes that count as successes"
    assert relabel(dataset.path, "zero", "zero").remarks(steps) == []
    judged = replace(relabel(dataset.path, "object_height > 9", "other"), rule="classifier:judge")
    assert "the classifier takes no frame for a success" in judged.remarks(steps)[0]


def test_a_persistent_view_rewards_every_success_and_ends_where_the_environment_did(make_dataset):
    dataset = make_dataset(episodes=6)
    view = relabel(dataset.path, "grasp_success", "reward", terminate=False)
    lengths = [4, 5, 6, 4, 5, 6]
    assert view.rewarded_steps == sum(length - 2 for length in lengths[::2])
    assert view.steps == sum(lengths)
    for episode in labelled(dataset, view):
        assert episode.terminals.tolist() == [*[False] * (len(episode) - 1), episode.terminated]


def test_the_zero_rule_gives_no_reward_and_only_the_ends_of_the_environment(make_dataset):
    dataset = make_dataset(episodes=6, task=True)
    for episode in labelled(dataset, relabel(dataset.path, "zero", "none")):
        assert not episode.rewards.any() and not episode.terminals[:-1].any()
        assert episode.terminals[-1] == episode.terminated


def test_relabelling_leaves_shards_alone_and_may_be_repeated(make_dataset, frozen):
    dataset = make_dataset()
    before = frozen(dataset.path)
    view = relabel(dataset.path, "grasp_success", "reward")
    after = frozen(dataset.path)
    assert relabel(dataset.path, "grasp_success", "reward") == view == open_view(dataset)
    assert frozen(dataset.path) == after
    assert after.keys() - before.keys() == {"relabels/reward.json"}
    assert all(after[name] == before[name] for name in before)
    with pytest.raises(CogError, match="exists already"):
        relabel(dataset.path, "zero", "reward")
    assert frozen(dataset.path) == after


USER_RULES = """
import numpy as np

def height(episode):
    return episode.signals["object_height"][1:] * 2

def has_nan(episode):
    return np.where(np.arange(len(episode)) == 1, np.nan, 0.0)

def too_long(episode):
    return episode.signals["object_height"]

def scalar(episode):
    return 1.0

def raises(episode):
    raise RuntimeError("broken inside")

def misses(episode):
    return episode.signals["altitude"]

def nothing(episode):
    episode.signals["object_height"]

def leaves(episode):
    raise SystemExit(0)

def turns(episode):
    return np.full(len(episode), 1j)

def text(episode):
    return ["a"] * len(episode)

number = 3
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A module of reward rules in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rules.py").write_text(USER_RULES)
    yield tmp_path / "my_rules.py"
    sys.modules.pop("my_rules", None)


def test_a_users_function_gives_the_rewards(make_dataset, user_module):
    dataset = make_dataset()
    path = list(sys.path)
    view = relabel(dataset.path, "my_rules:height", "height", scale=0.5, terminate=False)
    assert sys.path == path
    for plain, episode in zip(dataset.episodes(), labelled(dataset, view), strict=True):
        np.testing.assert_allclose(episode.rewards, plain.signals["object_height"][1:])


def test_only_what_may_look_at_images_reads_them(make_dataset, user_module, monkeypatch):
    dataset = make_dataset(episodes=6)
    user_module.write_text("def bright(episode):\n    return episode.images[1:].mean((1, 2, 3)) + 1.0\n")
    whole = relabel(dataset.path, "object_height", "before", terminate=False)
    asked = []
    read = shard._read
    monkeypatch.setattr(shard, "_read", lambda *given: asked.append((given[1], given[-1])) or read(*given))

    def frames(task):
        asked.clear()
        result = task()
        return {wanted for field, wanted in asked if field == "frames"}, result

    seen, view = frames(lambda: relabel(dataset.path, "object_height", "height", terminate=False))
    assert seen == {False} and view.reward_hash == whole.reward_hash
    assert frames(lambda: relabel(dataset.path, "zero", "kept", only="grasp_success"))[0] == {False}
    assert frames(lambda: relabel(dataset.path, "my_rules:bright", "bright"))[0] == {True}
    assert frames(lambda: relabel(dataset.path, "zero", "bright_only", only="my_rules:bright"))[0] == {True}
    assert frames(lambda: describe(dataset.path))[0] == {False}
    chosen = FilterConfig(ends_in=("grasp_success",))
    assert frames(lambda: select(dataset, chosen))[0] == {False}
    assert frames(lambda: select(dataset, FilterConfig(reaches=("my_rules:bright",))))[0] == {True}
    seen, episodes = frames(lambda: list(labelled(dataset, view)))
    assert seen == {True}
    for one, other in zip(episodes, labelled(dataset, view, pictures=False), strict=True):
        assert one.images is not None and other.images is None
        np.testing.assert_array_equal(one.rewards, other.rewards)


def test_bytes_in_memory_count_the_images_that_are_not_read(make_dataset):
    dataset = make_dataset(episodes=6)
    arrays = [
        array
        for episode in dataset.episodes()
        for array in (episode.images, episode.proprio, episode.actions, *episode.signals.values())
    ]
    assert describe(dataset.path)["bytes_in_memory"] == sum(array.nbytes for array in arrays)


@pytest.mark.parametrize(
    "function, message",
    [
        ("has_nan", "episode 0: it returned nan at step 1"),
        ("too_long", r"returned shape \(5,\) but must return one number per step, \(4,\)"),
        ("scalar", r"returned shape \(\)"),
        ("raises", "RuntimeError: broken inside"),
        (
            "misses",
            r"it raises KeyError: 'altitude' \(my_rules\.py, line \d+\)\. The data hold the signals obj",
        ),
        ("nothing", "it returned None. Return one number per step"),
        (
            "leaves",
            r"it ends the program: sys\.exit\(0\) \(my_rules\.py, line \d+\)\. Raise an exception there",
        ),
        ("turns", r"it returned no real numbers \(type complex128\)"),
        ("text", "it returned no real numbers"),
        ("number", "is not a function but of type int"),
        ("absent", "cannot be imported"),
    ],
)
def test_a_wrong_user_function_is_named_and_leaves_no_view(
    function, message, make_dataset, user_module, frozen
):
    dataset = make_dataset()
    before = frozen(dataset.path)
    with pytest.raises(CogError, match=message) as caught:
        relabel(dataset.path, f"my_rules:{function}", "mine")
    assert f"my_rules:{function}" in str(caught.value)
    assert frozen(dataset.path) == before


@pytest.mark.parametrize(
    "content, message",
    [
        ("def f(episode)", "SyntaxError: "),
        ("x = 1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_users_module_that_does_not_load_is_named_with_its_error(
    content, message, make_dataset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_rules.py").write_text(content)
    path = list(sys.path)
    with pytest.raises(UsageError, match=f"'broken_rules:f' cannot be imported from here: {message}"):
        relabel(make_dataset().path, "broken_rules:f", "mine")
    assert sys.path == path


@pytest.mark.parametrize("rule, scale", [("1e39", 1.0), ("1e38", 1e10), ("0 - 1e300", 1e300)])
def test_rewards_beyond_their_precision_are_refused_by_episode(rule, scale, make_dataset, frozen):
    dataset = make_dataset()
    before = frozen(dataset.path)
    with pytest.raises(
        CogError, match=r"episode 0: -?1e\+\d+ at step 0, times scale .*too large for float32"
    ):
        relabel(dataset.path, rule, "big", scale=scale, terminate=False)
    assert frozen(dataset.path) == before


@pytest.mark.parametrize(
    "rule, name, scale",
    [
        ("no_such_rule", "x", 1.0),
        ("absent_module:f", "x", 1.0),
        ("zero", "../x", 1.0),
        ("zero", "stored", 1.0),
        ("zero", "x", float("nan")),
        ("zero", "x", -1.0),
    ],
)
def test_an_unknown_rule_or_invalid_name_is_a_usage_error(rule, name, scale, make_dataset):
    with pytest.raises(UsageError):
        relabel(make_dataset().path, rule, name, scale=scale)


def test_a_rule_that_changed_since_is_noticed_when_loading(make_dataset, user_module):
    dataset = make_dataset()
    relabel(dataset.path, "my_rules:height", "height", terminate=False)
    sys.modules.pop("my_rules")
    user_module.write_text(USER_RULES.replace("* 2", "* 2.5 "))  # another size, so no stale bytecode is used
    with pytest.raises(CogError, match="now gives other rewards"):
        load(open_merge(dataset.path))


def test_a_view_may_keep_only_the_episodes_that_end_in_a_predicate(make_dataset, tmp_path):
    dataset = make_dataset(episodes=7)
    view = relabel(dataset.path, "zero", "good", only="grasp_success")
    kept = list(labelled(dataset, view))
    wanted = [episode for episode in dataset.episodes() if episode.signals["object_height"][-1] > 0.1]
    assert view.episodes == len(kept) == len(wanted) == 4
    for found, episode in zip(kept, wanted, strict=True):
        np.testing.assert_array_equal(found.actions, episode.actions)
    assert view.steps == sum(len(episode) for episode in wanted)
    assert "only the 4 episodes that end in grasp_success" in str(view)
    transitions = load(write_merge(tmp_path / "good.json", [f"{dataset.path}@good"]))
    assert len(transitions.frames) == view.steps + 4, "no frame is left unfilled"
    np.testing.assert_array_equal(transitions.actions, np.concatenate([e.actions for e in wanted]))
    assert verify(dataset.path) == [] and open_view(dataset, "good") == view


def test_the_last_recorded_frame_is_judged_even_where_the_reward_comes_earlier(tmp_path):
    episodes = [make_episode(np.random.default_rng(0), 5, rewarded=1) for _ in range(2)]
    episodes[1].signals["object_height"][-1] = 0.0  # held from step 1 on, dropped at the end
    dataset = write_dataset(tmp_path / "data", episodes, {"kind": "made"})
    assert relabel(dataset.path, "grasp_success", "all").episodes_rewarded == 2
    view = relabel(dataset.path, "grasp_success", "held", only="grasp_success")
    assert (view.episodes, view.episodes_rewarded, view.steps) == (1, 1, 2)


def test_a_view_that_keeps_all_has_the_identity_it_had_before_views_could_select(tmp_path):
    rng = np.random.default_rng(0)
    dataset = write_dataset(tmp_path / "data", [make_episode(rng, 4, rewarded=2)], {"kind": "synthetic"})
    view = relabel(dataset.path, "grasp_success", "reward", scale=10.0)
    fields = ("name", "rule", "scale", "terminate", "dataset_hash", "reward_hash", "reward_sum", "steps")
    fields += ("rewarded_steps", "episodes_rewarded")
    assert view.hash() == hash_json({name: getattr(view, name) for name in fields})


def test_a_selection_that_is_forged_empty_or_unknown_is_refused(make_dataset, tmp_path):
    dataset = make_dataset(episodes=6, task=False)
    with pytest.raises(CogError, match=r"none of its 6 episodes ends in 'grasp_success'"):
        relabel(dataset.path, "zero", "good", only="grasp_success")
    with pytest.raises(UsageError, match="unknown"):
        relabel(dataset.path, "zero", "good", only="flown")
    dataset = make_dataset("other", episodes=6)
    relabel(dataset.path, "zero", "good", only="grasp_success")
    write_merge(tmp_path / "good.json", [f"{dataset.path}@good"])
    file = dataset.path / "relabels" / "good.json"
    whole = file.read_bytes()
    for change, message in (
        ({"episodes": 2}, "relabel_hash"),
        ({"only": 3}, "only"),
        ({"only": None}, "keys"),
    ):
        file.write_bytes(whole)
        forge(file, **change)
        with pytest.raises(CogError, match=message):
            open_merge(tmp_path / "good.json")
    file.write_bytes(whole)
    forge(file, episodes=2)
    assert any("reward_hash" in str(problem) for problem in verify(dataset.path))


@pytest.mark.parametrize(
    "odd",
    [{"terminate": "no"}, {"terminate": 1}, {"rule": len}, {"scale": "10"}, {"name": 5}],
)
def test_arguments_of_another_type_are_refused_and_nothing_is_written(odd, make_dataset):
    dataset = make_dataset(episodes=2)
    asked = {"rule": "zero", "name": "v", **odd}
    with pytest.raises(UsageError):
        relabel(dataset.path, **asked)
    assert not (dataset.path / "relabels").exists()


def test_one_source_of_a_merge_may_be_given_as_text(make_dataset, tmp_path):
    dataset = make_dataset(episodes=2)
    relabel(dataset.path, "zero", "v")
    source = f"{dataset.path}@v"
    one = write_merge(str(tmp_path / "one.json"), source, source)
    assert [part.role for part in one.sources] == ["task", "prior"]
    with pytest.raises(CogError, match="a merge joins datasets"):
        write_merge(tmp_path / "two.json", [str(tmp_path / "one.json")])


@pytest.mark.parametrize("rule", ["recorded", "reward > 1"])
def test_written_data_are_not_told_to_be_collected_otherwise(rule, tmp_path):
    with DatasetWriter(tmp_path / "data") as writer:
        for _ in range(3):
            writer.add_episode(np.zeros((4, 2)), state=np.zeros((5, 2)), rewards=np.zeros(4), success=True)
    (remark,) = relabel(tmp_path / "data", rule, "view").remarks(12)
    assert remark == "no step has a reward, none of 3 episodes that count as successes"
