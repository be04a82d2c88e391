"""A scene that the toolkit does not know goes through the whole chain."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from cog.config import preset
from cog.datasets.collect import collect
from cog.datasets.merge import write_merge
from cog.datasets.relabel import relabel
from cog.datasets.rollout import registered_steps
from cog.datasets.spec import BehaviourChoice, CollectionSpec
from cog.errors import UsageError
from cog.evaluate import evaluate
from cog.evaluate_config import EvaluateConfig
from cog.train import train
from tests.toy_scene import Line, Reach

ENV = "tests.toy_scene:toy/Line-v0"


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
    view = relabel(tmp_path / "data", "tests.test_own_scene:arrived", "arrived")
    assert view.episodes_rewarded == 4
    write_merge(tmp_path / "merge.json", [f"{tmp_path / 'data'}@arrived"])
    config = preset("cpu", tmp_path / "merge.json", tmp_path / "run")
    train(config.__class__(**{**vars(config), "updates": 3, "batch_size": 4}))
    report = evaluate(
        EvaluateConfig(tmp_path / "run", tmp_path / "eval", ("left", "middle"), 2, workers=1, videos=0)
    )
    assert {result.start for result in report.results} == {"left", "middle"}


def test_an_own_scene_knows_only_its_own_behaviours(tmp_path):
    with pytest.raises(UsageError, match=r"'grasp' is unknown; there are: reach"):
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
    gymnasium.register("toy/Endless-v0", entry_point=Line)
    with pytest.raises(UsageError, match="give --max-steps"):
        registered_steps("toy/Endless-v0")
    with pytest.raises(UsageError, match="nowhere"):
        registered_steps("nowhere:None-v0")
    with pytest.raises(UsageError, match="Nothing-v0"):
        registered_steps("cog/Nothing-v0")
