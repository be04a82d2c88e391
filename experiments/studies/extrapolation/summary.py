"""What the curves say: means over seeds with Student's intervals, in JSON, in a table and in sentences."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scipy.stats import t as student

from cog.core.configs import identity
from cog.experiments.studies.extrapolation.agents import Point
from cog.experiments.studies.extrapolation.config import Experiment, ExtrapolationConfig
from cog.experiments.studies.extrapolation.learning import OFFLINE, ONLINE

CONFIDENCE = 0.95
LAST = 0.2  # share of the evaluations of a run, at its end, of which the figures in the table are means
FIELDS = ("returns", "true", "q_start", "q_data")


class Results(NamedTuple):
    """What all jobs found."""

    curves: dict[Experiment, dict[str, list[list[Point]]]]
    """By experiment and agent, the curve of each seed."""
    data: dict[Experiment, list[float]]
    """The mean return of the episodes in each seed's buffer."""
    stopped: dict[tuple[Experiment, str], int]
    """By experiment and agent, the seeds whose values became infinite, which ends a curve."""


class Interval(NamedTuple):
    """A mean over seeds; one seed has no interval."""

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.mean:.0f}"
        return f"{self.mean:.0f} [{self.low:.0f}, {self.high:.0f}]"

    def below(self, other: "Interval") -> bool:
        """Whether this whole interval lies below the other one."""
        return self.high is not None and other.low is not None and self.high < other.low


@dataclass(frozen=True)
class Agent:
    """One agent in one experiment, over its seeds."""

    curve: list[dict[str, Any]]
    """At each evaluation its `step`, and an interval for each field of `Point`."""
    end: dict[str, Interval]
    """The same over the last evaluations of each seed, and `excess`: how much the critic over-estimates."""
    seeds: int
    """Number of seeds."""
    too_high: int
    """Seeds whose critic, over the last evaluations, over-estimates the value of the starts."""
    stopped: int
    """Seeds that ended early because their values were not finite any more."""


Summary = Mapping[Experiment, Mapping[str, Agent]]


class Found(NamedTuple):
    """The figures of the study."""

    agents: Summary
    """By experiment and agent."""
    data: Mapping[Experiment, Interval]
    """Mean return of the episodes in the buffers."""


def interval(values: Sequence[float]) -> Interval:
    """Mean with Student's 95 % interval."""
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Interval(mean, None, None)
    width = float(student.ppf(0.5 + CONFIDENCE / 2, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Interval(mean, mean - width, mean + width)


def summarise(results: Results) -> Found:
    """Intervals over the seeds of every agent."""
    agents = {
        experiment: {
            name: _agent(found[name], results.stopped.get((experiment, name), 0))
            for name in sorted(found, key=lambda name: (name != ONLINE, name != OFFLINE))
            if any(found[name])
        }
        for experiment, found in results.curves.items()
    }
    return Found(agents, {experiment: interval(found) for experiment, found in results.data.items()})


def _agent(curves: Sequence[Sequence[Point]], stopped: int) -> Agent:
    """One agent, from the curve of each seed; those without any point only count as stopped."""
    kept = [curve for curve in curves if curve]
    longest = max(len(curve) for curve in kept)
    points = []
    for number in range(longest):
        there = [curve[number] for curve in kept if number < len(curve)]
        values = {name: interval([getattr(point, name) for point in there]) for name in FIELDS}
        points.append({"step": there[0].step, **values})
    ends = [curve[-max(1, round(LAST * len(curve))) :] for curve in kept]
    means = {
        name: [statistics.fmean(getattr(point, name) for point in end) for end in ends] for name in FIELDS
    }
    means["excess"] = [q - true for q, true in zip(means["q_start"], means["true"], strict=True)]
    return Agent(
        curve=points,
        end={name: interval(values) for name, values in means.items()},
        seeds=len(curves),
        too_high=sum(excess > 0 for excess in means["excess"]),
        stopped=stopped,
    )


def findings(found: Found) -> list[str]:
    """One sentence on each experiment, and one on the methods that do better than DDPG there."""
    sentences = []
    for experiment, agents in found.agents.items():
        if ONLINE not in agents or OFFLINE not in agents:
            continue
        online, offline = agents[ONLINE], agents[OFFLINE]
        gap = offline.end["returns"].below(online.end["returns"])
        sentences.append(
            f"{experiment}: offline DDPG earns {offline.end['returns']}, the agent that acts "
            f"{online.end['returns']}; {'the intervals are disjoint' if gap else 'no clear gap'}. "
            f"Its critic over-estimates in {offline.too_high} of {offline.seeds} seeds; over all seeds, what "
            f"it predicts less what is earned is {offline.end['excess']}."
        )
        others = [name for name in agents if name not in (ONLINE, OFFLINE)]
        better = [name for name in others if offline.end["returns"].below(agents[name].end["returns"])]
        if others:
            which = ", ".join(better) if better else "none"
            sentences.append(f"{experiment}: clearly above offline DDPG: {which}.")
    return sentences


def report(found: Found, config: ExtrapolationConfig, picture: str) -> str:
    """The findings and the table as a page of markdown."""
    lines = [f"# Extrapolation error on {config.task}", "", f"![Returns and values]({picture})", ""]
    lines += [f"- {sentence}" for sentence in findings(found)]
    lines += [
        "",
        f"Means over {len(config.seeds)} seeds with Student's 95 % intervals, of the last fifth of each "
        f"run's evaluations ({config.evaluations} episodes each, without noise). `true value`: discounted "
        "return from the starts of these episodes; `Q(start)`: what the critic predicts for the policy's "
        "actions there; `Q(data)`: for state-action pairs of the buffer; `stopped`: seeds whose values "
        "overflowed.",
        "",
        "For `cql`, `brac` and `sac`, whose policies are stochastic, Q(start) is the value of their draws "
        "(`brac` less its penalty, `sac` with its entropy), while `true value` is that of their modes: the "
        "difference of the two is not over-estimation alone.",
        "",
        "| experiment | agent | return | return in the data | true value | Q(start) | Q(data) | stopped |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for experiment, agents in found.agents.items():
        data = found.data.get(experiment, "")
        for name, agent in agents.items():
            end = agent.end
            cells = [experiment, f"`{name}`", end["returns"], data, end["true"], end["q_start"]]
            cells.append(end["q_data"])
            lines.append(f"| {' | '.join(str(cell) for cell in cells)} | {agent.stopped} |")
    return "\n".join(lines) + "\n"


def json_of(found: Found, config: ExtrapolationConfig) -> dict[str, Any]:
    """All figures as JSON holds them."""

    def plain(one: Interval) -> dict[str, float | None]:
        return one._asdict()

    def agent(one: Agent) -> dict[str, Any]:
        return {
            "end": {name: plain(values) for name, values in one.end.items()},
            "curve": [
                {"step": point["step"], **{name: plain(point[name]) for name in FIELDS}}
                for point in one.curve
            ],
            "seeds": one.seeds,
            "too_high": one.too_high,
            "stopped": one.stopped,
        }

    return {
        "settings": {**identity(config), "seeds": list(config.seeds)},
        "experiments": {
            experiment: {name: agent(one) for name, one in agents.items()}
            for experiment, agents in found.agents.items()
        },
        "data": {experiment: plain(one) for experiment, one in found.data.items()},
        "findings": findings(found),
    }
