"""A benchmark's figures: each with what it was measured beside, as one table and as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from cog.core.console import table

HEADER = ("section", "what", "figure", "unit", "ratio", "of the rounds", "to")

TEXT = ("what", "unit", "to")  # columns of words, which begin on the left


@dataclass(frozen=True)
class Figure:
    """One measured number; a row of the table and an entry of the JSON."""

    section: str
    """Section that measured it."""
    what: str
    """What was measured."""
    value: float
    """The number."""
    unit: str
    """Its unit."""
    ratio: float | None = None
    """The number as a ratio to what was measured beside it in the same run, or none."""
    low: float | None = None
    """Lowest ratio of the rounds, where there are several."""
    high: float | None = None
    """Highest ratio of the rounds."""
    beside: str = ""
    """What the ratio is to."""


def cells(figure: Figure) -> list[str]:
    """The figure's row: everything that the JSON holds, to four digits."""
    spread = "" if figure.low is None or figure.high is None else f"{figure.low:.3g} to {figure.high:.3g}"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.4g}"
    return [figure.section, figure.what, f"{figure.value:.4g}", figure.unit, ratio, spread, figure.beside]


def figures_table(title: str, figures: Sequence[Figure]) -> Table:
    """All figures for people."""
    shown = table(title, HEADER, [cells(figure) for figure in figures])
    for column in shown.columns:
        if column.header in TEXT:
            column.justify = "left"
    return shown


def to_json(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """All figures for programs."""
    return [dataclasses.asdict(figure) for figure in figures]


def from_json(values: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """The figures that `to_json` gave."""
    return [Figure(**value) for value in values]
