"""The failure meters of one run as one picture, and their last values as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from cog.core.console import console, table
from cog.core.figures import COLOURS, new_picture, style, write_picture
from cog.errors import CogError
from cog.evaluation.result import RESULT, Evaluation, open_evaluation
from cog.experiments.studies.config import MetersConfig
from cog.training.meters.support import BAND
from cog.training.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PREFIX = "meter/"
COLUMNS = 3
DECADE = 10.0

Lines = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Curve:
    """One meter in a panel."""

    name: str
    """Name in metrics.jsonl, without `meter/`."""
    label: str
    """What the legend calls it."""
    colour: str
    """One of `cog.core.figures.COLOURS`."""


@dataclass(frozen=True)
class Panel:
    """One panel of the picture."""

    title: str
    """What it shows."""
    curves: tuple[Curve, ...]
    """The meters in it."""
    band: str | None = None
    """Meter below which the data's own actions lie, drawn as a band."""
    scale: str = "linear"
    """Scale of the vertical axis."""
    level: float | None = None
    """Share that the data's own actions have, drawn as a line; the axis is then from 0 to 1."""


VALUES = Panel(
    "predicted value and discounted return",
    (Curve("q_policy", "Q, policy's actions", "red"), Curve("q_data", "Q, data's actions", "green")),
)
PANELS = (
    VALUES,
    Panel(
        "distance from the nearest data action",
        (Curve("action_distance", "policy's actions", "red"),),
        "data_distance",
    ),
    Panel(
        "log-likelihood under the cloned behaviour",
        (
            Curve("log_likelihood", "policy's actions", "red"),
            Curve("data_log_likelihood", "data's actions", "green"),
        ),
        scale="symlog",
    ),
    Panel(
        "share of bootstrapped actions outside",
        (Curve("outside_share", "policy's actions", "red"),),
        level=1 - BAND,
    ),
    Panel("largest |Q|", (Curve("q_size", "largest |Q|", "blue"),), scale="log"),
    Panel(
        "model's error after H steps, in standard deviations",
        tuple(
            Curve(f"model_error_{horizon}", f"after {horizon}", colour)
            for horizon, colour in ((1, "green"), (5, "blue"), (10, "ochre"), (20, "red"))
        ),
        scale="log",
    ),
)


def run_meters(config: MetersConfig) -> None:
    """Draw the picture, and print the last values."""
    values = draw_meters(config)
    console().print(values)
    console().print(str(config.out))


def draw_meters(config: MetersConfig) -> Table:
    """Write the picture and return a table of the last values; panels without values are left out.

    Evaluations in RUN/evaluations add what the critics predicted at the first step of their episodes, and
    the discounted returns that these had.

    Raises:
        CogError: the run has no meters, its files cannot be read, or matplotlib is not installed.
    """
    lines = metered(config.run_folder)
    evaluations = evaluated(config.run_folder)
    panels = [panel for panel in PANELS if any(PREFIX + one.name in lines[-1] for one in panel.curves)]
    rows = -(-len(panels) // COLUMNS)
    figure = new_picture(4.2 * min(COLUMNS, len(panels)), 3.0 * rows)
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, min(COLUMNS, len(panels)), place)
        _draw(axes, panel, lines)
        if panel is VALUES:
            _draw_returns(axes, evaluations)
        axes.set_title(panel.title, fontsize=10, loc="left")
        axes.set_xlabel("update", fontsize=9)
        if _wide(panel, lines):  # within a decade, a logarithmic axis has no ticks
            axes.set_yscale(panel.scale)
        axes.tick_params(which="minor", labelsize=7)
        axes.grid(alpha=0.25)
        style(axes)
        axes.legend(fontsize=8, frameon=False)
    try:
        write_picture(config.out, figure, 120)
    except OSError as error:
        raise CogError(f"cannot be written ({error.strerror})", where=config.out) from error
    return last_values(config.run_folder, lines[-1], evaluations)


