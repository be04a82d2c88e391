"""The demo: a policy shown grasping only from an open drawer meets a closed one, from pixels to a report.

out/
  demo.json                  what is run, which stages are finished, seconds of each
  data/                      task/, prior/, both.json, task_only.json
  arms/<arm>/                the four training runs
  evaluation/<arm>/          evaluation.json, videos/, sheet_<start>.png
  learning_curves.png  summary.json  report.html
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cog.core.configs import to_json
from cog.core.console import console, messages, progress, table
from cog.core.files import hash_file, read_json, write_json
from cog.core.inputs import Input, inputs_to_json
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import CollectionSpec
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import open_view, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError
from cog.evaluation.evaluate import evaluate
from cog.evaluation.result import RESULT, Evaluation, open_evaluation
from cog.evaluation.rollout import episode_seeds
from cog.experiments.command_line import changed
from cog.experiments.demo import plan as plan
from cog.experiments.demo.arms import latest_metrics, train_arms
from cog.experiments.demo.config import DemoConfig
from cog.experiments.demo.report import QUICK_NOTE, write_report
from cog.experiments.demo.stages import Stages
from cog.experiments.machine import machine, versions
from cog.experiments.pages.curves import draw_curves
from cog.training.metrics import read_metrics

FORMAT = 1
SUMMARY, REPORT, CURVES = "summary.json", "report.html", "learning_curves.png"


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Run the demo, or what is missing of it, print its table and return what summary.json holds.

    Raises:
        CogError: the folder holds something else, or a stage failed; finished stages stay.
    """
    asked, config = config, config.sized()
    stages = Stages(config.out, plan.identity(config))
    screen = messages()
    work = (
        ("collect", "collect task and prior data", lambda: _collect(config)),
        ("label", "relabel and merge", lambda: _label(config)),
        ("train", f"train {', '.join(plan.ARMS)}: {config.updates} updates each", lambda: _train(config)),
        ("evaluate", f"evaluate: {config.episodes} episodes a cell", lambda: _evaluate(config)),
    )
    if config.quick:
        screen.print(QUICK_NOTE, style="yellow")
    for number, (name, title, action) in enumerate(work, start=1):
        state = " (finished before)" if stages.finished(name) else ""
        screen.print(f"{number}/{len(work)} {title}{state}", style="bold")
        stages.run(name, action)
    evaluations = {arm: open_evaluation(plan.evaluation(config, arm).out) for arm in plan.ARMS}
    if not all((config.out / name).exists() for name in (SUMMARY, CURVES, REPORT)):
        _report(asked, config, stages, evaluations)  # no stage: what was left out once is made the next time
    _show(config, evaluations, console())
    return read_json(config.out / SUMMARY, "the demo's summary")


def _collect(config: DemoConfig) -> None:
    """Both collections."""
    for name, spec in _specs(config).items():
        with progress(f"collect {name}", spec.episodes, "episode") as advance:

            def on_progress(done: int, total: int, successes: int, advance: Any = advance) -> None:
                advance(done, f"success {successes / max(done, 1):.0%}")

            collect(spec, config.out / "data" / name, workers=config.workers, on_progress=on_progress)


def _label(config: DemoConfig) -> None:
    """Reward the task data, leave the prior data without, and name what each arm learns from."""
    data = config.out / "data"
    relabel(data / "task", plan.TASK_RULE, plan.TASK_VIEW, scale=config.reward)
    relabel(data / "prior", plan.PRIOR_RULE, plan.PRIOR_VIEW)
    task, prior = f"{data / 'task'}@{plan.TASK_VIEW}", f"{data / 'prior'}@{plan.PRIOR_VIEW}"
    write_merge(data / "both.json", [task], [prior], config.task_share)
    write_merge(data / "task_only.json", [task])


def _train(config: DemoConfig) -> None:
    """All arms, side by side."""
    train_arms({arm: plan.training(config, arm) for arm in plan.ARMS})


def _evaluate(config: DemoConfig) -> None:
    """All arms, one after the other, each on all cores."""
    for arm in plan.ARMS:
        with progress(f"evaluate {arm}", config.episodes * len(plan.STARTS), "episode") as advance:
            evaluate(plan.evaluation(config, arm), on_progress=advance)


def _report(
    asked: DemoConfig, config: DemoConfig, stages: Stages, evaluations: Mapping[str, Evaluation]
) -> None:
    """Everything that is made from finished stages; pictures need optional packages and may be left out."""
    summary = _summary(config, stages.seconds, evaluations)
    write_json(config.out / SUMMARY, summary)
    curves: Path | None = config.out / CURVES
    try:
        runs = {arm: plan.training(config, arm).out for arm in plan.ARMS}
        draw_curves(config.out / CURVES, {arm: read_metrics(out) for arm, out in runs.items()})
    except CogError as error:
        curves = None
        messages().print(f"{CURVES} left out: {error}", style="yellow")
    try:
        commands = [_command(asked), *plan.commands(config)]
        write_report(config.out / REPORT, summary, evaluations, curves, commands)
    except CogError as error:
        messages().print(f"{REPORT} left out: {error}", style="yellow")


def _summary(
    config: DemoConfig, seconds: Mapping[str, float], evaluations: Mapping[str, Evaluation]
) -> dict[str, Any]:
    """What machines read."""
    entries = [(arm, entry) for arm, evaluation in evaluations.items() for entry in evaluation.results]
    return {
        "format": FORMAT,
        "kind": "demo summary",
        "quick": config.quick,
        "note": QUICK_NOTE if config.quick else "",
        "results": [
            {
                "arm": arm,
                "start": entry.start,
                "successes": entry.rate.successes,
                "episodes": entry.rate.episodes,
                "low": entry.rate.low,
                "high": entry.rate.high,
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
        "data": {name: _source(config, name) for name in _specs(config)},
        "arms": {
            arm: {
                "checkpoint_hash": evaluation.checkpoint_hash,
                "final_metrics": latest_metrics(plan.training(config, arm).out)[1],
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
            "task data": plan.task_spec(config).seed,
            "prior data": plan.prior_spec(config).seed,
            "training": config.seed,
            "evaluation": config.seed,
            "episodes": episode_seeds(config.seed, config.episodes),
        },
        "seconds": {**seconds, "total": round(sum(seconds.values()), 2)},
        "config": to_json(config),
        "versions": versions(),
        "machine": machine(),
    }


def _source(config: DemoConfig, name: str) -> dict[str, Any]:
    """Counts of one dataset under its view."""
    dataset = open_dataset(config.out / "data" / name)
    view = open_view(dataset)
    return {
        "episodes": dataset.episode_count,
        "steps": view.steps,
        "successes": dataset.success_count,
        "rewarded_steps": view.rewarded_steps,
        "hash": dataset.hash,
    }


def _specs(config: DemoConfig) -> dict[str, CollectionSpec]:
    """The two collections by the names of their folders."""
    return {"task": plan.task_spec(config), "prior": plan.prior_spec(config)}


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
    title = f"success from each start, {config.episodes} episodes, Wilson 95% interval"
    title += " (quick run: the numbers mean nothing)" if config.quick else ""
    screen.print(table(title, ["arm", *plan.STARTS], rows))


def _cell(evaluation: Evaluation, start: str) -> str:
    rate = evaluation.result(start).rate
    return f"{rate.count}  {rate}"


def _command(config: DemoConfig) -> str:
    """The command line of this demo."""
    return shlex.join(["cog", "demo", *changed(to_json(config), to_json(DemoConfig()), ["workers"])])
