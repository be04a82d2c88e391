"""Algorithms of cog against those of d3rlpy: the same transitions, settings and evaluation episodes.

    python -m tests.packages.compare_d3rlpy --jobs FOLDER --out FILE

Every training is a job of its own that leaves a file in the folder of jobs, and is not done again while that
file is there. The result has, for each task and algorithm, the return of every training seed and Student's
95 % interval of their mean.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import sem, t

from cog.algorithms import algorithm
from cog.core.files import json_text
from cog.datasets.episode import Episode
from cog.datasets.transitions import from_episodes
from cog.evaluation.policy import Policy
from cog.networks.config import NetworkConfig
from cog.training.config import TrainConfig
from cog.training.train import train
from tests.packages.d3rlpy_settings import MATCHED, ours
from tests.packages.d3rlpy_tasks import TASKS, Act, evaluate, record

PIXELS = ("bcq", "cql", "iql")
"""Algorithms that learn the task with pictures, too."""


@dataclass(frozen=True)
class Budget:
    """How long each policy learns on a task, and how many of them."""

    updates: int
    """Updates of the critics."""
    batch: int = 128
    """Transitions in a batch."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Training seeds of each package."""
    lr: float = 3e-4
    """Adam's step size for critics and actor."""

    def changes(self) -> dict[str, float]:
        """Settings of every algorithm that go by the task."""
        return {"critic_lr": self.lr, "actor_lr": self.lr}


BUDGETS = {
    "pendulum": Budget(2500),
    "mountain_car": Budget(2000),
    "dot": Budget(800, batch=64, lr=1e-3),
}
NETWORKS = {
    "pendulum": NetworkConfig(layer_norm=False),
    "mountain_car": NetworkConfig(layer_norm=False),
    "dot": NetworkConfig(layer_norm=False, sharing="separate", bottleneck=0, use_proprio=False),
}
"""Two hidden layers of 256, without norm; for pictures, each network has convolutions before them."""


@dataclass(frozen=True)
class Job:
    """One training and its evaluation."""

    task: str
    algorithm: str
    package: str
    seed: int

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.task}-{self.algorithm}-{self.package}-{self.seed}.json"


def train_cog(job: Job, budget: Budget, episodes: Sequence[Episode]) -> Act:
    """The policy that cog learns: the last weights, without average."""
    network = replace(NETWORKS[job.task], critics=MATCHED[job.algorithm].critics)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            data=Path("unused"),
            out=Path(folder) / "run",
            seed=job.seed,
            updates=budget.updates,
            batch_size=budget.batch,
            sampling="uniform",
            average_decay=0.0,
            checkpoint_every=budget.updates,
            runaway_q=1e9,  # d3rlpy goes on, too
            network=network,
            algorithm=algorithm(job.algorithm).Config(**ours(job.algorithm, budget.changes())),
        )
        policy = Policy.load(train(config, from_episodes(episodes, "behaviour")))
    if episodes[0].images is None:
        return lambda states: policy.act(None, states)
    return lambda pictures: policy.act(pictures, None)


