"""The whole suite at its smallest: shared jobs, resumption after any kill, arms that diverge, the table."""

import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

from cog.algorithms import ALGORITHMS
from cog.algorithms.sac import SACConfig
from cog.datasets.load import load
from cog.datasets.merge import open_merge
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError, UsageError
from cog.evaluation.intervals import wilson
from cog.evaluation.result import open_evaluation
from cog.evaluation.rollout import episode_seeds
from cog.experiments.jobs import kinds as job_kinds
from cog.experiments.paper import reproduce as module
from cog.experiments.paper.arms import ARMS, TABLE
from cog.experiments.paper.config import ROWS, USUAL_ARMS, ArmName, ReproduceConfig
from cog.experiments.paper.graph import build
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.paper.recipes.recipe import Cell
from cog.experiments.paper.reproduce import command, reproduce
from cog.experiments.paper.results import markdown, summarise
from cog.provenance.lineage import trace
from cog.provenance.recheck import recheck, upstream_first
from cog.training.guard import Diverged
from tests.helpers.toy_recipe import TOY, again, toy_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReproduceConfig, dict[str, Any]]:
    """Every usual arm with two seeds, finished."""
    config = toy_config(tmp_path_factory.mktemp("all") / "out", arms=USUAL_ARMS, seeds=(0, 1))
    results = reproduce(config, [TOY])
    assert results is not None
    return config, results


def written(out: Path) -> dict[Path, int]:
    """When each file of the finished jobs was written."""
    jobs = (out / name for name in ("data", "merges", "runs", "evaluations", "records"))
    return {path: path.stat().st_mtime_ns for folder in jobs for path in folder.rglob("*") if path.is_file()}


def test_every_arm_and_seed_is_evaluated_on_every_cell_with_the_same_episodes(everything: Any) -> None:
    config, results = everything
    cells = {(entry["arm"], entry["start"], entry["seed"]): entry for entry in results["results"]}
    assert set(cells) == {(a, s, n) for a in USUAL_ARMS for s in ("left", "middle") for n in (0, 1)}
    for (_, start, seed), entry in cells.items():
        evaluation = open_evaluation(config.out / entry["evaluation"])
        assert [episode["seed"] for episode in evaluation.episodes] == episode_seeds(seed, 3)
        assert {episode["start"] for episode in evaluation.episodes} == {start}
        rate = wilson(sum(episode["success"] for episode in evaluation.episodes), 3)
        assert entry["any_step"] == dataclasses.asdict(rate)
        assert entry["update"] == 6
    assert json.loads((config.out / "results.json").read_text()) == json.loads(json.dumps(results))


def test_the_results_lead_to_every_evaluation_run_and_dataset(everything: Any) -> None:
    config, results = everything
    things = upstream_first(trace(config.out / "results.json"))
    evaluations = {(config.out / entry["evaluation"]).resolve() for entry in results["results"]}
    assert {thing.path.resolve() for thing in things if thing.kind == "evaluation"} == evaluations
    runs = {(config.out / entry["run"]).resolve() for entry in results["results"]}
    assert {thing.path.resolve().parents[1] for thing in things if thing.kind == "checkpoint"} == runs
    report = recheck(things)
    assert (report.problem, report.unrecorded) == (None, 0)


def test_arms_learn_from_what_they_are_said_to(everything: Any) -> None:
    config, _ = everything
    graph = build([TOY], config)
    runs = {(entry.arm.name, entry.seed): entry.evaluation.run for entry in graph.entries}
    task, prior = (
        open_dataset(view.data.folder) for view in (graph.sources[0].task, *graph.sources[0].priors)
    )
    assert {episode.start for episode in task.episodes()} == {"middle"}
    assert {episode.start for episode in prior.episodes()} == {"left"}
    both, alone = (
        load(open_merge(runs["cog", 0].config.data)),
        load(open_merge(runs["bc_task_only", 0].config.data)),
    )
    assert both.rewards[both.source == 0].max() == 10 and not both.rewards[both.source == 1].any()
    assert len(both.actions) > len(alone.actions) and set(alone.source) == {0}
    good = load(open_merge(runs["bc_oracle", 0].config.data))
    wanted = [
        sum(episode.signals["place"][-1] > least for episode in dataset.episodes())
        for dataset, least in ((task, 0.9), (prior, 0.5))
    ]
    assert [len(set(good.episode[good.source == number])) for number in (0, 1)] == wanted
    assert 0 < wanted[1] < 6
    assert runs["sac", 0].config.algorithm == SACConfig()
    assert runs["sac", 0].config.data == runs["cog", 0].config.data == runs["bc_all", 0].config.data
    assert runs["cog", 0].config.data != runs["cog", 1].config.data, "every seed has its own data"


