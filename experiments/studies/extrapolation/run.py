"""The study from the first job to the report: what is finished in its folder is not done again."""

import contextlib
import itertools
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cog.core.configs import identity
from cog.core.console import console, messages
from cog.core.figures import new_picture
from cog.core.files import read_json, write_bytes, write_json
from cog.errors import CogError
from cog.experiments.studies.extrapolation.agents import Point, make_agent
from cog.experiments.studies.extrapolation.config import SEED_LIMIT, Experiment, ExtrapolationConfig
from cog.experiments.studies.extrapolation.growing import GrowingBuffer
from cog.experiments.studies.extrapolation.learning import (
    OFFLINE,
    ONLINE,
    Curves,
    data_file,
    learn_offline,
    learn_online,
    record_expert,
)
from cog.experiments.studies.extrapolation.picture import draw
from cog.experiments.studies.extrapolation.summary import (
    Results,
    findings,
    json_of,
    report,
    summarise,
)
from cog.experiments.studies.extrapolation.task import open_task

REPORT, SUMMARY, PICTURE = "extrapolation.md", "summary.json", "extrapolation.png"
Say = Callable[[str], None]


class Job(NamedTuple):
    """A piece of work with one seed."""

    experiment: Experiment
    """Whose buffer is made or learned from."""
    agent: str
    """"online", which makes the buffer, or the algorithm that learns from it."""
    seed: int
    """Seed of the agents."""

    def __str__(self) -> str:
        return f"{self.experiment} {self.agent} seed {self.seed}"


def stages(config: ExtrapolationConfig) -> list[list[Job]]:
    """Every job; those of a stage need what earlier stages have made."""
    asked = config.experiments
    acting: list[Experiment] = ["final"] if "final" in asked else []
    if "concurrent" in asked or "imitation" in asked:
        acting.append("concurrent")
    online = [Job(experiment, ONLINE, seed) for seed in config.seeds for experiment in acting]
    experts = [Job("imitation", ONLINE, seed) for seed in config.seeds] if "imitation" in asked else []
    offline = [
        Job(experiment, agent, seed)
        for seed, experiment in itertools.product(config.seeds, asked)
        for agent in (OFFLINE, *config.methods)
        if (experiment, agent) != ("concurrent", OFFLINE)  # which learns beside the agent that acts
    ]
    return [online, experts, offline]


def do(config: ExtrapolationConfig, job: Job) -> None:
    """Do one job in this process and write its curves.

    Raises:
        CogError: what it needs is missing, or its curves cannot be written.
    """
    torch.set_num_threads(1)
    if job.agent != ONLINE:
        curves = learn_offline(config, job.experiment, job.agent, job.seed)
    elif job.experiment == "imitation":
        curves = record_expert(config, job.seed)
    else:
        curves = learn_online(config, job.experiment, job.seed)
    values: dict[str, Any] = {
        "settings": identity(config),
        "curves": {name: _finite(points) for name, points in curves.items()},
        "stopped": [name for name, points in curves.items() if len(_finite(points)) < len(points)],
    }
    if job.agent == ONLINE:
        data = GrowingBuffer.load(data_file(config, job.experiment, job.seed), config.discount)
        returns = data.episode_returns()
        values["data"] = {
            "steps": len(data),
            "episodes": len(returns),
            "mean_return": math.fsum(returns) / len(returns) if returns else None,
        }
    write_json(job_file(config, job), values)


def job_file(config: ExtrapolationConfig, job: Job) -> Path:
    """Where the curves of a job are kept."""
    return config.out / "jobs" / f"{job.experiment}-{job.agent}-{job.seed}.json"


def finished(config: ExtrapolationConfig, job: Job) -> dict[str, Any] | None:
    """What the job wrote, if it was done before.

    Raises:
        CogError: with other settings, or the file is damaged.
    """
    path = job_file(config, job)
    if not path.exists():
        return None
    found = read_json(path, "the curves of a job")
    if found.get("settings") != identity(config):
        raise CogError("was made with other settings", where=path, remedy="choose another folder with --out")
    return found


def extrapolate(config: ExtrapolationConfig, say: Say) -> Results:
    """Do all jobs that are not finished, `say` which are, and write summary, picture and report.

    Raises:
        UsageError: the task or a method does not exist or does not fit.
        CogError: a package of an extra is missing, or the folder holds results of other settings.
    """
    config = config.chosen()
    new_picture(1, 1)  # raises an error if it cannot be drawn, hours before that
    task = open_task(config.task)
    for method in (OFFLINE, *config.methods):
        make_agent(config, task, method, SEED_LIMIT)
    every = stages(config)
    with _workers(config) as workers:
        for stage in every:
            waiting = [job for job in stage if finished(config, job) is None]
            for number, job in enumerate(_done(config, waiting, workers), 1):
                say(f"{job} ({number}/{len(waiting)})")
    results = _read(config, [job for stage in every for job in stage])
    summary = summarise(results)
    write_json(config.out / SUMMARY, json_of(summary, config))
    draw(summary, config, config.out / PICTURE)
    write_bytes(config.out / REPORT, report(summary, config, PICTURE).encode())
    return results


def run_extrapolation(config: ExtrapolationConfig) -> None:
    """Run the study and print what it found and where the report is.

    Raises:
        CogError: as `extrapolate`.
    """
    results = extrapolate(config, messages().print)
    screen = console()
    for sentence in findings(summarise(results)):
        screen.print(sentence)
    screen.print(str(config.out / REPORT))


@contextlib.contextmanager
def _workers(config: ExtrapolationConfig) -> Iterator[Executor | None]:
    """Processes that do jobs; none where this one is to do them all."""
    count = config.processes or os.cpu_count() or 1
    if count == 1:
        yield None
        return
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _done(config: ExtrapolationConfig, jobs: list[Job], workers: Executor | None) -> Iterator[Job]:
    """Each job once it is done."""
    if workers is None:
        for job in jobs:
            do(config, job)
            yield job
        return
    running = {workers.submit(do, config, job): job for job in jobs}
    for future in as_completed(running):
        future.result()
        yield running[future]


def _finite(points: list[Point]) -> list[dict[str, float]]:
    """The points up to the first that holds a number that is not finite."""
    kept = itertools.takewhile(lambda point: all(math.isfinite(one) for one in point), points)
    return [point._asdict() for point in kept]


def _read(config: ExtrapolationConfig, jobs: list[Job]) -> Results:
    """The curves of all jobs, and the mean return of each buffer."""
    results = Results({}, {}, {})
    for job in jobs:
        if job.experiment not in config.experiments:
            continue
        found = finished(config, job)
        assert found is not None
        curves: Curves = {
            name: [Point(**point) for point in points] for name, points in found["curves"].items()
        }
        for name, curve in curves.items():
            results.curves.setdefault(job.experiment, {}).setdefault(name, []).append(curve)
        for name in found["stopped"]:
            key = (job.experiment, name)
            results.stopped[key] = results.stopped.get(key, 0) + 1
        if "data" in found and found["data"]["mean_return"] is not None:
            results.data.setdefault(job.experiment, []).append(found["data"]["mean_return"])
    return results
