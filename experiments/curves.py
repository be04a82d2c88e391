"""Learning curves of several arms as one picture."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from cog.errors import missing_extra
from cog.files import write_bytes

PANELS = (
    ("td_loss", "Bellman error", "log"),
    ("q_data", "Q of the actions in the data", "linear"),
    ("log_likelihood", "log-likelihood of the actions in the data", "linear"),
)
"""Metric, title and scale of each panel; an arm appears in those whose metric it has."""
COLOURS = {"cog": "#0b6e4f", "cql_task_only": "#c8553d", "bc_task_only": "#3c5a99"}


def draw_curves(
    path: Path, metrics: Mapping[str, Sequence[Mapping[str, float]]], colours: Mapping[str, str] = COLOURS
) -> None:
    """Write the learning curves as a PNG; `metrics` holds the logged lines of each arm.

    Raises:
        CogError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report") from error
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for place, (name, title, scale) in enumerate(PANELS, start=1):
        axes = figure.add_subplot(1, len(PANELS), place)
        for arm, lines in metrics.items():
            points = [(line["update"], line[name]) for line in lines if name in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=arm, color=colours.get(arm), linewidth=1.4)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("update", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.has_data():
            axes.set_yscale(scale)
            axes.legend(fontsize=8, frameon=False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_bytes(path, data.getvalue())
