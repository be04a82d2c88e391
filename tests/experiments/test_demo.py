"""The demo end to end at its smallest, its data, its resumption and its report."""

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cog import cli
from cog.datasets.relabel.view import labelled, open_view
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError, UsageError
from cog.evaluation.intervals import wilson
from cog.experiments.demo import plan
from cog.experiments.demo.arithmetic import bfloat16_gain
from cog.experiments.demo.config import DemoConfig
from cog.experiments.demo.demo import _command, claimed, computed, run_demo
from cog.experiments.demo.report import headline
from cog.experiments.jobs.job import ordered
from cog.experiments.jobs.kinds import Collect, latest_metrics
from cog.provenance.lineage import trace
from cog.provenance.recheck import recheck, upstream_first
from cog.signals.predicates import grasp_success

ARMS = {"cog", "bc_all", "cql_task_only", "bc_task_only"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DemoConfig:
    out = tmp_path_factory.mktemp("demo") / "run"
    return DemoConfig(out=out, seed=1, quick=True, precision="float32")


@pytest.fixture(scope="module")
def summary(config: DemoConfig) -> dict[str, Any]:
    return run_demo(config)


def test_quick_demo_evaluates_every_arm_on_every_start(config: DemoConfig, summary: dict[str, Any]) -> None:
    cells = {(entry["arm"], entry["start"]): entry for entry in summary["results"]}
    assert set(cells) == {(arm, start) for arm in ARMS for start in ("open", "closed")}
    for (arm, start), entry in cells.items():
        written = json.loads((config.out / "evaluation" / arm / "evaluation.json").read_text())
        episodes = [episode for episode in written["episodes"] if episode["start"] == start]
        assert [episode["seed"] for episode in episodes] == summary["seeds"]["episodes"]
        assert entry["successes"] == sum(episode["success"] for episode in episodes)
        rate = wilson(entry["successes"], len(episodes))
        assert (entry["low"], entry["high"]) == (rate.low, rate.high)
        assert written["update"] == summary["config"]["updates"]
    assert {"python", "torch", "pybullet", "numpy", "cog"} <= set(summary["versions"])
    assert summary["seconds"]["total"] > 0 and "nothing" in summary["note"]
    assert json.loads((config.out / "summary.json").read_text()) == summary


def test_arms_differ_only_in_algorithm_data_and_place(config: DemoConfig) -> None:
    runs = {arm: evaluation.run.config for arm, evaluation in plan.jobs(config.sized()).items()}
    assert set(runs) == ARMS
    ignored = {"algorithm", "data", "out"}
    common = [{k: v for k, v in vars(run).items() if k not in ignored} for run in runs.values()]
    assert all(settings == common[0] for settings in common)
    algorithms = {"cog": "cql", "cql_task_only": "cql", "bc_all": "bc", "bc_task_only": "bc"}
    assert {arm: run.algorithm.name for arm, run in runs.items()} == algorithms
    assert runs["cql_task_only"].data == runs["bc_task_only"].data != runs["cog"].data == runs["bc_all"].data


def test_task_data_hold_no_closed_start_and_prior_data_no_success_and_no_reward(
    config: DemoConfig, summary: dict[str, Any]
) -> None:
    task, prior = (open_dataset(config.out / "data" / name) for name in ("task", "prior"))
    for episode in task.episodes():
        assert episode.start == "open" and episode.signals["drawer_opening"][0] > 0.8
    rewards = np.concatenate([episode.rewards for episode in labelled(task, open_view(task))])
    assert set(rewards.tolist()) == {0.0, 10.0}
    for episode in labelled(prior, open_view(prior)):
        assert episode.start == "closed" and episode.signals["drawer_opening"][0] < 0.1
        assert not grasp_success(episode.signals).any() and not episode.success
        assert episode.rewards is not None and not episode.rewards.any()
        assert episode.terminals is not None and not episode.terminals.any()
    assert summary["data"]["prior"]["successes"] == summary["data"]["prior"]["rewarded_steps"] == 0


class Loaded(HTMLParser):
    """What a page would load, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href", "poster", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "file", ["data/task/shards/00000.h5", "arms/cog/checkpoints/step_*/model.safetensors"]
)
def test_the_summary_leads_to_every_episode_and_a_byte_changed_on_the_way_is_named(
    file: str, config: DemoConfig, summary: dict[str, Any], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(config.out, tmp_path / "copy"))
    things = upstream_first(trace(root / "summary.json"))
    kinds = [thing.kind for thing in things]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "dataset": 2,
        "view": 2,
        "merge": 2,
        "checkpoint": 4,
        "evaluation": 4,
        "demo summary": 1,
    }
    assert recheck(things).problem is None
    (path,) = root.glob(file)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    problem = recheck(upstream_first(trace(root / "summary.json"))).problem
    assert problem is not None and str(path) in str(problem)


def test_report_opens_offline_and_says_that_a_quick_run_means_nothing(
    config: DemoConfig, summary: dict[str, Any]
) -> None:
    source = (config.out / "report.html").read_text()
    page = Loaded()
    page.feed(source)
    assert page.urls and all(url.startswith("data:") for url in page.urls)
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"@import|url\(|https?://", re.sub(r"data:[^\"]*", "", source))
    assert "numbers mean nothing" in page.text
    assert all(arm in page.text for arm in ARMS)
    assert all(str(seed) in page.text for seed in summary["seeds"]["episodes"])
    assert "cog demo" in page.text and "cog evaluate" in page.text


def test_finished_demo_is_not_run_again(
    config: DemoConfig,
    summary: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("cog.experiments.jobs.run.open_crew", lambda *_: pytest.fail("something ran again"))
    monkeypatch.setattr("cog.experiments.demo.demo._report", lambda *_: pytest.fail("reported again"))
    assert run_demo(config) == summary
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert "cog" in lines[-5] and "bc_task_only" in lines[-2], "the table comes last"


def test_another_demo_in_the_same_folder_is_refused_before_anything_is_written(
    config: DemoConfig, summary: dict[str, Any]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("*")}
    with pytest.raises(CogError, match="another demo; differing: seed"):
        run_demo(DemoConfig(out=config.out, seed=2, quick=True))
    assert {path: path.stat().st_mtime_ns for path in config.out.rglob("*")} == before


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CogError, match="holds no demo"):
        run_demo(DemoConfig(out=tmp_path, quick=True))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_demo_whose_evaluation_is_lost_makes_it_again_and_nothing_else(
    config: DemoConfig, summary: dict[str, Any], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(config.out, tmp_path / "copy"))
    lost = copy / "evaluation" / "bc_all" / "evaluation.json"
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.safetensors")}
    assert run_demo(DemoConfig(out=copy, seed=1, quick=True))["results"] == summary["results"]
    assert lost.exists() and {path: path.stat().st_mtime_ns for path in before} == before
    assert json.loads((copy / "demo.json").read_text())["seconds"] > summary["seconds"]["total"]


def test_missing_optional_packages_leave_the_numbers_and_the_report_follows_when_they_are_there(
    config: DemoConfig, summary: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(config.out, copy)
    moved = DemoConfig(out=copy, seed=1, quick=True)
    for file in ("summary.json", "report.html", "learning_curves.png"):
        (copy / file).unlink()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert run_demo(moved)["results"] == summary["results"]
    assert not (copy / "report.html").exists()
    (copy / "learning_curves.png").unlink()
    with monkeypatch.context() as patch:
        patch.undo()
        patch.setitem(sys.modules, "matplotlib.figure", None)
        patch.delitem(sys.modules, "jinja2")
        assert run_demo(moved)["results"] == summary["results"]
        assert not (copy / "learning_curves.png").exists()
        assert "matplotlib is not installed" in (copy / "report.html").read_text()
    monkeypatch.undo()
    assert run_demo(moved)["results"] == summary["results"]
    assert (copy / "learning_curves.png").exists()
    assert "matplotlib is not installed" not in (copy / "report.html").read_text()


@pytest.mark.parametrize(
    "config",
    [
        DemoConfig(out=Path("somewhere"), seed=2, wander=0.25, updates=1234, precision="bfloat16"),
        DemoConfig(out=Path("held"), hold=True, wrist=True, version=1, precision="float32"),
        DemoConfig(
            out=Path("a folder; or 'two'"),
            wander=1 / 3,
            reward=1234567.0,
            task_share=0.1234567,
            precision="float32",
        ),
    ],
)
def test_printed_commands_ask_for_the_same_data_policies_and_evaluations(
    config: DemoConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs: dict[Path, Any] = {}

    def collect(spec: Any, out: Path, **_: Any) -> Any:
        specs[out] = spec
        return SimpleNamespace(episode_count=0, step_count=0, success_count=0)

    arms = plan.jobs(config)
    monkeypatch.setattr("cog.datasets.collection.collect.collect", collect)
    parsed = [cli.parse(shlex.split(line)[1:]) for line in plan.commands(config, arms)]
    trained, evaluated = [], []
    for command in parsed:
        kind = type(command).__name__
        if kind == "Collect":
            command.run()
        elif kind == "Train":
            trained.append(command.config)
        elif kind == "Evaluate":
            evaluated.append(command.config)
        elif kind == "Relabel":
            rule = "held(grasp_success, 6)" if config.hold else "grasp_success"
            expected = {"task": (rule, config.reward), "prior": ("zero", 1.0)}[command.dataset.name]
            assert (command.rule, command.scale, command.terminate) == (*expected, True)
        elif kind == "Merge" and command.prior:
            assert command.task_share == config.task_share
    jobs = ordered(list(arms.values()))
    assert cli.parse(shlex.split(_command(config))[1:]).config == config
    assert specs == {job.folder: job.spec for job in jobs if isinstance(job, Collect)}
    assert trained == [evaluation.run.config for evaluation in arms.values()]
    assert [replace(found, workers=1) for found in evaluated] == [job.config for job in arms.values()]


def test_a_demo_computes_in_the_faster_arithmetic_and_keeps_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DemoConfig(out=tmp_path / "run")
    for gain, precision in ((0.6, "float32"), (1.0, "float32"), (1.5, "bfloat16")):
        monkeypatch.setattr("cog.experiments.demo.demo.bfloat16_gain", lambda gain=gain: gain)
        assert computed(config).precision == precision
        assert f"{precision}: bfloat16 is {gain:.2g} times as fast" in capsys.readouterr().err
    with claimed(computed(config)):
        pass
    monkeypatch.setattr("cog.experiments.demo.demo.bfloat16_gain", lambda: 0.6)
    assert computed(config).precision == "bfloat16", "the folder was begun with it"
    assert computed(replace(config, precision="float32")).precision == "float32"
    assert bfloat16_gain(rounds=1) > 0


def test_headline_admits_overlapping_intervals() -> None:
    def evaluations(cog: int, others: int) -> Any:
        counts = {"cog": cog, "bc_all": others, "cql_task_only": 0, "bc_task_only": 0}
        results = {arm: SimpleNamespace(last=wilson(count, 100)) for arm, count in counts.items()}
        return {arm: SimpleNamespace(result={"closed": found}.get) for arm, found in results.items()}

    assert "do not overlap" in headline(evaluations(90, 5)) and "90%" in headline(evaluations(90, 5))
    assert "intervals overlap" in headline(evaluations(12, 5))
    assert "lies below" in headline(evaluations(0, 60))


@pytest.mark.parametrize(
    "changes",
    [
        {"updates": 0},
        {"seed": -1},
        {"wander": 1.0},
        {"quick": True, "updates": 500},
        {"workers": -1},
        {"reward": float("nan")},
        {"reward": 0.0},
        {"task_share": 1.0},
        {"task_share": 1.5},
        {"aim_error": float("nan")},
        {"noise": float("inf")},
    ],
)
def test_senseless_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        DemoConfig(**changes)


def test_metrics_of_an_arm_that_has_not_begun_are_empty(tmp_path: Path) -> None:
    assert latest_metrics(tmp_path) == (0, {})
    (tmp_path / "metrics.jsonl").write_text('{"update": 10, "td_loss": 0.5}\n{"update": 20, "td_')
    assert latest_metrics(tmp_path) == (10, {"update": 10, "td_loss": 0.5})
