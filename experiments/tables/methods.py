"""Every method in one table: what it is, its paper and file, success, meters and time per update.

python -m cog.experiments.tables.methods --out methods.md --results docs/results/data/methods_closed.json

A line of the table is one arm of `cog reproduce` in one row.
"""

import importlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cog.algorithms import ALGORITHMS
from cog.core.console import console
from cog.core.files import write_bytes
from cog.errors import UsageError
from cog.evaluation.intervals import Rate, pooled
from cog.experiments.paper.arms import ARMS
from cog.experiments.paper.results import markdown_line
from cog.experiments.script import script
from cog.experiments.tables.rows import read

PAPERS: Mapping[str, str] = {
    "bc": "behaviour cloning, Pomerleau 1989",
    "bcq": "Fujimoto et al. 2019",
    "bear": "Kumar et al. 2019",
    "brac": "Wu et al. 2019",
    "cql": "Kumar et al. 2020; with prior data, Singh et al. 2020 (COG)",
    "ddpg": "Lillicrap et al. 2016, as compared in Fujimoto et al. 2018",
    "fql": "Park et al. 2025",
    "idql": "Hansen-Estruch et al. 2023; its options, RISE 2025",
    "iql": "Kostrikov et al. 2021",
    "mopo": "Yu et al. 2020",
    "morel": "Kidambi et al. 2020",
    "q_cem": "Kalashnikov et al. 2018 (QT-Opt), offline",
    "sac": "Haarnoja et al. 2018",
    "td3": "Fujimoto et al. 2018",
    "td3_bc": "Fujimoto and Gu 2021",
}
"""Where each algorithm comes from."""


@dataclass(frozen=True)
class SummariseMethods:
    """Put every method of several results on one page."""

    results: tuple[Path, ...]
    """Files results.json of finished commands, whatever they are called."""
    out: Path
    """Page to write."""


def known() -> list[str]:
    """A line of markdown for each algorithm: its name, what it is, its paper and its file."""
    lines = [markdown_line(["`--algorithm`", "what it is", "paper", "file"]), markdown_line(["---"] * 4)]
    for name, (module, kind) in ALGORITHMS.items():
        about = str(getattr(importlib.import_module(module), kind).__doc__).split("\n")[0].rstrip(".")
        file = f"`{module.replace('.', '/')}.py`"
        lines.append(markdown_line([f"`{name}`", about, PAPERS[name], file]))
    return lines


def measured(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line of markdown for each row and arm: success, what its critics foresaw, meters, time per update.

    Success is over all episodes of all seeds, with Wilson's interval; all else is the mean of the seeds.
    """
    header = ["row", "arm", "algorithm", "success from its own start", "each seed", "the task data's start"]
    header += ["foreseen / had", "distance of its actions", "outside", "largest Q", "ms per update"]
    lines = [markdown_line(header), markdown_line(["---"] * len(header))]
    for result in results:
        suffix = ", state" if result["config"]["observation"] == "state" else ""
        for row in dict.fromkeys(entry["row"] for entry in result["summary"]):
            starts = list(
                dict.fromkeys(entry["start"] for entry in result["summary"] if entry["row"] == row)
            )[:2]
            for arm in dict.fromkeys(entry["arm"] for entry in result["summary"] if entry["row"] == row):
                cells = [
                    [
                        one
                        for one in result["results"]
                        if (one["row"], one["arm"], one["start"]) == (row, arm, start)
                    ]
                    for start in starts
                ]
                line = [row + suffix, f"`{arm}`", f"`{ARMS[arm].algorithm}`", *_line(cells)]
                lines.append(markdown_line(line))
    return lines


def across(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line of markdown for each arm: success from the unseen start of every row, pooled over seeds."""
    found: dict[str, dict[str, str]] = {}
    for result in results:
        for row in dict.fromkeys(entry["row"] for entry in result["summary"]):
            start = next(entry["start"] for entry in result["summary"] if entry["row"] == row)
            held = (one for one in result["results"] if (one["row"], one["start"]) == (row, start))
            for arm in dict.fromkeys(one["arm"] for one in held):
                found.setdefault(arm, {})[row] = _together(result, row, arm, start)
    rows = list(dict.fromkeys(row for cells in found.values() for row in cells))
    lines = [markdown_line(["arm", *rows]), markdown_line(["---"] * (1 + len(rows)))]
    return lines + [
        markdown_line([f"`{arm}`", *(cells.get(row, "") for row in rows)]) for arm, cells in found.items()
    ]


def _together(result: Mapping[str, Any], row: str, arm: str, start: str) -> str:
    """Success of an arm from one start over all seeds."""
    cell = [one for one in result["results"] if (one["row"], one["arm"], one["start"]) == (row, arm, start)]
    return str(pooled([Rate(**one["last_step"]) for one in cell]))


def _line(cells: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the seeds of an arm did from the row's own start and from the task data's."""
    own = cells[0]
    rates = [Rate(**one["last_step"]) for one in own]
    together = [str(pooled([Rate(**one["last_step"]) for one in cell])) for cell in cells]
    foreseen, had = (
        _mean(one.get(name) for one in own) for name in ("predicted_return", "discounted_return")
    )
    meters = [
        _mean(one.get("meters", {}).get(name) for one in own)
        for name in ("action_distance", "outside_share", "q_size")
    ]
    return [
        together[0],
        ", ".join(str(rate.successes) for rate in rates) + _diverged(own),
        together[1] if len(together) > 1 else "",
        "" if foreseen is None or had is None else f"{foreseen:.3g} / {had:.3g}",
        "" if meters[0] is None else f"{meters[0]:.2f}",
        "" if meters[1] is None else f"{meters[1]:.0%}",
        "" if meters[2] is None else f"{meters[2]:.3g}",
        "" if (cost := _mean(one.get("milliseconds") for one in own)) is None else f"{cost:.1f}",
    ]


def _diverged(cell: Sequence[Mapping[str, Any]]) -> str:
    """How many seeds were stopped because Q ran away, if any."""
    count = sum(one["diverged"] is not None for one in cell)
    return f" ({count} diverged)" if count else ""


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of what there is; none where there is nothing."""
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None


def summarise(config: SummariseMethods) -> None:
    """Write the page."""
    if not config.results:
        raise UsageError("results are empty; name at least one file")
    lines = measured([read(file, extra=False) for file in config.results])
    write_bytes(config.out, ("# Methods\n\n" + "\n".join(lines) + "\n").encode())
    console().print(str(config.out))


if __name__ == "__main__":
    script(SummariseMethods, summarise)
