"""The demo's report: one HTML file that holds its pictures and videos and opens offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cog.evaluation.result import Evaluation
from cog.experiments.demo.plan import STARTS
from cog.experiments.pages.page import bar, data_uri, films, write_page
from cog.experiments.paper.arms import ARMS

TEMPLATE = "report.html.j2"
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
    values = {
        "summary": summary,
        "note": QUICK_NOTE if summary["quick"] else "",
        "headline": headline(evaluations),
        "starts": STARTS,
        "arms": [_arm(name, evaluation) for name, evaluation in evaluations.items()],
        "curves": None if curves is None else data_uri(curves),
        "commands": commands,
    }
    write_page(path, TEMPLATE, values)


def headline(evaluations: Mapping[str, Evaluation]) -> str:
    """The result in a sentence or two; whether intervals overlap is said, whichever way it went."""
    rates = {name: evaluation.result("closed").last for name, evaluation in evaluations.items()}
    mine, others = rates["cog"], [rate for name, rate in rates.items() if name != "cog"]
    best = max(others, key=lambda rate: rate.value)
    if mine.low > max(rate.high for rate in others):
        verdict = "The 95 % intervals do not overlap."
    elif mine.high < best.low:
        verdict = "Its 95 % interval lies below the other's."
    else:
        verdict = "The 95 % intervals overlap."
    return (
        "From a closed drawer, which the task data never show, the policy that learnt values from them and "
        f"from unlabelled prior data takes the object out in {mine.value:.0%} of {mine.episodes} episodes; "
        f"the best of the others in {best.value:.0%}. {verdict}"
    )


def _arm(name: str, evaluation: Evaluation) -> dict[str, Any]:
    """What the template shows of one arm."""
    return {
        "name": name,
        "description": ARMS[name].title,
        "cells": [bar(evaluation.result(start).last) for start in STARTS],
        "failures": {start: dict(evaluation.result(start).failures) for start in STARTS},
        "steps": {start: evaluation.result(start).mean_steps for start in STARTS},
        "pictures": {start: films(evaluation, start) for start in STARTS},
    }