def train_d3rlpy(job: Job, budget: Budget, episodes: Sequence[Episode]) -> Act:
    """The policy that d3rlpy learns."""
    import d3rlpy

    from tests.packages.d3rlpy_models import build, quiet, replay

    quiet()
    d3rlpy.seed(job.seed)
    pictures = episodes[0].images is not None
    scale = None
    if not pictures:
        states = np.concatenate([episode.state for episode in episodes])
        scale = states.mean(0), states.std(0)
    model = build(job.algorithm, NETWORKS[job.task], budget.batch, scale, budget.changes())
    model.fit(
        replay(episodes),
        n_steps=budget.updates,
        n_steps_per_epoch=budget.updates,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    if pictures:
        return lambda shown: model.predict(np.moveaxis(shown, -1, 1))
    return model.predict  # type: ignore[no-any-return]


PACKAGES = {"cog": train_cog, "d3rlpy": train_d3rlpy}


def run(job: Job, budget: Budget, folder: Path) -> float:
    """Do a job and leave its figures in the folder; processor seconds that learning took."""
    torch.set_num_threads(1)
    task = TASKS[job.task]
    began = time.process_time()
    act = PACKAGES[job.package](job, budget, record(task))
    seconds = time.process_time() - began
    found = {"job": asdict(job), "budget": asdict(budget), "return": evaluate(act, task), "seconds": seconds}
    (folder / job.name).write_text(json_text(found))
    return seconds


def jobs(names: Sequence[str], tasks: Sequence[str], budgets: Mapping[str, Budget]) -> list[Job]:
    """All trainings, seed by seed, so that a result with few seeds is there early."""
    most = max(len(budgets[task].seeds) for task in tasks)
    return [
        Job(task, name, package, budgets[task].seeds[place])
        for place in range(most)
        for task in tasks
        for name in names
        if task != "dot" or name in PIXELS
        for package in PACKAGES
        if place < len(budgets[task].seeds)
    ]


def compare(
    names: Sequence[str],
    tasks: Sequence[str],
    budgets: Mapping[str, Budget],
    folder: Path,
    processes: int = 2,
) -> dict[str, Any]:
    """Do all jobs that are not done yet, and summarise; a file of another budget is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = jobs(names, tasks, budgets)
    waiting = [job for job in wanted if not (folder / job.name).exists()]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run, job, budgets[job.task], folder): job for job in waiting}
        for number, done in enumerate(as_completed(running), 1):
            print(f"{number}/{len(waiting)} {running[done].name} {done.result():.0f} s", flush=True)
    found = {}
    for job in wanted:
        read = json.loads((folder / job.name).read_text())
        asked = json.loads(json.dumps(asdict(budgets[job.task])))
        # A training is the same whichever other seeds are run.
        assert read["budget"] | {"seeds": asked["seeds"]} == asked, (job, read["budget"])
        found[job] = read
    return {task: table(task, budgets[task], found) for task in tasks}


def table(task: str, budget: Budget, found: Mapping[Job, Mapping[str, Any]]) -> dict[str, Any]:
    """The returns on one task: of the data, and of every algorithm in both packages."""
    data = summary([float(episode.rewards.sum()) for episode in record(TASKS[task])])
    del data["returns"]
    algorithms: dict[str, Any] = {}
    for name in dict.fromkeys(job.algorithm for job in found if job.task == task):
        both: dict[str, Any] = {}
        for package in PACKAGES:
            done = [found[Job(task, name, package, seed)] for seed in budget.seeds]
            milliseconds = [1000 * one["seconds"] / budget.updates for one in done]
            both[package] = summary([one["return"] for one in done]) | {
                "ms_per_update": round(float(np.median(milliseconds)), 2)
            }
        algorithms[name] = both | {"verdict": verdict(both["cog"], both["d3rlpy"])}
    return {"budget": asdict(budget), "behaviour": data, "algorithms": algorithms}


def verdict(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    """Whether cog's interval is "better", overlaps d3rlpy's ("equal"), or is "worse"."""
    if ours["low"] > theirs["high"]:
        return "better"
    return "worse" if ours["high"] < theirs["low"] else "equal"


def summary(returns: Sequence[float]) -> dict[str, Any]:
    """Figures, their mean, and Student's 95 % interval of that mean."""
    mean, error = float(np.mean(returns)), float(sem(returns)) if len(returns) > 1 else 0.0
    half = error * float(t.ppf(0.975, len(returns) - 1)) if error else 0.0
    rounded = [round(float(value), 3) for value in (*returns, mean, mean - half, mean + half)]
    return {"returns": rounded[:-3], "mean": rounded[-3], "low": rounded[-2], "high": rounded[-1]}


def main(arguments: Sequence[str]) -> None:
    """Compare, and write the figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=Path, required=True, help="folder for a file of each training")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--only", nargs="+", default=list(MATCHED), choices=list(MATCHED), help="algorithms")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS), help="tasks")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="training seeds")
    parser.add_argument("--updates", type=int, help="updates on every task, instead of each task's own")
    parser.add_argument("--batch", type=int, help="transitions in a batch on every task, likewise")
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time")
    parser.add_argument("--quick", action="store_true", help="20 updates and two seeds, as a smoke test")
    chosen = parser.parse_args(arguments)
    updates, seeds = (20, (0, 1)) if chosen.quick else (chosen.updates, tuple(chosen.seeds))
    changes = {"updates": updates, "batch": chosen.batch, "seeds": seeds}
    changes = {name: value for name, value in changes.items() if value is not None}
    budgets = {task: replace(BUDGETS[task], **changes) for task in chosen.tasks}
    result = compare(chosen.only, chosen.tasks, budgets, chosen.jobs, chosen.processes)
    chosen.out.write_text(json_text(result))


if __name__ == "__main__":
    main(sys.argv[1:])
