"""Learning curves of several arms as one picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cog.core.figures import new_picture, style, write_picture

PANELS = (
    ("td_loss", "Bellman error", "log"),
    ("q_data", "Q of the actions in the data", "linear"),
    ("log_likelihood", "log-likelihood of the actions in the data", "linear"),
)
"""Metric, title and scale of each panel; an arm appears in those whose metric it has."""


def draw_curves(
    path: Path, metrics: Mapping[str, Sequence[Mapping[str, float]]], colours: Mapping[str, str]
) -> None:
    """Write the learning curves as a PNG; `metrics` holds the logged lines of each arm.

    Raises:
        CogError: matplotlib is not installed.
    """
    figure = new_picture(12, 3.4)
    for place, (name, title, scale) in enumerate(PANELS, start=1):
        axes = figure.add_subplot(1, len(PANELS), place)
        for arm, lines in metrics.items():
            points = [(line["update"], line[name]) for line in lines if name in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=arm, color=colours.get(arm), linewidth=1.4)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("update", fontsize=9)
        axes.grid(alpha=0.25)
        style(axes)
        if axes.has_data():
            axes.set_yscale(scale)
            axes.legend(fontsize=8, frameon=False)
    write_picture(path, figure, 110)
