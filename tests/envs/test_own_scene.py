"""A scene that the toolkit does not know goes through the whole chain."""

import json
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import relabel
from cog.envs.make import registered_steps, scene_class
from cog.errors import CogError, UsageError
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.evaluation.result import STAGES_BEFORE, open_evaluation
from cog.training.presets import preset
from cog.training.train import train
from tests.helpers.policies import tiny_run
from tests.helpers.toy_scene import Line, Reach

ENV = "tests.helpers.toy_scene:toy/Line-v0"


def arrived(episode):
    """Reward at the right end."""
    return (episode.signals["place"] > 0.9)[1:].astype(np.float32)


def spec(behaviour: str = "reach") -> CollectionSpec:
    return CollectionSpec(
        episodes=4, behaviours=(BehaviourChoice(behaviour),), starts=("left",), env=ENV, image_size=16
    )


def test_an_own_scene_with_its_own_behaviour_and_reward_is_collected_trained_on_and_evaluated(tmp_path):
    dataset = collect(spec(), tmp_path / "data", workers=1)
    assert dataset.success_count == 4
    view = relabel(tmp_path / "data", "tests.envs.test_own_scene:arrived", "arrived")
    assert view.episodes_rewarded == 4
    write_merge(tmp_path / "merge.json", [f"{tmp_path / 'data'}@arrived"])
    config = preset("cpu", tmp_path / "merge.json", tmp_path / "run")
    train(config.__class__(**{**vars(config), "updates": 3, "batch_size": 4}))
    report = evaluate(
        EvaluateConfig(tmp_path / "run", tmp_path / "eval", ("left", "middle"), 2, workers=1, videos=0)
    )
    assert {result.start for result in report.results} == {"left", "middle"}


def test_the_scene_on_the_page_for_own_scenes_is_this_one():
    root = Path(__file__).parents[2]
    page, scene = (root / "docs/guides/own-scene.md"), (root / "tests/helpers/toy_scene.py")
    assert f"```python\n# toy_scene.py\n{scene.read_text()}```" in page.read_text()


def test_an_own_scene_knows_only_its_own_behaviours(tmp_path):
    with pytest.raises(UsageError, match=r"'grasp' is unknown\. Choose one of: reach"):
        collect(spec("grasp"), tmp_path / "data", workers=1)


