"""Evaluation speed: episodes a second of `cog.evaluation` from closed drawers, by an untrained policy.

Such a policy never succeeds, so every episode lasts until the horizon: the worst case. What is timed is the
whole call: the start of the processes, the episodes, one film and the contact sheet. A second figure is the
episodes alone, from the moment when every worker has finished its first group, as a ratio to the mesh
robot's loop in as many processes.
"""

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

from cog.core.workers import cores
from cog.envs import DRAWER_GRASP
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.experiments.bench.collect import mesh_figure, mesh_robot, mesh_seconds
from cog.experiments.bench.config import BenchConfig
from cog.experiments.bench.figures import Figure
from cog.experiments.bench.update import FRAMES, synthetic
from cog.training.presets import preset
from cog.training.train import train

START = "closed"


def measure_evaluation(config: BenchConfig) -> list[Figure]:
    """The section `evaluation`."""
    workers = config.workers or cores()
    number = config.evaluation_episodes
    standard = EvaluateConfig(checkpoint=Path(), out=Path())
    rows = min(standard.envs_per_worker, max(1, number // (2 * workers)))
    with mesh_robot(workers, mesh_seconds(config)) as mesh_rate, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        before = mesh_rate()
        settings = dataclasses.replace(
            standard,
            checkpoint=untrained_policy(folder / "run", config.seed),
            out=folder / "evaluation",
            env=DRAWER_GRASP,
            starts=(START,),
            episodes=number,
            max_episode_steps=config.horizon,
            workers=workers,
            envs_per_worker=rows,
        )
        finished: list[tuple[float, int]] = []
        began = time.perf_counter()
        result = evaluate(settings, lambda done, _note: finished.append((time.perf_counter(), done)))
        whole = time.perf_counter() - began
        beside = statistics.mean([before, mesh_rate()])
    first = finished[min(workers, len(finished) - 1) - 1]  # one entry a group
    (outcome,) = result.results
    steps = outcome.mean_steps * (number - first[1]) / (finished[-1][0] - first[0])
    what = f"{number} episodes from {START}, untrained policy, {outcome.mean_steps:.3g} steps each"
    return [
        Figure("evaluation", f"{what}: all included", number / whole, "episodes/s"),
        Figure("evaluation", f"{what}: all included", whole, "s"),
        mesh_figure("evaluation", f"{what}: episodes alone, {workers} workers", steps, beside),
    ]


def untrained_policy(out: Path, seed: int) -> Path:
    """A checkpoint of the `cpu` preset after one update on noise."""
    config = preset("cpu", data=out.parent, out=out)
    return train(dataclasses.replace(config, updates=1, seed=seed), synthetic(FRAMES, seed))
