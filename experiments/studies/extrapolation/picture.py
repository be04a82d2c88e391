"""The picture: for each experiment, returns, and the values that critics predict against those earned."""

from pathlib import Path
from typing import TYPE_CHECKING

from cog.core.figures import COLOURS, new_picture, style, write_picture
from cog.experiments.studies.extrapolation.config import ExtrapolationConfig
from cog.experiments.studies.extrapolation.learning import OFFLINE, ONLINE
from cog.experiments.studies.extrapolation.summary import Agent, Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAIN = {ONLINE: COLOURS["green"], OFFLINE: COLOURS["red"]}
OTHERS = ("blue", "violet", "ochre", "sky", "grey")
DPI = 130


def draw(found: Found, config: ExtrapolationConfig, path: Path) -> None:
    """Write the picture as PNG.

    Raises:
        CogError: matplotlib is not installed, or the file cannot be written.
    """
    names = [name for name in config.methods if any(name in agents for agents in found.agents.values())]
    rows = 3 if names else 2
    figure = new_picture(4.2 * len(found.agents), 2.8 * rows)
    grid = figure.subplots(rows, len(found.agents), squeeze=False)
    for column, (experiment, agents) in enumerate(found.agents.items()):
        returns, values = grid[0, column], grid[1, column]
        returns.set_title(experiment, fontsize=10)
        for name, colour in MAIN.items():
            if name in agents:
                _curve(returns, agents[name], "returns", colour, name)
                _curve(values, agents[name], "q_start", colour, f"Q of {name}")
                _curve(values, agents[name], "true", colour, f"earned by {name}", dotted=True)
        if experiment in found.data:
            mean = found.data[experiment].mean
            returns.axhline(mean, color="black", linewidth=0.8, linestyle="--", label="in the data")
        for number, name in enumerate(names):
            if name in agents:
                colour = COLOURS[OTHERS[number % len(OTHERS)]]
                _curve(grid[2, column], agents[name], "returns", colour, name, number >= len(OTHERS))
        if names and OFFLINE in agents:
            _curve(grid[2, column], agents[OFFLINE], "returns", MAIN[OFFLINE], OFFLINE)
    labels = ("return", "value of the starts", "return of others")
    for row in range(rows):
        grid[row, 0].set_ylabel(labels[row], fontsize=9)
        for axes in grid[row]:
            style(axes)
            axes.legend(fontsize=6, frameon=False)
    for axes in grid[-1]:
        axes.set_xlabel("steps or updates", fontsize=8)
    write_picture(path, figure, DPI)


def _curve(axes: "Axes", agent: Agent, field: str, colour: str, label: str, dotted: bool = False) -> None:
    """A mean over seeds with its interval; one point becomes a level line."""
    dashes = ":" if dotted else "-"
    if len(agent.curve) == 1:
        mean = agent.curve[0][field].mean
        axes.axhline(mean, color=colour, linewidth=1.4, linestyle=dashes, label=label)
        return
    steps = [point["step"] for point in agent.curve]
    means = [point[field].mean for point in agent.curve]
    axes.plot(steps, means, color=colour, linewidth=1.4, linestyle=dashes, label=label)
    if all(point[field].low is not None for point in agent.curve):
        low, high = ([getattr(point[field], end) for point in agent.curve] for end in ("low", "high"))
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