def test_a_finished_command_repeats_nothing_even_elsewhere_and_an_enlarged_one_only_adds(
    everything: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, results = everything
    shutil.copytree(config.out, tmp_path / "moved")
    config = dataclasses.replace(config, out=tmp_path / "moved")
    before = written(config.out)
    monkeypatch.setattr("cog.experiments.jobs.run.open_crew", lambda *_: pytest.fail("something is repeated"))
    found = reproduce(config, [TOY])
    assert found is not None and found["results"] == results["results"]
    assert written(config.out) == before
    monkeypatch.undo()
    wider = again(TOY, cells=(*TOY.cells, Cell("left", ("image_height=16",))))
    with pytest.raises(CogError, match=r"evaluate left-cql.*image_height"):  # the toy has no such option
        reproduce(dataclasses.replace(config, arms=("cog",)), wider)
    wider = again(TOY, cells=(Cell("left", ("start=middle",)), *TOY.cells))
    more = reproduce(dataclasses.replace(config, arms=("cog",)), wider)
    assert more is not None and len(more["results"]) == 6
    after = written(config.out)
    assert all(after[path] == moment for path, moment in before.items())


def test_rows_share_their_task_data_and_the_arms_that_see_nothing_else(tmp_path: Path) -> None:
    config = ReproduceConfig(out=tmp_path)
    graph = build([RECIPES[name] for name in ROWS], config)
    kinds = [job.kind for job in graph.jobs]
    places = [job.place for job in graph.jobs]
    assert len(set(places)) == len({job.hash for job in graph.jobs}) == len(graph.jobs)
    seeds, tasks = 3, 3
    assert RECIPES["blocked_drawer"].task == RECIPES["blocked_object"].task
    assert kinds.count("collect") == seeds * (4 + tasks), "four priors; two rows share their task set"
    assert kinds.count("train") == seeds * (4 * 4 + tasks * 2), "task-only arms once for each task set"
    alone = {e.evaluation.run.hash for e in graph.entries if e.arm.name == "bc_task_only" and e.seed == 0}
    assert len(alone) == tasks
    opened = {
        e.evaluation.hash
        for e in graph.entries
        if (e.arm.name, e.cell.name, e.seed) == ("bc_task_only", "open", 0)
    }
    drawers = [recipe for recipe in RECIPES.values() if recipe.task.env == RECIPES["closed"].task.env]
    tried = {(recipe.task.episodes, recipe.horizon) for recipe in drawers}
    assert len(opened) == len(tried), "and tried from the common start once for each horizon"
    assert len(graph.entries) == seeds * 4 * len(USUAL_ARMS) * 5


def test_recipes_ask_for_what_their_scenes_have() -> None:
    import gymnasium
    import numpy as np

    import cog.envs  # noqa: F401
    from cog.envs.behaviours import make_behaviour
    from cog.signals.predicates import PREDICATES

    for recipe in RECIPES.values():
        env = gymnasium.make(recipe.task.env, observation="state").unwrapped
        env.reset(seed=0)
        for spec in (recipe.task, *recipe.priors):
            assert set(spec.starts) <= set(env.starts) and spec.env == recipe.task.env
            for choice in spec.behaviours:
                make_behaviour(choice.name, env, np.random.default_rng(0), dict(choice.options))
        assert {cell.start for cell in recipe.cells} <= set(env.starts)
        assert recipe.cells[0].start not in recipe.task.starts
        assert {recipe.task_rule, recipe.sub_skill} <= PREDICATES.keys()
        env.close()


STAGES = ("collect", "relabel", "write_merge", "train", "evaluate")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_command_killed_at_any_stage_goes_on_where_it_was(
    stage: str, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy_config(tmp_path / "out", arms=("bc_all",))
    real, calls = getattr(job_kinds, stage), []

    def killed(*arguments: Any, **options: Any) -> Any:
        calls.append(stage)
        if len(calls) == (1 if stage in ("write_merge", "train") else 2):
            if when == "after":
                real(*arguments, **options)
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(job_kinds, stage, killed)
    with pytest.raises(KeyboardInterrupt):
        reproduce(config, [TOY])
    before = {path: moment for path, moment in written(config.out).items() if "records" not in path.parts}
    done: list[str] = []
    for name in STAGES:
        function = real if name == stage else getattr(job_kinds, name)

        def counted(*arguments: Any, _do: Any = function, _name: str = name, **options: Any) -> Any:
            done.append(_name)
            return _do(*arguments, **options)

        monkeypatch.setattr(job_kinds, name, counted)
    results = reproduce(config, [TOY])
    assert results is not None and len(results["results"]) == 2
    after = written(config.out)
    left = {path for path in before if path.name not in ("metrics.jsonl", "timings.jsonl", "config.json")}
    assert all(after[path] == before[path] for path in left), "what was there is not written again"
    expected = {name: STAGES.index(name) > STAGES.index(stage) for name in STAGES}
    assert all((name in done) >= expected[name] for name in STAGES)
    assert not any(name in done for name in STAGES[: STAGES.index(stage)])


def test_a_command_killed_while_it_trains_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from cog.experiments.paper.reproduce import reproduce\n"
        "from tests.helpers.toy_recipe import *\n"
        "if __name__ == '__main__':\n"
        "    slow = {**SMALL, 'updates': 800, 'checkpoint_every': 50}\n"
        f"    config = toy_config(Path({str(tmp_path / 'out')!r}), arms=('bc_all',))\n"
        "    reproduce(config, again(TOY, settings={'image': slow}))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/records/train-*.json")):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (record,) = tmp_path.glob("out/records/train-*.json")
    half = json.loads(record.read_text())
    assert half["content"] is None and 0 < half["share"] < 1 and half["cpu_seconds"] > 0
    data = {path: moment for path, moment in written(tmp_path / "out").items() if "data" in path.parts}
    subprocess.run([sys.executable, str(script)], cwd=ROOT, env=environment, capture_output=True, check=True)
    (timings,) = tmp_path.glob("out/runs/*/timings.jsonl")
    updates = [json.loads(line)["update"] for line in timings.read_text().splitlines() if line.endswith("}")]
    assert updates.count(8) == 1 and updates[-1] == 800, "the beginning is trained once"
    after = written(tmp_path / "out")
    assert all(after[path] == moment for path, moment in data.items())
    whole = json.loads(record.read_text())
    assert whole["content"] and whole["cpu_seconds"] > half["cpu_seconds"]


