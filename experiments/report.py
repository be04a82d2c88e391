"""The demo's report: one HTML file that holds its pictures and videos and opens offline."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cog.errors import missing_extra
from cog.evaluation import Evaluation
from cog.experiments.demo_plan import ARMS, STARTS
from cog.files import write_bytes
from cog.intervals import Rate

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "report.html.j2"
MEDIA = {".mp4": "video/mp4", ".png": "image/png"}
QUICK_NOTE = "This was a quick run, a smoke test of the whole chain: its numbers mean nothing."


def write_report(
    path: Path,
    summary: Mapping[str, Any],
    evaluations: Mapping[str, Evaluation],
    curves: Path | None,
    commands: list[str],
) -> None:
    """Write the report of a demo.

    Args:
        path: HTML file to write.
        summary: what summary.json holds.
        evaluations: the evaluation of each arm.
        curves: picture of the learning curves, if it could be drawn.
        commands: command lines that reproduce the numbers; the first one does all at once.

    Raises:
        CogError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise missing_extra("jinja2", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(TEMPLATE).render(
        summary=summary,
        note=QUICK_NOTE if summary["quick"] else "",
        headline=headline(evaluations),
        starts=STARTS,
        arms=[_arm(name, evaluation) for name, evaluation in evaluations.items()],
        curves=None if curves is None else data_uri(curves),
        commands=commands,
    )
    write_bytes(path, text.encode())


def headline(evaluations: Mapping[str, Evaluation]) -> str:
    """The result in a sentence or two; whether intervals overlap is said, whichever way it went."""
    rates = {name: evaluation.result("closed").rate for name, evaluation in evaluations.items()}
    mine, others = rates["cog"], [rate for name, rate in rates.items() if name != "cog"]
    best = max(others, key=lambda rate: rate.value)
    if mine.low > max(rate.high for rate in others):
        verdict = "The 95 % intervals do not overlap."
    elif mine.high < best.low:
        verdict = "Its 95 % interval lies below the other's."
    else:
        verdict = "The 95 % intervals overlap."
    return (
        "From a closed drawer, which the task data never show, the policy that also learnt from unlabelled "
        f"prior data takes the object out in {mine.value:.0%} of {mine.episodes} episodes; the better of the "
        f"two that saw task data only, in {best.value:.0%}. {verdict}"
    )


def data_uri(path: Path) -> str:
    """The file's bytes as a URL that needs no other file."""
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _arm(name: str, evaluation: Evaluation) -> dict[str, Any]:
    """What the template shows of one arm."""
    return {
        "name": name,
        "description": ARMS[name][2],
        "cells": [_cell(evaluation.result(start).rate) for start in STARTS],
        "failures": {start: dict(evaluation.result(start).failures) for start in STARTS},
        "steps": {start: evaluation.result(start).mean_steps for start in STARTS},
        "pictures": {start: _pictures(evaluation, start) for start in STARTS},
    }


def _cell(rate: Rate) -> dict[str, Any]:
    """A rate and its interval in percent."""
    return {
        "count": rate.count,
        "value": round(100 * rate.value, 1),
        "low": round(100 * rate.low, 1),
        "high": round(100 * rate.high, 1),
    }


def _pictures(evaluation: Evaluation, start: str) -> list[dict[str, str]]:
    """Videos of a start, or its contact sheet where videos could not be encoded."""
    files = [Path(file) for file in evaluation.pictures.get(start, ())]
    videos = [file for file in files if file.suffix == ".mp4"]
    episodes = {(entry["start"], entry["number"]): entry for entry in evaluation.episodes}
    shown = []
    for file in videos or files:
        caption = f"{start}, contact sheet"
        if videos:
            _, ending, number = file.stem.rsplit("_", 2)
            entry = episodes[start, int(number)]
            ending = ending if entry["success"] else entry["furthest"]
            caption = f"{start}, episode {int(number)}: {ending} ({entry['steps']} steps)"
        uri = data_uri(evaluation.out / file)
        shown.append({"kind": file.suffix[1:], "uri": uri, "caption": caption})
    return shown
