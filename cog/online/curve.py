"""The learning curve of online fine-tuning: success over environment steps, with the dip at handover."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from cog.core.console import table
from cog.core.figures import COLOURS, new_picture, style, write_picture
from cog.core.files import write_bytes
from cog.errors import CogError
from cog.evaluation.intervals import CONFIDENCE, Rate, wilson

CURVE, PICTURE = "curve.jsonl", "curve.png"
FIRST_EPISODES = 100  # online episodes after the handover that are searched for a dip
UNNAMED = tuple(COLOURS.values())


@dataclass(frozen=True)
class Point:
    """One evaluation of the averaged, deterministic policy."""

    episodes: int
    """Online episodes so far."""
    steps: int
    """Environment steps of these episodes."""
    updates: int
    """Gradient updates since the handover."""
    successes: int
    """Evaluation episodes that succeeded at their last step; where success ends them, all that succeeded."""
    evaluated: int
    """Evaluation episodes in all."""
    collected: int
    """Online episodes so far that succeeded, acting stochastically."""
    mean_return: float | None = None
    """Mean sum of the environment's rewards in the evaluation; only where a rule pays every online step."""
    collected_return: float | None = None
    """Mean sum of that rule's rewards over the online episodes so far."""
    any_step: int | None = None
    """Evaluation episodes that succeeded at any step; only where they go on after success."""

    @property
    def rate(self) -> Rate:
        """Success with its Wilson interval."""
        return wilson(self.successes, self.evaluated)


@dataclass(frozen=True)
class Handover:
    """Effect of the handover from offline to online training."""

    before: Point
    """The checkpoint that was handed over."""
    lowest: Point
    """The worst evaluation within the first `FIRST_EPISODES` online episodes, or the first one after.

    By its return where rewards are dense, otherwise by its success.
    """
    final: Point
    """The last evaluation."""


def handover(points: Sequence[Point]) -> Handover:
    """Success before going online, its minimum soon after, and at the end.

    Raises:
        CogError: the curve has no evaluation after the handover yet.
    """
    after = points[1:]
    if not after:
        raise CogError(
            "the learning curve has no evaluation after the handover yet", remedy="continue the run"
        )
    early = [point for point in after if point.episodes <= FIRST_EPISODES] or after[:1]
    dense = all(point.mean_return is not None for point in points)
    return Handover(points[0], min(early, key=_return if dense else _success), after[-1])


def _return(point: Point) -> float:
    return float(point.mean_return or 0.0)


def _success(point: Point) -> float:
    return point.rate.value


def handover_table(points: Sequence[Point]) -> Table:
    """Table for people: success before going online, its minimum soon after, and at the end."""
    found = handover(points)
    rows = [
        [name, str(point.episodes), str(point.steps), point.rate.count, str(point.rate)]
        for name, point in (
            ("before going online", found.before),
            (f"lowest in the first {FIRST_EPISODES} episodes", found.lowest),
            ("final", found.final),
        )
    ]
    header = ["evaluation", "online episodes", "environment steps", "successes", "rate"]
    if all(point.mean_return is not None for point in points):
        header.append("mean return")
        for row, point in zip(rows, (found.before, found.lowest, found.final), strict=True):
            row.append(f"{point.mean_return:.4g}")
    if all(point.any_step is not None for point in points):
        header.append("at any step")
        for row, point in zip(rows, (found.before, found.lowest, found.final), strict=True):
            row.append(str(wilson(int(point.any_step or 0), point.evaluated)))
        return table(f"success at the last step with Wilson {CONFIDENCE:.0%} interval", header, rows)
    title = f"success, which ends an episode, with Wilson {CONFIDENCE:.0%} interval"
    return table(title, header, rows)


def write_curve(folder: Path, points: Sequence[Point]) -> None:
    """Write curve.jsonl, one line per evaluation with its 95 % Wilson interval."""
    lines = []
    for point in points:
        interval = {"low": point.rate.low, "high": point.rate.high}
        values = {name: value for name, value in dataclasses.asdict(point).items() if value is not None}
        lines.append(json.dumps({**values, **interval}) + "\n")
    write_bytes(folder / CURVE, "".join(lines).encode())


def read_curve(folder: Path) -> list[Point]:
    """The points of a run's curve.jsonl.

    Raises:
        CogError: there is none, or it is malformed.
    """
    path = folder / CURVE
    fields = dataclasses.fields(Point)
    needed = [field.name for field in fields if field.default is dataclasses.MISSING]
    known = [field.name for field in fields]
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            Point(**{name: line[name] for name in known if name in needed or name in line}) for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CogError(f"not a learning curve of cog finetune ({error!r})", where=path) from error


def draw_curve(path: Path, curves: Mapping[str, Sequence[Point]], title: str) -> None:
    """Write a PNG of one or several curves by name; bands are 95 % Wilson intervals.

    Raises:
        CogError: matplotlib is not installed.
    """
    figure = new_picture(7, 3.6)
    axes = figure.subplots()
    for number, (name, points) in enumerate(curves.items()):
        colour = UNNAMED[number % len(UNNAMED)]
        steps = [point.steps for point in points]
        axes.plot(steps, [point.rate.value for point in points], "o-", color=colour, label=name, markersize=3)
        low, high = ([getattr(point.rate, end) for point in points] for end in ("low", "high"))
        axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("environment steps since the handover to online", fontsize=9)
    axes.set_ylabel("success", fontsize=9)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)
    style(axes)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    write_picture(path, figure, 140)
