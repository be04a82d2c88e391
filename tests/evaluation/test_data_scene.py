"""The scene of the data, its options included, is the one that a policy acts in unless another is named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from cog import cli
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.environment import act_in, scene_facts
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset
from cog.envs.make import is_registered
from cog.errors import UsageError
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.online.config import FinetuneConfig
from cog.online.finetune import finetune
from cog.training import checkpoint
from cog.training.train import train
from tests.helpers.learner_data import config
from tests.helpers.toy_scene import Line

TOLD = {"id": "a", "max_episode_steps": 3, "options": {"goals": [1, 2]}}


class Marked(Line):
    """A line whose marks, an option, change nothing."""

    def __init__(self, marks: tuple[int, ...] = (), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.marks = tuple(marks)


if "toy/Marked-v0" not in gymnasium.registry:
    gymnasium.register("toy/Marked-v0", entry_point=Marked, max_episode_steps=4)
ENV = "tests.evaluation.test_data_scene:toy/Marked-v0"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of a scene with an option, and a policy trained on them."""
    root = tmp_path_factory.mktemp("marked")
    collect(
        CollectionSpec(
            episodes=2,
            behaviours=(BehaviourChoice("reach"),),
            starts=("middle",),
            env=ENV,
            image_size=16,
            max_episode_steps=4,
            env_options={"marks": (3, 5)},
        ),
        root / "data",
        workers=1,
    )
    relabel(root / "data", "tests.envs.test_own_scene:arrived", "arrived")
    train(dataclasses.replace(config(root / "run", updates=1), data=root / "data"))
    return root


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({}, ["marks=[3, 5]"]),
        ({"max_episode_steps": 2}, ["marks=[3, 5]"]),
        ({"env_options": ("marks=[1]",)}, ["marks=[1]"]),
        ({"env": ENV}, []),
    ],
)
def test_evaluation_has_the_options_of_the_data_unless_a_scene_or_options_are_named(
    chain: Path, tmp_path: Path, asked: dict[str, Any], options: list[str]
) -> None:
    evaluate(EvaluateConfig(chain / "run", tmp_path / "e", ("middle",), 1, workers=1, videos=0, **asked))
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text())["config"]["env_options"] == options


def test_the_command_counts_the_episodes_of_the_starts_that_the_scene_has(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--checkpoint", str(chain / "run"), "--out", str(tmp_path / "evaluation")]
    assert cli.run([*command, "--episodes", "2", "--workers", "1", "--videos", "0"]) == 0
    assert "evaluate: 2/2 episodes" in capsys.readouterr().err


@pytest.mark.parametrize(("env", "options"), [(None, {"marks": [3, 5]}), (ENV, None)])
def test_fine_tuning_goes_on_in_the_same_scene_and_hands_it_on(
    chain: Path, tmp_path: Path, env: str | None, options: dict[str, Any] | None
) -> None:
    settings = FinetuneConfig(
        chain / "run", chain / "data", tmp_path / "run", "middle", episodes=1, round_episodes=1, env=env
    )
    finetune(dataclasses.replace(settings, updates_per_episode=1, evaluate_every=1, evaluate_episodes=1))
    assert checkpoint.load(tmp_path / "run").scene.get("options") == options
    assert open_dataset(tmp_path / "run" / "online").environment.get("options") == options


def test_a_checkpoint_keeps_what_tells_the_scene_and_nothing_that_is_not_there(chain: Path) -> None:
    scene = {"id": ENV, "max_episode_steps": 4, "options": {"marks": [3, 5]}}
    robot = {"rate": 10.0, "resize": "keep"}
    assert checkpoint.load(chain / "run").scene == {**scene, "robot_interface": robot}
    assert scene_facts({"id": "a", "image_size": 16, "max_episode_steps": 3}) == {
        "id": "a",
        "max_episode_steps": 3,
    }
    assert act_in({"id": "a", "max_episode_steps": 3}, "here") == ("a", {}, 3)  # as older checkpoints tell
    assert act_in(TOLD, "here", options={"size": 1}) == ("a", {**TOLD["options"], "size": 1}, 3)
    assert act_in(TOLD, "here", env="b", options={"size": 1}) == ("b", {"size": 1}, 3)


@pytest.mark.parametrize(
    ("recorded", "given", "words"),
    [
        ({"id": "so100"}, {}, "'so100', which is no environment .* Pass --env and --max-episode-steps of an"),
        ({"id": "so100"}, {"max_episode_steps": 3}, "'so100', which is no environment .* Pass --env of an"),
        ({"id": "so100", "max_episode_steps": 3}, {}, "'so100', which is no environment .* Pass --env of an"),
        ({"id": "so100"}, {"env": ENV}, "how many steps an episode .* Pass --max-episode-steps$"),
        ({"id": ENV}, {}, "how many steps an episode .* Pass --max-episode-steps$"),
        ({"id": "unknown"}, {}, "does not record its environment. Pass --env and --max-episode-steps$"),
    ],
)
def test_all_that_an_evaluation_lacks_is_asked_for_at_once(
    recorded: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        act_in(recorded, "here", exists=is_registered, **given)
    both: dict[str, Any] = {"env": ENV, "max_episode_steps": 3}
    assert act_in(recorded, "here", exists=is_registered, **both) == (ENV, {}, 3)
