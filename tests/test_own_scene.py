"""A scene that the toolkit does not know goes through the whole chain."""

import numpy as np
import pytest

from cog.config import preset
from cog.datasets.collect import collect
from cog.datasets.merge import write_merge
from cog.datasets.relabel import relabel
from cog.datasets.spec import BehaviourChoice, CollectionSpec
from cog.errors import UsageError
from cog.evaluate import evaluate
from cog.evaluate_config import EvaluateConfig
from cog.train import train

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