def test_damaged_results_are_made_again(tmp_path: Path) -> None:
    config = toy_config(tmp_path / "out", arms=("bc_all",))
    reproduce(config, [TOY])
    (evaluation,) = (config.out / "evaluations").glob("left-*")
    before = (evaluation / "evaluation.json").read_text()
    (evaluation / "evaluation.json").unlink()
    shard = next((config.out / "data").glob("*/shards/*.h5"))
    data = shard.read_bytes()
    shard.unlink()
    reproduce(config, [TOY])
    assert (evaluation / "evaluation.json").read_text() == before and shard.read_bytes() == data


def test_an_arm_that_diverges_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: Any, update: int, values: Any, root: Path) -> None:
        if config.algorithm.name == "sac" and update >= 5:
            raise Diverged("Q ran away")

    monkeypatch.setattr("cog.training.train.refuse_divergence", refuse)
    config = toy_config(tmp_path / "out", arms=("sac", "bc_all"))
    results = reproduce(config, [TOY])
    assert results is not None
    found = {(entry["arm"], entry["start"]): entry for entry in results["results"]}
    assert found["sac", "left"]["diverged"] == "Q ran away" and found["sac", "left"]["update"] == 4
    assert found["bc_all", "left"]["diverged"] is None and found["bc_all", "left"]["update"] == 6
    assert "diverged, policy of update 4" in markdown(results)
    before = written(config.out)
    assert reproduce(config, [TOY]) == results and written(config.out) == before, "it is not tried again"


def test_an_arm_that_diverges_before_its_first_checkpoint_counts_as_no_success(tmp_path: Path) -> None:
    runaway = again(TOY, settings={"image": {**TOY.settings["image"], "runaway_q": 1e-9}})
    results = reproduce(toy_config(tmp_path / "out"), runaway)
    assert results is not None
    cog = [entry for entry in results["results"] if entry["arm"] == "cog"]
    for entry in cog:
        assert "critics diverge" in entry["diverged"] and entry["evaluation"] is None is entry["update"]
        assert (entry["last_step"]["successes"], entry["last_step"]["episodes"]) == (0, 3)
    assert "0/3 [0.00, 0.56] diverged, no policy" in markdown(results)