def metered(run: Path) -> Lines:
    """The lines of a run's metrics that have meters, at least one.

    Raises:
        CogError: there is none, or the metrics cannot be read.
    """
    try:
        lines = read_metrics(run)
    except (OSError, ValueError) as error:
        raise CogError(
            f"holds no metrics that can be read ({error})", where=run, remedy="name the folder of a run"
        ) from error
    found = [line for line in lines if any(name.startswith(PREFIX) for name in line)]
    if not found:
        raise CogError("has no meters", where=run, remedy="train it with --meter-every, such as 1000")
    return found


def evaluated(run: Path) -> list[Evaluation]:
    """The evaluations in RUN/evaluations whose episodes have predicted returns, by update."""
    folders = sorted(file.parent for file in run.glob(f"evaluations/*/{RESULT}"))
    found = [open_evaluation(folder) for folder in folders]
    with_values = [one for one in found if one.episodes and "predicted_return" in one.episodes[0]]
    return sorted(with_values, key=lambda one: one.update)


def returns(evaluation: Evaluation) -> tuple[float, float]:
    """Means over all episodes of an evaluation: predicted at the first step, and the discounted return."""
    count = len(evaluation.episodes)
    predicted = sum(episode["predicted_return"] for episode in evaluation.episodes) / count
    return predicted, sum(episode["discounted_return"] for episode in evaluation.episodes) / count


def last_values(run: Path, line: Mapping[str, float], evaluations: Sequence[Evaluation]) -> Table:
    """Table for people: every meter at the last update that has them, and the last evaluation."""
    rows = [
        [name.removeprefix(PREFIX).replace("_", " "), f"{value:.3g}"]
        for name, value in line.items()
        if name.startswith(PREFIX)
    ]
    if evaluations:
        predicted, had = returns(evaluations[-1])
        rows.append([f"predicted return, update {evaluations[-1].update}", f"{predicted:.3g}"])
        rows.append(["discounted return there", f"{had:.3g}"])
    return table(f"meters of {run} at update {line['update']:g}", ["meter", "value"], rows)


def _wide(panel: Panel, lines: Lines) -> bool:
    """Whether a panel's meters span more than a decade."""
    names = [PREFIX + curve.name for curve in panel.curves]
    values = [line[name] for line in lines for name in names if name in line]
    if panel.scale == "log":
        positive = [value for value in values if value > 0]
        return bool(positive) and max(positive) > DECADE * min(positive)
    return max(values) - min(values) > DECADE


def _draw(axes: "Axes", panel: Panel, lines: Lines) -> None:
    """The curves of a panel and, if it has one, the band of the data's own actions."""
    updates = [line["update"] for line in lines]
    if panel.band is not None:
        band = [line[PREFIX + panel.band] for line in lines]
        label = "95 % of the data's own"
        axes.fill_between(updates, 0, band, color=COLOURS["green"], alpha=0.15, linewidth=0, label=label)
    if panel.level is not None:
        axes.axhline(panel.level, color=COLOURS["green"], linestyle="--", label="data's own")
        axes.set_ylim(-0.02, 1.02)
    for curve in panel.curves:
        points = [(line["update"], line[name]) for line in lines if (name := PREFIX + curve.name) in line]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                "o-",
                markersize=2.5,
                linewidth=1.4,
                color=COLOURS[curve.colour],
                label=curve.label,
            )


def _draw_returns(axes: "Axes", evaluations: Sequence[Evaluation]) -> None:
    """What evaluations found: mean prediction at the first step, and mean discounted return."""
    if not evaluations:
        return
    updates = [one.update for one in evaluations]
    predicted, had = zip(*(returns(one) for one in evaluations), strict=True)
    axes.plot(updates, predicted, "^", color=COLOURS["ochre"], label="predicted at the first step")
    axes.plot(updates, had, "s", color=COLOURS["blue"], label="discounted return in evaluation")
