"""The scaling figures as one picture: updates a second against batch size and against buffer size."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path

from cog.errors import missing_extra
from cog.experiments.bench_figures import Figure
from cog.experiments.bench_scaling import BATCHES_UNIT, FRAMES_UNIT
from cog.files import write_bytes

COLOURS = ("#0b6e4f", "#c8553d", "#3c5a99", "#8a6d00")


def lines(figures: Sequence[Figure], unit: str) -> dict[str, list[tuple[int, float]]]:
    """(size, updates/s) of every setting whose figures are about this unit."""
    found: dict[str, list[tuple[int, float]]] = {}
    for figure in figures:
        if figure.section == "scaling" and figure.what.endswith(unit):
            name, _, size = figure.what.removesuffix(f" {unit}").rpartition(", ")
            found.setdefault(name, []).append((int(size), figure.value))
    return found


def draw_scaling(path: Path, figures: Sequence[Figure]) -> None:
    """Write both panels as a PNG.

    Raises:
        CogError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Picture
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    picture = Picture(figsize=(9, 3.4), layout="constrained")
    for place, unit in enumerate((BATCHES_UNIT, FRAMES_UNIT), start=1):
        axes = picture.add_subplot(1, 2, place)
        shown = lines(figures, unit)
        for colour, (name, points) in zip(itertools.cycle(COLOURS), shown.items(), strict=False):
            axes.plot(*zip(*points, strict=True), label=name, color=colour, marker="o", linewidth=1.4)
        axes.set_xlabel(unit, fontsize=9)
        axes.set_ylabel("updates/s", fontsize=9)
        axes.set_xscale("log")
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if shown:
            highest = max(rate for points in shown.values() for _, rate in points)
            axes.set_ylim(0, 1.1 * highest)
            axes.legend(fontsize=8, frameon=False)
    data = io.BytesIO()
    picture.savefig(data, format="png", dpi=110)
    write_bytes(path, data.getvalue())
