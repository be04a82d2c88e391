"""Several fine-tuning runs in one table and one picture: the handover and the curve of every seed.

python -m cog.experiments.tables.finetune --runs runs/seed0/online runs/seed1/online runs/seed2/online
"""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cog.core.configs import to_json
from cog.core.console import console
from cog.core.files import read_json, write_json
from cog.errors import CogError
from cog.experiments.command_line import changed
from cog.experiments.script import script
from cog.experiments.tables.seeds import by_seed
from cog.online.config import FinetuneConfig
from cog.online.curve import FIRST_EPISODES, Point, draw_curve, handover, read_curve
from cog.online.finetune import RECORD

TABLE, PICTURE = "data/finetune.json", "figures/finetune.png"


@dataclass(frozen=True)
class SummariseFinetune:
    """Join fine-tuning runs that differ in their seed, checkpoint and data only."""

    runs: tuple[Path, ...]
    """Folders of finished runs."""
    out: Path = Path("docs/results")
    """Folder for data/finetune.json and figures/finetune.png."""


def gather(runs: Sequence[Path]) -> dict[str, Any]:
    """Settings, curves and handovers of all runs, by seed.

    Raises:
        UsageError: there is no run.
        CogError: a folder holds no finished run, or the runs differ in more than the seed.
    """
    records = [read_json(run / RECORD, "the record of a fine-tuning run") for run in runs]
    folders, settings = by_seed(runs, [record["identity"]["config"] for record in records])
    seeds: dict[str, Any] = {}
    for (seed, run), record in zip(folders.items(), records, strict=True):
        points = read_curve(run)
        if points[-1].episodes != settings["episodes"]:
            raise CogError(f"{run} is not finished; run the same cog finetune command again")
        found = handover(points)
        seeds[str(seed)] = {
            "checkpoint_update": record["checkpoint_update"],
            "before": _entry(found.before),
            "lowest": _entry(found.lowest),
            "final": _entry(found.final),
            "curve": [_entry(point) for point in points],
        }
    return {
        "command": command(settings),
        "settings": settings,
        "first_episodes": FIRST_EPISODES,
        "seeds": seeds,
    }


def command(settings: Mapping[str, Any]) -> str:
    """The command line of one run, with the settings that are not the standard ones."""
    chosen = changed(dict(sorted(settings.items())), to_json(FinetuneConfig(Path(), Path(), Path())))
    base = "cog finetune --checkpoint RUN --data MERGE --out FOLDER --seed SEED"
    return shlex.join([*base.split(), *chosen])


def markdown(table: Mapping[str, Any]) -> str:
    """The table as the pages have it."""
    seeds = sorted(table["seeds"], key=int)
    lines = ["| evaluation | " + " | ".join(f"seed {seed}" for seed in seeds) + " |"]
    lines.append("| --- |" + " --- |" * len(seeds))
    lowest = f"lowest in the first {table['first_episodes']} online episodes"
    last = f"after {table['settings']['episodes']} online episodes"
    for name, key in (("before going online", "before"), (lowest, "lowest"), (last, "final")):
        cells = [_cell(table["seeds"][seed][key]) for seed in seeds]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curves(table: Mapping[str, Any]) -> dict[str, list[Point]]:
    """The curve of each seed, by its name in the picture."""
    names = [field.name for field in dataclasses.fields(Point)]
    return {
        f"seed {seed}": [
            Point(**{name: entry[name] for name in names if name in entry}) for entry in found["curve"]
        ]
        for seed, found in sorted(table["seeds"].items(), key=lambda item: int(item[0]))
    }


def summarise(config: SummariseFinetune) -> None:
    """Write the table and the picture, and print the table."""
    table = gather(config.runs)
    write_json(config.out / TABLE, table)
    start = table["settings"]["start"]
    draw_curve(config.out / PICTURE, curves(table), f"success from start '{start}' while fine-tuning online")
    console().print(markdown(table))


def _entry(point: Point) -> dict[str, Any]:
    return {**dataclasses.asdict(point), "low": point.rate.low, "high": point.rate.high}


def _cell(entry: Mapping[str, Any]) -> str:
    return f"{entry['successes']}/{entry['evaluated']} [{entry['low']:.2f}, {entry['high']:.2f}]"


if __name__ == "__main__":
    script(SummariseFinetune, summarise)
