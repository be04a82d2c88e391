"""Several demos in one table and one picture: what each arm reached with each seed, with its interval.

python -m cog.experiments.tables.demo --runs runs/seed0 runs/seed1 runs/seed2
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cog.core.configs import apart, to_json
from cog.core.console import console
from cog.core.figures import new_picture, style, write_picture
from cog.core.files import read_json, write_json
from cog.errors import CogError
from cog.experiments.command_line import changed
from cog.experiments.demo.config import DemoConfig
from cog.experiments.paper.arms import ARMS
from cog.experiments.script import script
from cog.experiments.tables.seeds import by_seed

TABLE, PICTURE = "data/demo.json", "figures/demo.png"
ORDER = ("cog", "bc_all", "cql_task_only", "bc_task_only")  # of the table and the picture


@dataclass(frozen=True)
class Summarise:
    """Join the summaries of demos that differ in their seed."""

    runs: tuple[Path, ...]
    """Folders of finished demos."""
    out: Path = Path("docs/results")
    """Folder for data/demo.json and figures/demo.png."""


def gather(runs: Sequence[Path]) -> dict[str, Any]:
    """Results of all runs, one entry a seed, arm and start.

    Raises:
        UsageError: there is no run.
        CogError: a folder holds no finished demo, or a quick one, or the demos differ in more than the seed.
    """
    summaries = [read_json(run / "summary.json", "the summary of a demo") for run in runs]
    for run, summary in zip(runs, summaries, strict=True):
        if summary["quick"]:
            raise CogError(f"{run} is a quick demo; its numbers mean nothing")
    seeds, settings = by_seed(runs, [summary["config"] for summary in summaries], apart(DemoConfig))
    entries = list(zip(seeds, summaries, strict=True))
    chosen = changed(settings, to_json(DemoConfig()))
    return {
        "command": shlex.join(["cog", "demo", "--seed", "SEED", "--out", "runs/seedSEED", *chosen]),
        "results": [{"seed": seed, **entry} for seed, summary in entries for entry in summary["results"]],
        "seconds": {str(seed): summary["seconds"] for seed, summary in entries},
        "versions": summaries[-1]["versions"],
        "machine": summaries[-1]["machine"],
    }


def markdown(table: Mapping[str, Any]) -> str:
    """The table as the pages have it."""
    lines = ["| arm | start | " + " | ".join(f"seed {seed}" for seed in _seeds(table)) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(_seeds(table)))
    for arm in ORDER:
        for start in ("closed", "open"):
            cells = [_cell(table, arm, start, seed) for seed in _seeds(table)]
            lines.append(f"| `{arm}` | {start} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(table: Mapping[str, Any], path: Path) -> None:
    """Bars of success with 95 % intervals, one bar a seed, one panel a start."""
    figure = new_picture(8, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    titles = {
        "open": "drawer starts open (as in the task data)",
        "closed": "drawer starts closed (never shown)",
    }
    for panel, (start, title) in zip(panels, titles.items(), strict=True):
        for place, arm in enumerate(ORDER):
            entries = [e for e in table["results"] if e["arm"] == arm and e["start"] == start]
            for number, entry in enumerate(entries):
                rate = entry["successes"] / entry["episodes"]
                x = place + 0.25 * (number - (len(entries) - 1) / 2)
                reach = [[rate - entry["low"]], [entry["high"] - rate]]
                panel.bar(x, rate, 0.22, color=ARMS[arm].colour)
                panel.errorbar(x, rate, reach, color="black", capsize=2, linewidth=1)
        panel.set_title(title, fontsize=10)
        names = [
            label.replace(": ", "\n").replace(" data", "\ndata")
            for label in (ARMS[arm].label for arm in ORDER)
        ]
        panel.set_xticks(range(len(ORDER)), names)
        panel.set_ylim(0, 1)
        style(panel)
    panels[0].set_ylabel("success, 100 episodes a bar")
    write_picture(path, figure, 140)


def summarise(config: Summarise) -> None:
    """Write the table and the picture, and print the table."""
    table = gather(config.runs)
    write_json(config.out / TABLE, table)
    draw(table, config.out / PICTURE)
    console().print(markdown(table))


def _seeds(table: Mapping[str, Any]) -> list[int]:
    return sorted({entry["seed"] for entry in table["results"]})


def _cell(table: Mapping[str, Any], arm: str, start: str, seed: int) -> str:
    (entry,) = [
        entry
        for entry in table["results"]
        if (entry["arm"], entry["start"], entry["seed"]) == (arm, start, seed)
    ]
    return f"{entry['successes']}/{entry['episodes']} [{entry['low']:.2f}, {entry['high']:.2f}]"


if __name__ == "__main__":
    script(Summarise, summarise)