def test_the_plan_says_what_is_left_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], everything: Any
) -> None:
    assert reproduce(toy_config(tmp_path / "out", plan=True), [TOY]) is None
    assert not (tmp_path / "out").exists() and "0/2" in capsys.readouterr().out
    config, _ = everything
    assert reproduce(dataclasses.replace(config, plan=True), [TOY]) is None
    assert "12/12" in capsys.readouterr().out


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CogError, match="holds no experiments"):
        reproduce(toy_config(tmp_path), [TOY])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with module.claimed(tmp_path / "out", False), pytest.raises(CogError, match="another process"):
        reproduce(toy_config(tmp_path / "out"), [TOY])


def test_the_printed_command_asks_for_the_same(tmp_path: Path) -> None:
    from cog import cli

    config = ReproduceConfig(
        rows=("closed", "pick_place"), seeds=(3,), updates=7, out=tmp_path / "a b", terminate_on_success=False
    )
    assert cli.parse(shlex.split(command(config))[1:]).config == config


@pytest.mark.parametrize(
    "changes",
    [{"seeds": ()}, {"seeds": (1, 1)}, {"scale": 0.0}, {"updates": 0}, {"rows": ("closed", "closed")}],
)
def test_senseless_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ReproduceConfig(**changes)


def test_names_on_the_command_line_are_those_of_recipes_and_arms() -> None:
    assert tuple(RECIPES) == ROWS
    assert tuple(ARMS) == get_args(ArmName)
    assert tuple(arm.name for arm in TABLE) == USUAL_ARMS
    assert {arm.algorithm for arm in ARMS.values()} == set(ALGORITHMS)


class Page(HTMLParser):
    """What a page would load, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [value or "" for name, value in attrs if name in ("src", "href", "poster", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_opens_offline_and_tells_every_arm_beside_the_paper(everything: Any) -> None:
    config, results = everything
    page = Page()
    page.feed((config.out / "report.html").read_text())
    assert page.urls and all(url.startswith("data:") for url in page.urls)
    assert all(arm in page.text for arm in USUAL_ARMS) and TOY.title in page.text
    assert "68-78 %" in page.text and "their figures" in page.text
    assert results["command"] in page.text


def test_the_table_marks_every_cell_once_and_intervals_are_those_of_the_numbers() -> None:
    def number(seed: int, successes: int, last: int, **changes: Any) -> dict[str, Any]:
        rates = {"last_step": wilson(last, 100), "any_step": wilson(successes, 100)}
        entry = {"row": "closed", "arm": "cog", "start": "closed", "extra": False, "seed": seed}
        entry |= {name: dataclasses.asdict(rate) for name, rate in rates.items()}
        return {**entry, "diverged": None, "update": 5, "evaluation": "e", **changes}

    numbers = [number(0, 90, 80), number(1, 70, 60), number(0, 3, 3, arm="sac", diverged="Q", update=1)]
    numbers.append(number(1, 0, 0, arm="sac", diverged="Q", update=None, evaluation=None))
    results = {"config": {"seeds": [0, 1]}, "results": numbers, "summary": summarise(numbers)}
    lines = markdown(results).splitlines()
    assert lines[0] == "| row | start | arm | seed 0 | seed 1 | all episodes | mean of seeds |"
    assert len(lines) == 4
    told = "| 80/100 [0.71, 0.87] (any step 90/100 [0.83, 0.94]) | 60/100 [0.50, 0.69] (any step 70/100 "
    assert told in lines[2]
    assert "| 70% [63%, 76%] (any step 80% [74%, 85%]) |" in lines[2]
    assert "diverged, policy of update 1 | 0/100 [0.00, 0.04] diverged, no policy |" in lines[3]
    cog, sac = results["summary"]
    assert cog["last_step"]["pooled"] == dataclasses.asdict(wilson(140, 200))
    assert cog["any_step"]["pooled"]["successes"] == 160
    assert cog["last_step"]["over_seeds"]["value"] == pytest.approx(0.7)
    assert (cog["diverged"], sac["diverged"]) == (0, 2)
