"""Success at the last step and at any step, and evaluations written before the two were told apart."""

import json
import math
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from cog.envs.make import Scene
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import _record, _summary, evaluate
from cog.evaluation.result import LOST, SAME, Evaluation, open_evaluation, results_table
from cog.evaluation.rollout import Fleet, Group, Outcome
from cog.networks.encoder import ObservationShape
from cog.provenance.summaries import evaluation as summary_of
from tests.helpers.policies import SIZE, tiny_run
from tests.helpers.toy_recipe import ENV


class ThereAndBack:
    """Goes right for four steps, then left."""

    calls = 0
    noise_dimensions = 8
    shape = ObservationShape((SIZE, SIZE, 3), 1)

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


def asked(run: Path, out: Path, **changes: Any) -> EvaluateConfig:
    wanted = {"starts": ("middle",), "episodes": 2, "env": ENV, "max_episode_steps": 4, "videos": 0}
    return EvaluateConfig(run, out, workers=1, **{**wanted, **changes})


def test_an_evaluation_of_an_older_version_is_read_and_not_repeated(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(asked(run, tmp_path / "old"))
    file = tmp_path / "old" / "evaluation.json"
    value = json.loads(file.read_text())
    value["results"] = [{k: v for k, v in entry.items() if k != "last_step"} for entry in value["results"]]
    del value["config"]["terminate_on_success"]
    file.write_text(json.dumps(value))
    (result,) = open_evaluation(tmp_path / "old").results
    assert result.last == result.rate
    monkeypatch.setattr("cog.evaluation.evaluate._crew", lambda *_: pytest.fail("rolled out again"))
    assert evaluate(asked(run, tmp_path / "old")) == open_evaluation(tmp_path / "old")


def test_both_measures_are_written_and_shown(run: Path, tmp_path: Path) -> None:
    report = evaluate(asked(run, tmp_path / "new", terminate_on_success=False))
    value = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    assert all(episode["steps"] == 4 for episode in value["episodes"])
    for measure, name in (("success", ""), ("success_last", "last_step")):
        entry = value["results"][0][name] if name else value["results"][0]
        assert entry["successes"] == sum(episode[measure] for episode in value["episodes"])
    header = [column.header for column in results_table(report).renderables[0].columns]  # type: ignore[union-attr]
    assert "at the last step" in header and "at any step" in header


def printed(evaluation: Evaluation) -> str:
    """What `cog evaluate` prints, on one line."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(results_table(evaluation))
    return " ".join(captured.get().split())


def kept(folder: Path, outcomes: list[Outcome], config: dict[str, Any]) -> Evaluation:
    """These outcomes as an evaluation that was written and is read again."""
    value = {
        "format": 1,
        "kind": "evaluation",
        "config": config,
        "checkpoint_hash": "0",
        "update": 3,
        "results": [_summary("left", outcomes)],
        "pictures": {},
        "episodes": [_record(outcome) for outcome in outcomes],
    }
    folder.mkdir(exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(value))
    return open_evaluation(folder)


def interval(successes: int, n: int) -> tuple[float, float]:
    """Wilson's interval by its closed form, z = 1.96."""
    z, share = 1.959963984540054, successes / n
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


@settings(max_examples=60, deadline=None)
@given(marks=st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=25))
def test_both_measures_their_intervals_and_what_is_printed_follow_from_the_marks_of_the_steps(
    marks: list[list[bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcomes = [
        Outcome(
            number=number,
            seed=100 + number,
            start="left",
            success=any(steps),
            success_last=steps[-1],
            steps=len(steps),
            total=0.0,
            furthest="success" if any(steps) else "failure",
            actions=np.zeros((len(steps), 1), np.float32),
        )
        for number, steps in enumerate(marks)
    ]
    folder = tmp_path_factory.getbasetemp() / "measures"
    found = kept(folder, outcomes, {"terminate_on_success": False, "max_episode_steps": 6})
    (entry,) = found.results
    ever, last = sum(map(any, marks)), sum(steps[-1] for steps in marks)
    for rate, count in ((entry.rate, ever), (entry.last, last)):
        assert (rate.successes, rate.episodes) == (count, len(marks))
        assert (rate.low, rate.high) == pytest.approx(interval(count, len(marks)), abs=1e-9)
    assert found.ran_on and found.measure == "at the last step of at most 6"
    text = printed(found)
    assert f"{last}/{len(marks)}" in text and f"{ever}/{len(marks)}" in text
    assert "success is counted at the last step of at most 6" in text and SAME not in text
    assert (f"left: {LOST}" in text) == (ever > last)
    signs = Counter(word[-1] for word in text.split() if word[:-1].count(":") == 1 and word[-1] in "+-~")
    assert (signs["+"], signs["~"], signs["-"]) == (last, ever - last, len(marks) - ever)
    config = {"starts": ["left"], "episodes": len(marks), "seed": 0}
    assert f"left {last}/{len(marks)} (at the last step of at most 6)" in summary_of(config, found)


@pytest.mark.parametrize("config", [{}, {"terminate_on_success": True, "max_episode_steps": 6}])
def test_where_success_ends_an_episode_the_output_says_that_both_are_the_same(
    config: dict[str, Any], tmp_path: Path
) -> None:
    actions = np.zeros((2, 1), np.float32)
    good = Outcome(0, 100, "left", True, True, 2, 1.0, "success", actions)
    found = kept(tmp_path / "same", [good, good], config)
    assert not found.ran_on and found.measure == "at the first success, which ends an episode"
    assert SAME in printed(found)
    scene_that_goes_on = Outcome(1, 101, "left", True, False, 2, 1.0, "success", actions)
    found = kept(tmp_path / "other", [good, scene_that_goes_on], config)
    assert found.ran_on and SAME not in printed(found)


def test_films_are_named_by_the_last_step(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cog.evaluation.rollout.Policy.act", ThereAndBack().act)
    monkeypatch.setattr("cog.evaluation.evaluate.can_encode", lambda: False)
    captions: list[str] = []
    monkeypatch.setattr(
        "cog.evaluation.evaluate.write_sheet", lambda _, rows: captions.extend(text for text, _ in rows)
    )
    changes = {"episodes": 1, "max_episode_steps": 8, "videos": None, "terminate_on_success": False}
    report = evaluate(asked(run, tmp_path / "films", **changes))
    assert report.result("middle").lost == 1
    assert captions == [f"middle, episode 0, seed {report.episodes[0]['seed']}: {LOST}"]
