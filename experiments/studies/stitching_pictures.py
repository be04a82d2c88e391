"""Pictures of stitching: values that flow back through the data, still and moving, and shares of the data."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cog.core.figures import COLOURS, new_picture, style, write_picture
from cog.core.files import write_bytes
from cog.tabular.problem import Problem, Steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Flow = tuple[Problem, Steps, np.ndarray]
"""A problem, its data and Q after each sweep (sweeps + 1, S, A)."""
STILL_FRAMES = 4
"""Times that the last frame of the animation is shown."""
FRAMES_PER_SECOND = 1.25
MAGNIFIED = 1.6
"""Size of what the animation's panels hold, relative to that of the small ones."""
PANEL = (2.7, 1.9)
"""Width and height of a panel in inches."""


def draw_sweeps(path: Path, flows: Sequence[Flow], dpi: int) -> None:
    """Write small multiples: a row a problem, a panel a sweep, and a panel that explains them.

    Raises:
        CogError: matplotlib is not installed, or the file could not be written.
    """
    columns = max(len(history) for _, _, history in flows)
    figure = new_picture(PANEL[0] * columns, PANEL[1] * len(flows) + 0.3)
    for row, (problem, steps, history) in enumerate(flows):
        for sweep in range(len(history)):
            axes = figure.add_subplot(len(flows), columns, row * columns + sweep + 1)
            _values(axes, problem, steps, history[sweep])
            axes.set_title(f"{problem.name}, {_sweeps(sweep)}", fontsize=9, loc="left")
    short = len(flows[0][2])
    if short < columns:
        axes = figure.add_subplot(len(flows), columns, (short + 1, columns))
        axes.axis("off")
        axes.text(0.08, 0.5, LEGEND, fontsize=9, va="center", linespacing=1.6)
    write_picture(path, figure, dpi)


LEGEND = (
    "The number at a state is the highest Q among the actions of the data.\n"
    "Arrows are steps of the data, the broader the commoner, green as their\n"
    "Q grows. C pays 1. Each sweep carries it back by one step, through B,\n"
    "which both trajectories visit, to A, from which none leads to C."
)


def draw_animation(path: Path, flows: Sequence[Flow], dpi: int) -> None:
    """Write the same as a GIF, a frame a sweep, the problems next to each other; the last frame stays longer.

    Raises:
        CogError: matplotlib is not installed, or the file could not be written.
    """
    figure = new_picture(2 * PANEL[0] * len(flows), 2 * PANEL[1])
    from matplotlib.animation import PillowWriter

    panels = [figure.add_subplot(1, len(flows), place + 1) for place in range(len(flows))]
    last = max(len(history) for _, _, history in flows) - 1
    writer = PillowWriter(fps=FRAMES_PER_SECOND)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "animation.gif"  # the format is chosen by this ending
        with writer.saving(figure, str(file), dpi):
            for sweep in [*range(last + 1), *[last] * (STILL_FRAMES - 1)]:
                for axes, (problem, steps, history) in zip(panels, flows, strict=True):
                    axes.clear()
                    _values(axes, problem, steps, history[min(sweep, len(history) - 1)], MAGNIFIED)
                    axes.set_title(f"{problem.name}, {_sweeps(sweep)}", fontsize=11, loc="left")
                writer.grab_frame()
                figure.set_layout_engine("none")  # all frames have the first one's layout, which takes time
        write_bytes(path, file.read_bytes())


def draw_shares(
    path: Path, shares: Mapping[str, Sequence[float]], titles: Mapping[str, str], dpi: int
) -> None:
    """Write the probability of reaching C against the share of trajectories that go there, by method.

    Methods whose curves are the same share a line.

    Raises:
        CogError: matplotlib is not installed, or the file could not be written.
    """
    same: dict[tuple[float, ...], list[str]] = {}
    for name, title in titles.items():
        same.setdefault(tuple(round(value, 9) for value in shares[name]), []).append(title)
    figure = new_picture(9.5, 3.8)
    axes = figure.add_subplot()
    for place, (values, names) in enumerate(same.items()):
        colour = list(COLOURS.values())[place % len(COLOURS)]
        axes.plot(shares["share"], values, label="\n".join(names), color=colour, linewidth=1.8)
    axes.set_xlabel("share of trajectories that turn to C at B", fontsize=9)
    axes.set_ylabel("probability of reaching C from A", fontsize=9)
    axes.set_title("the chain", fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    style(axes)
    write_picture(path, figure, dpi)


def _sweeps(number: int) -> str:
    return "1 sweep" if number == 1 else f"{number} sweeps"


def _values(axes: "Axes", problem: Problem, steps: Steps, q: np.ndarray, size: float = 1.0) -> None:
    """One panel: every state with its value, every pair of the data as an arrow, `size` times as large."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("values", ["#ffffff", COLOURS["green"]])
    lines = LinearSegmentedColormap.from_list("lines", ["#b9b9b4", COLOURS["green"]])
    pairs, counts = np.unique(np.stack([steps.states, steps.actions], 1), axis=0, return_counts=True)
    for (state, action), count in zip(pairs, counts, strict=True):
        axes.annotate(
            "",
            xy=problem.places[problem.next_states[state, action]],
            xytext=problem.places[state],
            arrowprops={
                "arrowstyle": "-|>",
                "color": lines(min(max(q[state, action], 0.0), 1.0)),
                "linewidth": size * (0.8 + 2.5 * count / counts.max()),
                "shrinkA": 11 * size,
                "shrinkB": 11 * size,
            },
            zorder=1,
        )
    for state, (x, y) in enumerate(problem.places):
        known = ~np.isnan(q[state])
        value = q[state, known].max() if known.any() else np.nan
        inside = "#f2f1ec" if np.isnan(value) else shades(min(max(value, 0.0), 1.0))
        edge = COLOURS["ochre"] if state == problem.goal else COLOURS["grey"]
        axes.scatter([x], [y], s=420 * size**2, color=[inside], edgecolors=edge, linewidths=1.2, zorder=2)
        text = problem.labels[state] + ("" if np.isnan(value) else f"\n{value:.2f}")
        ink = "white" if value > 0.6 else "black"
        axes.text(x, y, text.strip(), fontsize=6 * size, ha="center", va="center", color=ink, zorder=3)
    across, up = np.array(problem.places).T
    axes.set_xlim(across.min() - 0.6, across.max() + 0.6)
    axes.set_ylim(up.min() - 0.6, up.max() + 0.6)
    axes.axis("off")
