"""Success at the last step and at any step, and evaluations written before the two were told apart."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cog.envs.make import Scene
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.evaluation.result import open_evaluation, results_table
from cog.evaluation.rollout import Fleet, Group
from tests.helpers.policies import SIZE, tiny_run
from tests.helpers.toy_recipe import ENV


class ThereAndBack:
    """Goes right for four steps, then left."""

    calls = 0
    noise_dimensions = 8

    def act(self, images: np.ndarray, proprio: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        self.calls += 1
        return np.full((len(images), 8), 1.0 if self.calls <= 4 else -1.0, np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("policy") / "run", proprio=1)


@pytest.mark.parametrize(("ends", "steps", "last"), [(True, 3, True), (False, 8, False)])
def test_an_episode_that_runs_on_may_undo_its_success(run: Path, ends: bool, steps: int, last: bool) -> None:
    scene = Scene(ENV, (SIZE, SIZE, 3), 8, (), ends)
    with closing(Fleet(run, scene, rows=1)) as fleet:
        fleet.policy = ThereAndBack()  # type: ignore[assignment]
        (outcome,) = fleet.roll(Group("middle", (0,), (1,)))
    # From 0.5 to 0.6, 0.2 a step: beyond 0.9 after two or three steps, and back below it in the end.
    assert outcome.success and outcome.success_last is last
    assert outcome.steps <= steps and (ends or outcome.steps == steps)


def settings(run: Path, out: Path, **changes: Any) -> EvaluateConfig:
    wanted = {"starts": ("middle",), "episodes": 2, "env": ENV, "max_episode_steps": 4, **changes}
    return EvaluateConfig(run, out, workers=1, videos=0, **wanted)


def test_an_evaluation_of_an_older_version_is_read_and_not_repeated(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(settings(run, tmp_path / "old"))
    file = tmp_path / "old" / "evaluation.json"
    value = json.loads(file.read_text())
    value["results"] = [{k: v for k, v in entry.items() if k != "last_step"} for entry in value["results"]]
    del value["config"]["terminate_on_success"]
    file.write_text(json.dumps(value))
    (result,) = open_evaluation(tmp_path / "old").results
    assert result.last == result.rate
    monkeypatch.setattr("cog.evaluation.evaluate._crew", lambda *_: pytest.fail("rolled out again"))
    assert evaluate(settings(run, tmp_path / "old")) == open_evaluation(tmp_path / "old")


def test_both_measures_are_written_and_shown(run: Path, tmp_path: Path) -> None:
    report = evaluate(settings(run, tmp_path / "new", terminate_on_success=False))
    value = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    assert all(episode["steps"] == 4 for episode in value["episodes"])
    for measure, name in (("success", ""), ("success_last", "last_step")):
        entry = value["results"][0][name] if name else value["results"][0]
        assert entry["successes"] == sum(episode[measure] for episode in value["episodes"])
    header = [column.header for column in results_table(report).renderables[0].columns]  # type: ignore[union-attr]
    assert "at the last step" in header and "at any step" in header
