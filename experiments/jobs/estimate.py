"""How long jobs should take: measured costs of one unit of each kind, refined by what ran in the folder."""

import heapq
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cog.core.files import read_json
from cog.errors import CogError
from cog.experiments.jobs.job import Cost, Job

COSTS: Mapping[str, float] = {
    "collect": 1.0e-3,
    "count": 9.0e-6,
    "relabel": 9.0e-6,
    "merge": 0.05,
    "train cql image": 4.0e-4,
    "train bc image": 1.4e-4,
    "train cql state": 1.5e-4,
    "train bc state": 1.6e-5,
    "train cql image paper": 2.3e-3,
    "evaluate": 2.5e-3,
}
"""Processor seconds of one unit by kind of job; the longest beginning of a job's kind counts.

A unit is a step of the simulator at the horizon (collect, relabel, evaluate) or a transition of a batch
(train). Measured on one core of a virtual AMD EPYC, the paper's network by `cog bench`; what a GPU takes
is known only once it has trained something in the folder.
"""


@dataclass(frozen=True)
class Stage:
    """One line of the plan."""

    kind: str
    """What is done."""
    jobs: int
    """Jobs in all."""
    finished: int
    """Jobs that are finished."""
    cpu_seconds: float
    """Processor time still to spend."""
    wall_seconds: float
    """Time that takes on the cores there are; for jobs that share them, their part of it."""


class Estimate:
    """Expected seconds of jobs."""

    def __init__(self, records: Path) -> None:
        """Learn from the records in a folder."""
        self._measured = measured_costs(records)

    def unit(self, cost: Cost) -> float:
        """Processor seconds of one unit."""
        if cost.kind in self._measured:
            return self._measured[cost.kind]
        kind, *how = cost.kind.split()
        names = _beginnings(cost.kind)
        if not names and how:  # an algorithm that was not measured counts as CQL does
            names = _beginnings(" ".join([kind, "cql", *how[1:]]))
        if not names:  # a kind of observation or network that was not measured
            names = [name for name in COSTS if name.split()[0] == kind]
        return COSTS[max(names, key=len)]

    def seconds(self, job: Job) -> float:
        """Processor seconds of the whole job."""
        cost = job.cost()
        return cost.units * self.unit(cost)

    def left(self, job: Job) -> float:
        """Processor seconds of what is not done yet; nothing if it is finished."""
        return 0.0 if job.finished() else self.seconds(job) * (1 - min(job.progress()[0], 1.0))


def _beginnings(kind: str) -> list[str]:
    """The measured kinds that a kind begins with."""
    return [name for name in COSTS if f"{kind} ".startswith(f"{name} ")]


def measured_costs(records: Path) -> dict[str, float]:
    """Median processor seconds of one unit by kind of job, from what was recorded so far."""
    found: dict[str, list[float]] = {}
    for file in sorted(records.glob("[!.]*.json")):
        try:
            record = read_json(file, "the record of a job")
            units = record["units"] * record["share"]
            if units > 0 and record["cpu_seconds"] > 0:
                found.setdefault(record["cost"], []).append(record["cpu_seconds"] / units)
        except (CogError, KeyError, TypeError):
            continue  # an estimate needs no more than what can be read
    return {kind: statistics.median(values) for kind, values in found.items()}


def stages(jobs: Sequence[Job], estimate: Estimate, cores: int, workers: int) -> list[Stage]:
    """The plan, one line for each kind of job, in the order in which they are done."""
    left = {job.hash: estimate.left(job) for job in jobs}
    shared = [left[job.hash] for job in jobs if not job.alone]
    stretch = makespan(shared, workers) / max(sum(shared), 1e-9)
    result = []
    for kind in dict.fromkeys(job.kind for job in jobs):
        here = [job for job in jobs if job.kind == kind]
        cpu = sum(left[job.hash] for job in here)
        result.append(
            Stage(
                kind=kind,
                jobs=len(here),
                finished=sum(left[job.hash] == 0 for job in here),
                cpu_seconds=cpu,
                wall_seconds=cpu / cores if here[0].alone else cpu * stretch,
            )
        )
    return result


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last job ends, if each of `workers` takes the longest one left whenever it is free."""
    ends = [0.0] * workers
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)


def in_words(seconds: float) -> str:
    """A duration for people."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
