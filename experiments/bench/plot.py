"""The scaling figures as one picture: updates a second against batch size and against buffer size."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from cog.core.figures import COLOURS, new_picture, style, write_picture
from cog.experiments.bench.figures import Figure
from cog.experiments.bench.scaling import BATCHES_UNIT, FRAMES_UNIT


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
    picture = new_picture(9, 3.4)
    for place, unit in enumerate((BATCHES_UNIT, FRAMES_UNIT), start=1):
        axes = picture.add_subplot(1, 2, place)
        shown = lines(figures, unit)
        for colour, (name, points) in zip(itertools.cycle(COLOURS.values()), shown.items(), strict=False):
            axes.plot(*zip(*points, strict=True), label=name, color=colour, marker="o", linewidth=1.4)
        axes.set_xlabel(unit, fontsize=9)
        axes.set_ylabel("updates/s", fontsize=9)
        axes.set_xscale("log")
        axes.grid(alpha=0.25)
        style(axes)
        if shown:
            highest = max(rate for points in shown.values() for _, rate in points)
            axes.set_ylim(0, 1.1 * highest)
            axes.legend(fontsize=8, frameon=False)
    write_picture(path, picture, 110)
