"""The demo: a policy shown grasping only from an open drawer meets a closed one, from pixels to a report.

out/
  demo.json                  what is run, and seconds so far
  data/                      task/, prior/, both.json, task_only.json
  arms/<arm>/                the four training runs
  evaluation/<arm>/          evaluation.json, videos/, sheet_<start>.png
  records/                   of the jobs, see `cog.experiments.jobs.job`
  learning_curves.png  summary.json  report.html
"""

import contextlib
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cog.core.configs import apart, differences, to_json
from cog.core.console import console, messages, table
from cog.core.files import Taken, hash_file, read_json, write_json
from cog.core.inputs import Input, inputs_to_json
from cog.core.lock import locked
from cog.datasets.relabel.view import open_view
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError
from cog.evaluation.result import RESULT, Evaluation
from cog.evaluation.rollout import episode_seeds
from cog.experiments.command_line import changed
from cog.experiments.demo import plan
from cog.experiments.demo.arithmetic import bfloat16_gain, faster_precision
from cog.experiments.demo.config import DemoConfig
from cog.experiments.demo.report import QUICK_NOTE, write_report
from cog.experiments.jobs.crew import Place
from cog.experiments.jobs.estimate import Estimate
from cog.experiments.jobs.job import Job, ordered
from cog.experiments.jobs.kinds import Evaluate, Relabel, latest_metrics
from cog.experiments.jobs.mark import read_mark
from cog.experiments.jobs.run import run_jobs
from cog.experiments.machine import machine, versions
from cog.experiments.pages.curves import draw_curves
from cog.experiments.paper.arms import ARMS
from cog.experiments.paper.results import seconds as seconds_by_kind
from cog.training.metrics import read_metrics