def test_a_behaviour_that_cannot_end_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.delattr(Reach, "done")
    with pytest.raises(UsageError, match=r"'reach' of .* lacks done"):
        collect(spec(), tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()


def test_a_scene_without_pictures_is_refused_before_its_episodes_run_unless_no_film_is_wanted(
    tmp_path, monkeypatch
):
    relabel(collect(spec(), tmp_path / "data", workers=1).path, "zero", "zero")
    config = preset("cpu", tmp_path / "data", tmp_path / "run")
    train(config.__class__(**{**vars(config), "updates": 1, "batch_size": 4}))
    monkeypatch.delattr(Line, "render")
    asked = EvaluateConfig(tmp_path / "run", tmp_path / "eval", ("left",), 1, workers=1)
    with pytest.raises(UsageError, match="--videos 0"):
        evaluate(asked)
    assert evaluate(replace(asked, videos=0)).results[0].start == "left"


def test_episodes_are_as_long_as_the_scene_was_registered_with():
    assert registered_steps(ENV) == 20
    assert registered_steps("cog/DoubleDrawer-v0") == 80
    gymnasium.register("toy/Unlimited-v0", entry_point=Line)
    with pytest.raises(UsageError, match="Pass --max-steps"):
        registered_steps("toy/Unlimited-v0")
    with pytest.raises(UsageError, match="nowhere"):
        registered_steps("nowhere:None-v0")
    with pytest.raises(UsageError, match="Nothing-v0"):
        registered_steps("cog/Nothing-v0")


def test_a_scene_that_fills_the_same_arrays_again_is_recorded_as_it_was_seen(tmp_path, monkeypatch):
    plain = next(collect(spec(), tmp_path / "plain", workers=1).episodes())
    see, kept = Line._see, {"signals": {}}

    def see_again(self):
        observation, info = see(self)
        for name, value in observation.items():
            kept.setdefault(name, value.copy())[:] = value
        kept["signals"].update(info["signals"])
        return {name: kept[name] for name in observation}, {**info, "signals": kept["signals"]}

    monkeypatch.setattr(Line, "_see", see_again)
    reused = next(collect(spec(), tmp_path / "reused", workers=1).episodes())
    assert len(np.unique(plain.signals["place"])) > 3
    assert np.array_equal(plain.signals["place"], reused.signals["place"])
    assert np.array_equal(plain.images, reused.images) and np.array_equal(plain.proprio, reused.proprio)


def seen_otherwise(change):
    """`Line._see` with something else in its observation or info."""
    see = Line._see

    def changed(self):
        observation, info = see(self)
        change(observation, info)
        return observation, info

    return changed


PASSED = [name for name, _ in Line.stages]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda seen, info: info.pop("signals"), "lacks signals"),
        (lambda seen, info: info.pop("success"), "lacks success"),
        (lambda seen, info: info["signals"].update(bonus=1.0), "has bonus, place"),
        (lambda seen, info: info["signals"].update(place="left"), "must be a finite number, not 'left'"),
        (lambda seen, info: info["signals"].update(place=np.nan), "must be a finite number"),
        (lambda seen, info: seen.pop("proprio"), "observes image\\. Return image, proprio"),
        (lambda seen, info: seen.update(goal=np.zeros(2)), "observes goal, image, proprio"),
        (
            lambda seen, info: seen.update(proprio=np.zeros(2)),
            r"proprio of shape \(2,\), but its space has \(1,\)",
        ),
    ],
)
def test_a_scene_that_shows_other_things_than_it_says_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, change, said
):
    monkeypatch.setattr(Line, "_see", seen_otherwise(change))
    with pytest.raises(UsageError, match=said):
        collect(spec(), tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()


def test_a_signal_that_a_later_frame_lacks_is_named_with_the_frame(tmp_path, monkeypatch):
    def forget(seen, info):
        if info["signals"]["place"] > 0.5:
            info["signals"].clear()

    monkeypatch.setattr(Line, "_see", seen_otherwise(forget))
    with pytest.raises(CogError, match=r"frame \d+ of the episode with seed \d+: signal_names lists place"):
        collect(spec(), tmp_path / "data", workers=1)


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("far", r"stage 1 of .* must be a pair of a name and a predicate"),
        (("far", "place > 0.5"), "must be a pair .*not callable"),
        (
            ("far", lambda signals: signals["height"] > 1),
            r"signals: .* 'far' raises KeyError: 'height' \(test_own_scene\.py, line \d+\)",
        ),
    ],
)
def test_a_stage_that_cannot_be_judged_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, stage, said
):
    monkeypatch.setattr(Line, "stages", (Line.stages[0], stage))
    with pytest.raises(UsageError, match=said):
        collect(spec(), tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()


def idle(tmp_path, name="eval"):
    """Failed episodes from both starts: the policy hardly moves, and the time is short."""
    run = tiny_run(tmp_path / "run", proprio=1)
    short = {"env": ENV, "max_episode_steps": 2, "workers": 1, "videos": 0}
    return evaluate(EvaluateConfig(run, tmp_path / name, ("left", "middle"), 6, **short))


def test_failures_are_counted_by_the_stages_of_the_scene_from_least_to_most(tmp_path):
    report = idle(tmp_path)
    assert json.loads((tmp_path / "eval/evaluation.json").read_text())["stages"] == PASSED
    assert set(report.result("left").failures) == {PASSED[0]}
    assert list(report.result("middle").failures) in (PASSED, PASSED[1:])
    assert open_evaluation(tmp_path / "eval") == report


def test_a_scene_without_stages_is_evaluated_as_before_there_were_any(tmp_path, monkeypatch):
    monkeypatch.delattr(Line, "stages")
    assert {stage for result in idle(tmp_path).results for stage in result.failures} == {"failure"}


def test_an_evaluation_from_before_scenes_had_stages_is_read_in_their_old_order(tmp_path):
    idle(tmp_path)
    value = json.loads((tmp_path / "eval/evaluation.json").read_text())
    del value["stages"]
    value["results"][0]["failures"] = {"drawn": 1, STAGES_BEFORE[4]: 2, STAGES_BEFORE[1]: 3}
    (tmp_path / "eval/evaluation.json").write_text(json.dumps(value))
    found = open_evaluation(tmp_path / "eval").results[0].failures
    assert list(found.items()) == [(STAGES_BEFORE[1], 3), (STAGES_BEFORE[4], 2), ("drawn", 1)]


def test_a_scene_without_behaviours_has_none(tmp_path, monkeypatch):
    monkeypatch.delattr(Line, "behaviours")
    with pytest.raises(UsageError, match=r"'reach' is unknown\. There is none to choose"):
        collect(spec(), tmp_path / "data", workers=1)


def test_what_a_scene_brings_is_read_without_building_it(monkeypatch):
    monkeypatch.setattr(Line, "__init__", lambda self: pytest.fail("built"))
    assert scene_class(ENV).starts == ("left", "middle")
    assert list(scene_class("cog/PickPlace-v0").behaviours)[-1] == "pick_and_place"
    with pytest.raises(UsageError, match="Nothing-v0"):
        scene_class("cog/Nothing-v0")


def test_a_scene_without_starts_or_with_other_spaces_is_refused(tmp_path, monkeypatch):
    asked = spec()
    with monkeypatch.context() as patch:
        patch.delattr(Line, "starts")
        with pytest.raises(UsageError, match="lacks the attribute starts"):
            collect(asked, tmp_path / "data", workers=1)
    build = Line.__init__

    def discrete(self, **arguments):
        build(self, **arguments)
        self.action_space = gymnasium.spaces.Discrete(3)

    def flat(self, **arguments):
        build(self, **arguments)
        self.observation_space = self.observation_space["proprio"]

    for changed, said in ((discrete, "must take actions from Box"), (flat, "must observe Dict")):
        monkeypatch.setattr(Line, "__init__", changed)
        with pytest.raises(UsageError, match=said):
            collect(asked, tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()


def test_a_module_of_a_scene_that_does_not_load_is_named_with_its_error(tmp_path, monkeypatch):
    (tmp_path / "broken_scene.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"'broken_scene' does not load \(ZeroDivisionError"):
        registered_steps("broken_scene:toy/Broken-v0")
    with pytest.raises(UsageError, match=r"'broken_scene' does not load \(ZeroDivisionError"):
        collect(replace(spec(), env="broken_scene:toy/Broken-v0"), tmp_path / "data", workers=1)


@pytest.mark.parametrize(
    "predicate",
    [lambda seen: seen["place"][-1] > 0, lambda seen: seen["place"][:1] > 0, lambda seen: seen["place"]],
)
def test_a_stage_without_one_bool_for_each_frame_is_refused_before_anything_is_written(
    predicate, tmp_path, monkeypatch
):
    monkeypatch.setattr(Line, "stages", (("begun", predicate),))
    with pytest.raises(UsageError, match=r"stage 0 of .* must return one bool for each frame"):
        collect(spec(), tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("success", 0.25, "frame 0 .*: signal 'success' is 0.25, but info\\['success'\\] is False"),
        ("success", True, "frame 0 .*: signal 'success' is 1, but info\\['success'\\] is False"),
        ("reward", -1.0, "frame 1 .*: signal 'reward' is -1, but the step's reward is 0.0"),
        ("success", np.array([0.0]), None),
        ("reward", 0.0, None),
        ("held", 0.25, None),
        ("recorded", 5.0, None),
    ],
)
def test_a_signal_with_the_name_of_what_a_scene_says_elsewhere_says_the_same(
    name, given, said, tmp_path, monkeypatch
):
    see = Line._see

    def with_signal(self):
        observation, info = see(self)
        return observation, info | {"signals": info["signals"] | {name: given}}

    monkeypatch.setattr(Line, "signal_names", ("place", name))
    monkeypatch.setattr(Line, "_see", with_signal)
    slow = BehaviourChoice("reach", 1.0, {"speed": 0.1})  # without success or reward in four steps
    asked = replace(spec(), behaviours=(slow,), max_episode_steps=4)
    if said is None:
        (episode, *_) = collect(asked, tmp_path / "data", workers=1).episodes()
        assert set(episode.signals[name].tolist()) == {np.float32(np.asarray(given).item())}
        return
    with pytest.raises(CogError, match=f"Line-v0, {said}. Make both the same, at every frame, or give"):
        collect(asked, tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()
