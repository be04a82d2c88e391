"""Several results of `cog reproduce` in one page: a table for each, and the command that made it.

python -m cog.experiments.tables.rows --out docs/results/cells-closed.md \\
    --results docs/results/data/reproduce_closed.json docs/results/data/state_closed.json
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cog.core.console import console
from cog.core.files import read_json, write_bytes
from cog.errors import CogError, UsageError
from cog.evaluation.intervals import Rate
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.paper.results import markdown, markdown_line, measure
from cog.experiments.script import script


@dataclass(frozen=True)
class SummariseRows:
    """Put the results of several commands on one page."""

    results: tuple[Path, ...]
    """Files results.json of finished commands, whatever they are called."""
    out: Path
    """Page to write."""


def summary(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line of markdown for each row and arm: its own start seed by seed, all starts over all seeds.

    A row's starts are its own, the one that its task data begin from, both shifted, and its own with
    other objects.
    """
    header = ["row", "arm", "its own start, each seed", "all seeds", "the task data's start", "shifted"]
    header += ["shifted, the task data's", "other objects"]
    lines = [markdown_line(header), markdown_line(["---"] * len(header))]
    for result in results:
        suffix = ", state" if result["config"]["observation"] == "state" else ""
        cells: dict[tuple[str, str], list[str]] = {}
        for entry in result["summary"]:
            pooled = Rate(**entry["last_step"]["pooled"])  # all episodes of all seeds
            cells.setdefault((entry["row"], entry["arm"]), []).append(str(pooled))
        for (row, arm), rates in cells.items():
            own = next(entry["start"] for entry in result["summary"] if entry["row"] == row)
            seeds = [
                Rate(**number["last_step"])
                for number in result["results"]
                if (number["row"], number["arm"], number["start"]) == (row, arm, own)
            ]
            counts = ", ".join(str(rate.successes) for rate in seeds) + f" of {seeds[0].episodes}"
            lines.append(markdown_line([row + suffix, f"`{arm}`", counts, *rates]))
    return lines


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page of these rows: for each result what policies saw, its command, its time and its table."""
    rows = dict.fromkeys(entry["row"] for result in results for entry in result["summary"])
    parts = [
        f"# Every cell of {', '.join(rows)}\n",
        "Brackets: Wilson 95 % for a seed and for the episodes of all seeds; Student's t 95 % for the mean "
        f"of seeds.\n{' '.join(dict.fromkeys(map(measure, results)))}\n",
        "\n".join(summary(results)) + "\n",
    ]
    for result in results:
        seen = "the simulator's state" if result["config"]["observation"] == "state" else "images"
        hours = result["seconds"]["total"]["cpu"] / 3600
        parts += [
            f"## {', '.join(dict.fromkeys(entry['row'] for entry in result['summary']))}, from {seen}\n",
            f"<!-- not run: it takes hours -->\n```bash\n{result['command']}\n```\n",
            f"{hours:.1f} hours of processor time, collection and evaluation included.\n",
            markdown(result) + "\n",
        ]
    return "\n".join(parts)


def read(file: Path, extra: bool = True) -> dict[str, Any]:
    """The results of a command whose rows have all their starts; without `extra` those that the paper has do.

    Raises:
        CogError: the file is missing, or holds something else, such as an ablation.
    """
    result = read_json(file, "results of cog reproduce")
    if result.get("kind") != "reproduction":
        raise CogError(f"{file}: holds no results of cog reproduce; give its results.json")
    starts: dict[tuple[str, str], list[str]] = {}
    for entry in result["summary"]:
        starts.setdefault((entry["row"], entry["arm"]), []).append(entry["start"])
    for (row, _), names in starts.items():
        if row not in RECIPES or names != _starts(row, extra or result["config"].get("extra_cells", True)):
            raise CogError(
                f"{file}: {row!r} has not the starts of a row of the paper, as in an ablation; "
                "give the results.json of a command without --ablation"
            )
    return result


def _starts(row: str, extra: bool) -> list[str]:
    return [cell.name for cell in RECIPES[row].cells if extra or not cell.extra]


def summarise(config: SummariseRows) -> None:
    """Write the page."""
    if not config.results:
        raise UsageError("results are empty; name at least one file")
    found = [read(file) for file in config.results]
    write_bytes(config.out, page(found).encode())
    console().print(str(config.out))


if __name__ == "__main__":
    script(SummariseRows, summarise)