FORMAT, MARK_FORMAT = 1, 2
MARK, SUMMARY, REPORT, CURVES = "demo.json", "summary.json", "report.html", "learning_curves.png"
LEFT_OUT = tuple(name for name in apart(DemoConfig) if name != "out")  # of the printed command


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Run the demo, or what is missing of it, print its table and return what summary.json holds.

    Raises:
        CogError: the folder holds something else or is in use, or a job failed; finished jobs stay.
    """
    asked = computed(config)
    config = asked.sized()
    arms = plan.jobs(config)
    jobs = ordered(list(arms.values()))
    with claimed(config):
        if config.quick:
            messages().print(QUICK_NOTE, style="yellow")
        with timed(config.out / MARK, jobs):
            place = Place(config.workers, config.dask, config.dashboard)
            run_jobs(jobs, place, Estimate(config.out / "records").seconds)
        evaluations = {arm: evaluation.result() for arm, evaluation in arms.items()}
        tried = {arm: evaluation for arm, evaluation in evaluations.items() if evaluation is not None}
        if missing := evaluations.keys() - tried.keys():
            raise CogError(
                f"{config.out}: no policy of {', '.join(sorted(missing))} to show; its run diverged"
            )
        if not all((config.out / name).exists() for name in (SUMMARY, CURVES, REPORT)):
            _report(asked, config, arms, tried)  # what was left out once is made the next time
    _show(config, tried, console())
    return read_json(config.out / SUMMARY, "the demo's summary")


def computed(config: DemoConfig) -> DemoConfig:
    """The demo with a precision: what its folder was begun with, or else what this processor is faster in."""
    if config.precision != "auto":
        return config
    held = read_mark(config.out / MARK, MARK_FORMAT, "demo", "demo")
    if held is not None:
        return replace(config, precision=held["identity"]["precision"])
    gain = bfloat16_gain()
    precision = faster_precision(gain)
    messages().print(f"training in {precision}: bfloat16 is {gain:.2g} times as fast as float32 here")
    return replace(config, precision=precision)


@contextlib.contextmanager
def claimed(config: DemoConfig) -> Iterator[None]:
    """Make the folder, or take the one that holds this very demo, and keep others out of it.

    Raises:
        CogError: it holds another demo or something else, or another process works in it.
    """
    mark, mine = config.out / MARK, plan.identity(config)
    if read_mark(mark, MARK_FORMAT, "demo", "demo") is None:
        with contextlib.suppress(Taken):  # another has just begun; its mark is compared
            write_json(
                mark, {"format": MARK_FORMAT, "kind": "demo", "identity": mine, "seconds": 0.0}, new=True
            )
    if differing := differences(read_json(mark, "the mark of a demo")["identity"], mine):
        raise CogError(
            f"{config.out} already holds another demo; differing: {', '.join(differing)}. "
            "Nothing was written; choose another folder with --out."
        )
    with locked(config.out):
        yield


@contextlib.contextmanager
def timed(mark: Path, jobs: list[Job]) -> Iterator[None]:
    """Add the seconds that pass inside to those of the mark, if there is work to do."""
    if all(job.finished() for job in jobs):
        yield
        return
    began = time.monotonic()
    try:
        yield
    finally:
        held = read_json(mark, "the mark of a demo")
        write_json(mark, {**held, "seconds": round(held["seconds"] + time.monotonic() - began, 2)})


def _report(
    asked: DemoConfig,
    config: DemoConfig,
    arms: Mapping[str, Evaluate],
    evaluations: Mapping[str, Evaluation],
) -> None:
    """Everything that is made from finished jobs; pictures need optional packages and may be left out."""
    summary = _summary(config, arms, evaluations)
    write_json(config.out / SUMMARY, summary)
    curves: Path | None = config.out / CURVES
    try:
        metrics = {arm: read_metrics(evaluation.run.folder) for arm, evaluation in arms.items()}
        draw_curves(config.out / CURVES, metrics, {arm: ARMS[arm].colour for arm in arms})
    except CogError as error:
        curves = None
        messages().print(f"{CURVES} left out: {error}", style="yellow")
    try:
        commands = [_command(asked), *plan.commands(config, arms)]
        write_report(config.out / REPORT, summary, evaluations, curves, commands)
    except CogError as error:
        messages().print(f"{REPORT} left out: {error}", style="yellow")


def _summary(
    config: DemoConfig, arms: Mapping[str, Evaluate], evaluations: Mapping[str, Evaluation]
) -> dict[str, Any]:
    """What machines read."""
    merge = arms["cog"].run.merge
    views = {"task": merge.task, "prior": merge.priors[0]}
    took = seconds_by_kind(ordered(list(arms.values())))
    total = read_json(config.out / MARK, "the mark of a demo")["seconds"]
    entries = [(arm, entry) for arm, evaluation in evaluations.items() for entry in evaluation.results]
    return {
        "format": FORMAT,
        "kind": "demo summary",
        "quick": config.quick,
        "note": QUICK_NOTE if config.quick else "",
        "measure": next(iter(evaluations.values())).measure,
        "results": [
            {
                "arm": arm,
                "start": entry.start,
                "successes": entry.last.successes,
                "episodes": entry.last.episodes,
                "low": entry.last.low,
                "high": entry.last.high,
            }
            for arm, entry in entries
        ],
        "endings": [
            {
                "arm": arm,
                "start": entry.start,
                "mean_steps": entry.mean_steps,
                "failures": dict(entry.failures),
            }
            for arm, entry in entries
        ],
        "data": {name: _source(view) for name, view in views.items()},
        "arms": {
            arm: {
                "checkpoint_hash": evaluation.checkpoint_hash,
                "final_metrics": latest_metrics(arms[arm].run.folder)[1],
            }
            for arm, evaluation in evaluations.items()
        },
        "inputs": inputs_to_json(
            [
                Input.of("evaluation", entry.out, hash_file(entry.out / RESULT), config.out)
                for entry in evaluations.values()
            ]
        ),
        "seeds": {
            **{f"{name} data": view.data.spec.seed for name, view in views.items()},
            "training": config.seed,
            "evaluation": config.seed,
            "episodes": episode_seeds(config.seed, config.episodes),
        },
        "seconds": {kind: times["wall"] for kind, times in took.items()} | {"total": total},
        "config": to_json(config),
        "versions": versions(),
        "machine": machine(),
    }


def _source(view: Relabel) -> dict[str, Any]:
    """Counts of one dataset under its view."""
    dataset = open_dataset(view.data.folder)
    found = open_view(dataset, view.view_name)
    return {
        "episodes": dataset.episode_count,
        "steps": found.steps,
        "successes": dataset.success_count,
        "rewarded_steps": found.rewarded_steps,
        "hash": dataset.hash,
    }


def _show(config: DemoConfig, evaluations: Mapping[str, Evaluation], screen: Console) -> None:
    """Where the results are and, last, the table."""
    for name in (REPORT, SUMMARY):
        if (config.out / name).exists():
            screen.print(Text(str(config.out / name)))
    if config.quick:
        screen.print(QUICK_NOTE, style="yellow")
    rows = [
        [arm, *(_cell(evaluation, start) for start in plan.STARTS)] for arm, evaluation in evaluations.items()
    ]
    measure = next(iter(evaluations.values())).measure
    title = f"success {measure}: {config.episodes} episodes from each start, Wilson 95% interval"
    title += " (quick run: the numbers mean nothing)" if config.quick else ""
    screen.print(table(title, ["arm", *plan.STARTS], rows))


def _cell(evaluation: Evaluation, start: str) -> str:
    rate = evaluation.result(start).last
    return f"{rate.count}  {rate}"


def _command(config: DemoConfig) -> str:
    """The command line of this demo."""
    return shlex.join(["cog", "demo", *changed(to_json(config), to_json(DemoConfig()), LEFT_OUT)])
