"""The results of `cog reproduce`: every number with its intervals, as JSON, as a table and as markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cog.core.configs import to_json
from cog.core.files import hash_file
from cog.core.inputs import Input, inputs_to_json
from cog.datasets.relabel.view import open_view
from cog.datasets.storage.dataset import open_dataset
from cog.evaluation.intervals import Rate, over_seeds, pooled, wilson
from cog.evaluation.result import RESULT, SAME
from cog.experiments.jobs.job import Job
from cog.experiments.jobs.kinds import Train
from cog.experiments.machine import machine, versions
from cog.experiments.paper.config import ReproduceConfig
from cog.experiments.paper.graph import Entry, Graph, Sources
from cog.experiments.paper.reported import CAUTION, REPORTED
from cog.training.metrics import read_metrics

FORMAT = 1
METRICS, METER = "metrics.jsonl", "meter/"


def gather(graph: Graph, config: ReproduceConfig, command: str) -> dict[str, Any]:
    """Everything that results.json holds, from finished jobs."""
    numbers = [_number(entry) for entry in graph.entries]
    return {
        "format": FORMAT,
        "kind": "reproduction",
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "config": to_json(config),
        "inputs": inputs_to_json(_inputs(graph, config)),
        "results": numbers,
        "summary": summarise(numbers),
        "data": [fact for sources in graph.sources for fact in _data(sources)],
        "seconds": seconds(graph.jobs),
        "reported": {"caution": CAUTION, "figures": [asdict(figure) for figure in REPORTED]},
        "versions": versions(),
        "machine": machine(),
    }


def _inputs(graph: Graph, config: ReproduceConfig) -> list[Input]:
    """The evaluations that the numbers come from."""
    jobs = [entry.evaluation for entry in graph.entries if entry.evaluation.run.has_checkpoint()]
    folders = dict.fromkeys(job.config.out for job in jobs)
    return [Input.of("evaluation", folder, hash_file(folder / RESULT), config.out) for folder in folders]


def _number(entry: Entry) -> dict[str, Any]:
    """One evaluated cell of one seed."""
    run = entry.evaluation.run
    evaluation = entry.evaluation.result()
    episodes = entry.evaluation.settings.episodes
    ever = last = wilson(0, episodes)
    folder = update = result = None
    if evaluation is not None:
        (result,) = evaluation.results
        ever, last = result.rate, result.last
        folder = str(entry.evaluation.config.out.relative_to(entry.evaluation.root))
        update = evaluation.update
    return {
        "row": entry.recipe.name,
        "arm": entry.arm.name,
        "start": entry.cell.name,
        "extra": entry.cell.extra,
        "seed": entry.seed,
        "last_step": asdict(last),
        "any_step": asdict(ever),
        "diverged": run.record().get("note"),
        "update": update,
        "run": str(run.config.out.relative_to(run.root)),
        "evaluation": folder,
        "predicted_return": result.predicted_return if result else None,
        "discounted_return": result.discounted_return if result else None,
        "meters": last_meters(run.config.out),
        "milliseconds": update_milliseconds(run),
    }


def last_meters(folder: Path) -> dict[str, float]:
    """The failure meters of a run at the last update that has them, by name without `meter/`."""
    lines = read_metrics(folder) if (folder / METRICS).exists() else []
    metered = [line for line in lines if any(name.startswith(METER) for name in line)]
    last = metered[-1] if metered else {}
    return {name.removeprefix(METER): value for name, value in last.items() if name.startswith(METER)}


def update_milliseconds(run: Train) -> float | None:
    """Processor time of an update in ms, meters and checkpoints included; none if the run did not end."""
    seconds = run.record().get("cpu_seconds")
    if seconds is None or not run.has_checkpoint() or run.record().get("note"):
        return None
    return round(1000 * float(seconds) / run.settings.updates, 2)


def summarise(numbers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each row, arm and start, over its seeds.

    `last_step` and `any_step` hold all episodes of all seeds with Wilson's interval (`pooled`), and the mean
    of the seeds with Student's t interval (`over_seeds`). The first says how well these runs were measured,
    the second how well the mean over seeds is known; with few seeds it is wide, and rightly so.
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for number in numbers:
        groups.setdefault((number["row"], number["arm"], number["start"]), []).append(number)
    return [
        {
            "row": row,
            "arm": arm,
            "start": start,
            "extra": group[0]["extra"],
            "diverged": sum(number["diverged"] is not None for number in group),
            **{name: _over(group, name) for name in ("last_step", "any_step")},
        }
        for (row, arm, start), group in groups.items()
    ]


def _over(group: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Both intervals of one measure."""
    rates = [Rate(**number[name]) for number in group]
    mean = over_seeds([rate.value for rate in rates])
    return {"pooled": asdict(pooled(rates)), "over_seeds": asdict(mean)}


