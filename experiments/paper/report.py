"""The report of `cog reproduce`: one HTML file with tables, films and learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cog.core.console import messages
from cog.errors import CogError
from cog.evaluation.intervals import Rate
from cog.experiments.pages.curves import draw_curves
from cog.experiments.pages.page import bar, data_uri, films, write_page
from cog.experiments.paper.arms import ARMS
from cog.experiments.paper.graph import Entry, Graph
from cog.experiments.paper.results import mean_text, measure
from cog.training.metrics import read_metrics

TEMPLATE = "reproduce.html.j2"
FILMED = ("cog", "bc_all")
SEEN = {"image": "images of 48 by 48 pixels and the arm's own pose", "state": "the simulator's state"}


def write_report(out: Path, results: Mapping[str, Any], graph: Graph) -> None:
    """Write `report.html`, and `learning_curves_<row>.png` beside it; what lacks a package is left out."""
    rows = [_row(out, results, graph, name) for name in dict.fromkeys(e.recipe.name for e in graph.entries)]
    values = {
        "summary": results,
        "config": results["config"],
        "seen": SEEN[results["config"]["observation"]],
        "headline": headline(results),
        "measure": measure(results),
        "rows": rows,
        "films": [film for entry in graph.entries if (film := _film(entry, results))],
        **{name: results[name] for name in ("reported", "data", "command", "seconds")},
    }
    try:
        write_page(out / "report.html", TEMPLATE, values)
    except CogError as error:
        messages().print(f"report.html left out: {error}", style="yellow")


def headline(results: Mapping[str, Any]) -> str:
    """What COG and behaviour cloning on all data reach from each row's own start, whichever way it went."""
    own: dict[str, dict[str, Rate]] = {}
    for entry in results["summary"]:
        first = next(other for other in results["summary"] if other["row"] == entry["row"])
        if entry["start"] == first["start"]:
            own.setdefault(entry["row"], {})[entry["arm"]] = Rate(**entry["last_step"]["pooled"])
    parts = []
    for row, rates in own.items():
        told = [f"{arm} {rates[arm].value:.0%}" for arm in FILMED if arm in rates]
        parts.append(f"{row}: {', '.join(told) or 'not among the arms'}")
    return f"Success at the last step, from starts that the task data never hold: {'; '.join(parts)}."


def _row(out: Path, results: Mapping[str, Any], graph: Graph, name: str) -> dict[str, Any]:
    """What the template shows of one row."""
    entries = [entry for entry in graph.entries if entry.recipe.name == name]
    arms = list(dict.fromkeys(entry.arm.name for entry in entries))
    starts = list(dict.fromkeys(entry.cell.name for entry in entries))
    cells = {
        (entry["arm"], entry["start"]): _cell(results, entry)
        for entry in results["summary"]
        if entry["row"] == name
    }
    return {
        "name": name,
        "title": entries[0].recipe.title,
        "starts": starts,
        "arms": [
            {"name": arm, "title": ARMS[arm].title, "cells": [cells[arm, start] for start in starts]}
            for arm in arms
        ],
        "curves": _curves(out, entries),
    }


def _cell(results: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """A pooled rate with the counts of its seeds."""
    names = ("row", "arm", "start")
    seeds: Sequence[Mapping[str, Any]] = [
        number for number in results["results"] if all(number[name] == entry[name] for name in names)
    ]
    last, ever = (Rate(**entry[name]["pooled"]) for name in ("last_step", "any_step"))
    return {
        **bar(last),
        "seeds": ", ".join(Rate(**number["last_step"]).count for number in seeds),
        "mean": mean_text(entry["last_step"]["over_seeds"]),
        "diverged": f"{entry['diverged']} of {len(seeds)}" if entry["diverged"] else "",
        "ever": f"{ever.count}, {ever}" if ever.successes > last.successes else "",
    }


def _film(entry: Entry, results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Films of one arm from the row's own start, first seed only."""
    own = entry.cell == entry.recipe.cells[0] and entry.seed == results["config"]["seeds"][0]
    evaluation = entry.evaluation.result() if own and entry.arm.name in FILMED else None
    if evaluation is None:
        return None
    pictures = films(evaluation, entry.cell.start)
    return {"name": f"{entry.recipe.name}: {entry.arm.name}", "pictures": pictures} if pictures else None


def _curves(out: Path, entries: Sequence[Entry]) -> str | None:
    """The learning curves of the first seed as a picture, if it can be drawn."""
    runs = {
        entry.arm.name: entry.evaluation.run.config.out for entry in entries if entry.seed == entries[0].seed
    }
    path = out / f"learning_curves_{entries[0].recipe.name}.png"
    found = {arm: read_metrics(run) for arm, run in runs.items() if (run / "metrics.jsonl").exists()}
    try:
        draw_curves(path, found, {arm: ARMS[arm].colour for arm in found})
    except CogError as error:
        messages().print(f"{path.name} left out: {error}", style="yellow")
        return None
    return data_uri(path)
