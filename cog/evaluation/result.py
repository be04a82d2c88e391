"""The result of an evaluation: read from its folder, shown as tables.

Success is counted twice. At the last step is the headline; at any step counts those that lost it again, too.
Where success ends an episode, both are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from cog.core.console import table
from cog.core.files import read_json
from cog.core.options import usable_path
from cog.errors import CogError
from cog.evaluation.intervals import CONFIDENCE, Rate

FORMAT = 1
RESULT = "evaluation.json"
SAME = "an episode ends at its first success, so success at the last step and at any step are the same"
LOST = "succeeded, lost by the last step"
STAGES_BEFORE = (
    "never reached the handle",
    "reached the handle, drawer not opened",
    "drawer open, never reached the object",
    "reached the object, no grasp",
    "grasped, dropped or out of time",
)
"""The stages of evaluations written before scenes declared their own and evaluations recorded them."""


@dataclass(frozen=True)
class StartResult:
    """The outcome of all episodes from one start."""

    start: str
    """Name of the start."""
    rate: Rate
    """Success at any step, with its interval."""
    last: Rate
    """Success at the last step, the headline; the same where success ends an episode."""
    mean_steps: float
    """Mean number of steps of an episode."""
    failures: Mapping[str, int]
    """Failed episodes by the furthest stage they reached, from least to most."""
    mean_return: float | None = None
    """Mean sum of the environment's rewards over an episode, not discounted."""
    predicted_return: float | None = None
    """Mean value of the first step by the critics, if there are any (`cog.evaluation.prediction`)."""
    discounted_return: float | None = None
    """Mean discounted return that the episodes had instead."""

    @property
    def lost(self) -> int:
        """Episodes that succeeded at some step, and not at the last."""
        return self.rate.successes - self.last.successes


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation."""

    results: tuple[StartResult, ...]
    """One entry per start."""
    episodes: tuple[Mapping[str, Any], ...]
    """One {number, seed, start, success, success_last, steps, return, furthest} per episode.

    With critics each has `predicted_return` and `discounted_return`, too.
    """
    pictures: Mapping[str, tuple[str, ...]]
    """Videos and contact sheet of each start, as paths within the folder."""
    checkpoint_hash: str
    """Hash of the weights that acted."""
    update: int
    """Update at which they were saved."""
    out: Path
    """Folder that holds `evaluation.json` and the videos."""

    ends_at_success: bool = True
    """Whether success ended an episode, as it also did in evaluations that do not say so."""
    horizon: int | None = None
    """Steps after which an episode was cut off; None if that was not recorded."""

    @property
    def ran_on(self) -> bool:
        """Whether episodes went on after a success, so that they could lose it."""
        return not self.ends_at_success or any(entry.lost for entry in self.results)

    @property
    def measure(self) -> str:
        """What `StartResult.last`, the headline, counts."""
        if not self.ran_on:
            return "at the first success, which ends an episode"
        return "at the last step" + ("" if self.horizon is None else f" of at most {self.horizon}")

    def result(self, start: str) -> StartResult:
        """The entry of one start."""
        return next(entry for entry in self.results if entry.start == start)


def open_evaluation(folder: Path | str) -> Evaluation:
    """Read the evaluation in a folder.

    Raises:
        CogError: there is none, or it is malformed.
    """
    folder = usable_path(folder)
    path = folder / RESULT
    value = read_json(path, "an evaluation")
    try:
        if (value["format"], value["kind"]) != (FORMAT, "evaluation"):
            raise ValueError(f"format {value['format']}")
        results = tuple(
            StartResult(
                start=entry["start"],
                rate=_rate(entry),
                last=_rate(entry.get("last_step", entry)),  # older evaluations ended every episode at success
                mean_steps=entry["mean_steps"],
                failures=_ordered(entry["failures"], value.get("stages", STAGES_BEFORE)),
                mean_return=_mean_return(value["episodes"], entry["start"]),
                predicted_return=entry.get("predicted_return"),
                discounted_return=entry.get("discounted_return"),
            )
            for entry in value["results"]
        )
        pictures = {start: tuple(files) for start, files in value["pictures"].items()}
        episodes = tuple(value["episodes"])
        config = value.get("config", {})
        return Evaluation(
            results,
            episodes,
            pictures,
            value["checkpoint_hash"],
            int(value["update"]),
            folder,
            ends_at_success=bool(config.get("terminate_on_success", True)),
            horizon=config.get("max_episode_steps"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CogError(f"not an evaluation that this version can read ({error!r})", where=path) from error


def results_table(evaluation: Evaluation) -> Group:
    """Tables for people: success rates, how far failures got, and the seed of every episode."""
    rows = [
        [
            entry.start,
            entry.last.count,
            str(entry.last),
            entry.rate.count,
            str(entry.rate),
            f"{entry.mean_steps:.1f}",
            "" if entry.mean_return is None else f"{entry.mean_return:.4g}",
        ]
        for entry in evaluation.results
    ]
    title = f"success with Wilson {CONFIDENCE:.0%} interval"
    header = ["start", "at the last step", "rate", "at any step", "rate", "mean steps", "mean return"]
    note = f"success is counted {evaluation.measure}" if evaluation.ran_on else SAME
    parts: list[Any] = [table(title, header, rows), Text(note)]
    endings = [
        [f"{entry.start}: {stage}", str(count)]
        for entry in evaluation.results
        for stage, count in [*entry.failures.items(), (LOST, entry.lost)]
        if count
    ]
    if endings:
        parts.append(table("how far the failures got", ["start: furthest stage", "episodes"], endings))
    returns = [
        [entry.start, *(f"{value:.3g}" for value in (predicted, had, predicted - had))]
        for entry in evaluation.results
        if (predicted := entry.predicted_return) is not None and (had := entry.discounted_return) is not None
    ]
    if returns:
        header = ["start", "predicted", "discounted return", "over-estimated by"]
        parts.append(table("what the critics predict at the first step", header, returns))
    for entry in evaluation.results:
        seeds = [
            f"{episode['number']}:{episode['seed']}{_sign(episode)}"
            for episode in evaluation.episodes
            if episode["start"] == entry.start
        ]
        signs = "+ success, - failure" + (f", ~ {LOST}" if entry.lost else "")
        parts.append(Text(f"{entry.start}, number:seed, {signs}: {' '.join(seeds)}", style="dim"))
    parts.append(Text(f"{evaluation.out / RESULT}"))
    return Group(*parts)


def outcome_text(episode: Mapping[str, Any]) -> str:
    """How an episode of an evaluation ended: in success, success lost again, or the furthest stage."""
    if episode.get("success_last", episode["success"]):  # the same where older evaluations have but one
        return "success"
    return LOST if episode["success"] else str(episode["furthest"])


def _sign(episode: Mapping[str, Any]) -> str:
    """One sign for how an episode ended."""
    return {"success": "+", LOST: "~"}.get(outcome_text(episode), "-")


def _mean_return(episodes: Sequence[Mapping[str, Any]], start: str) -> float | None:
    """Mean return of the episodes from one start; None if it was not recorded."""
    found = [
        float(episode["return"]) for episode in episodes if episode["start"] == start and "return" in episode
    ]
    return sum(found) / len(found) if found else None


def _rate(entry: Mapping[str, Any]) -> Rate:
    """A rate as evaluation.json holds it."""
    return Rate(entry["successes"], entry["episodes"], entry["low"], entry["high"])


def _ordered(failures: Mapping[str, int], stages: Sequence[str]) -> dict[str, int]:
    """Failures by stage, in the order of `stages`; unknown ones last."""
    places = {stage: place for place, stage in enumerate(stages)}
    return dict(sorted(failures.items(), key=lambda entry: places.get(entry[0], len(places))))