def _data(sources: Sources) -> list[dict[str, Any]]:
    """Counts of the datasets of a row and seed; `good` are the episodes that were done well."""
    facts = []
    for view, good in zip((sources.task, *sources.priors), sources.good, strict=True):
        dataset = open_dataset(view.data.folder)
        found = open_view(dataset, view.place)
        facts.append(
            {
                "row": sources.recipe.name,
                "seed": sources.seed,
                "role": "task" if view is sources.task else "prior",
                "data": str(view.data.folder.relative_to(view.data.root)),
                "episodes": dataset.episode_count,
                "steps": found.steps,
                "rewarded_steps": found.rewarded_steps,
                "good": good.number(),
            }
        )
    return facts


def seconds(jobs: Sequence[Job]) -> dict[str, dict[str, float]]:
    """Processor and wall seconds of each kind of job and in all, interrupted attempts included.

    Wall seconds of jobs that ran side by side are added up, so they are more than the clock showed.
    """
    total: dict[str, dict[str, float]] = {}
    for job in jobs:
        record = job.record()
        for kind in (job.kind, "total"):
            times = total.setdefault(kind, {"cpu": 0.0, "wall": 0.0})
            times["cpu"] = round(times["cpu"] + record.get("cpu_seconds", 0.0), 3)
            times["wall"] = round(times["wall"] + record.get("wall_seconds", 0.0), 3)
    return total


def measure(results: Mapping[str, Any]) -> str:
    """What the table counts, in a sentence."""
    if results["config"].get("terminate_on_success", True):
        return f"{SAME[0].upper()}{SAME[1:]}."
    return (
        "Success is counted at the last step of the horizon; "
        "in brackets at any step, where that is more, as success may be lost again."
    )


def columns(results: Mapping[str, Any]) -> list[str]:
    """Header of the table."""
    seeds = [f"seed {seed}" for seed in results["config"]["seeds"]]
    return ["row", "start", "arm", *seeds, "all episodes", "mean of seeds"]


def rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Lines of the table: success at the last step, and in brackets at any step where that is more."""
    numbers: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
    for number in results["results"]:
        key = (number["row"], number["start"], number["arm"])
        numbers.setdefault(key, {})[number["seed"]] = number
    by_start = sorted(results["summary"], key=lambda entry: _place(results, entry))
    return [
        [
            entry["row"],
            entry["start"],
            entry["arm"],
            *(
                _cell(numbers[entry["row"], entry["start"], entry["arm"]][seed])
                for seed in results["config"]["seeds"]
            ),
            _pooled(entry),
            mean_text(entry["last_step"]["over_seeds"]),
        ]
        for entry in by_start
    ]


def markdown(results: Mapping[str, Any]) -> str:
    """The table as lines of markdown."""
    header = columns(results)
    return "\n".join(markdown_line(cells) for cells in (header, ["---"] * len(header), *rows(results)))


def markdown_line(cells: Sequence[str]) -> str:
    """One line of a table; intervals stand one space behind their rate, without the columns of a terminal."""
    return "| " + " | ".join(cells).replace("%  [", "% [") + " |"


def _place(results: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[int, int]:
    """Order of the table: rows, within them starts; arms stay in their order."""
    order = [(other["row"], other["start"]) for other in results["summary"]]
    row = [name for name, _ in order].index(entry["row"])
    return row, order.index((entry["row"], entry["start"]))


def _cell(number: Mapping[str, Any]) -> str:
    """One seed: count and interval; a run that diverged is marked."""
    last, ever = Rate(**number["last_step"]), Rate(**number["any_step"])
    text = f"{last.count} [{last.low:.2f}, {last.high:.2f}]"
    if ever.successes > last.successes:
        text += f" (any step {ever.count} [{ever.low:.2f}, {ever.high:.2f}])"
    if number["diverged"]:
        where = "no policy" if number["evaluation"] is None else f"policy of update {number['update']}"
        text += f" diverged, {where}"
    return text


def _pooled(entry: Mapping[str, Any]) -> str:
    """All episodes of all seeds: the rate with its interval, at any step as well where that is more."""
    last, ever = (Rate(**entry[name]["pooled"]) for name in ("last_step", "any_step"))
    return f"{last} (any step {ever})" if ever.successes > last.successes else str(last)


def mean_text(mean: Mapping[str, Any]) -> str:
    """Mean over seeds with its interval, if it has one: seeds that are all alike do not tell their spread."""
    text = f"{mean['value']:.0%}"
    return text if mean["low"] == mean["high"] else f"{text}  [{mean['low']:.0%}, {mean['high']:.0%}]"
