"""What the demo runs: two collections, four arms, their evaluations, and the commands that do the same."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cog.core.files import code_version
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.evaluation.config import Acting, EvaluateConfig
from cog.experiments.command_line import number
from cog.experiments.demo.config import DemoConfig
from cog.experiments.paper.recipes import numbers
from cog.training.checkpoint import identity as training_identity
from cog.training.config import TrainConfig
from cog.training.presets import preset

STARTS = ("open", "closed")
ACTING: Mapping[str, Acting] = {"cql": "mode", "bc": "sample"}
"""How policies act in evaluation, as the reference lets them: by their mode, and clones by draws."""
ARMS: Mapping[str, tuple[str, str, str]] = {
    "cog": ("cql", "both", "CQL on task and prior data"),
    "cql_task_only": ("cql", "task_only", "CQL on task data only"),
    "bc_all": ("bc", "both", "behaviour cloning on task and prior data"),
    "bc_task_only": ("bc", "task_only", "behaviour cloning on task data only"),
}
"""Algorithm, merge and description of each arm; the longest runs come first."""

TASK_VIEW, PRIOR_VIEW = "success", "zero"
TASK_RULE, PRIOR_RULE = "grasp_success", "zero"
LOG_LINES = 100  # points of a learning curve
QUICK_BATCH = 16


def task_spec(config: DemoConfig) -> CollectionSpec:
    """Task data: grasps, always from open starts."""
    return CollectionSpec(
        episodes=config.task_episodes,
        behaviours=(BehaviourChoice("grasp", 1.0, {"aim_error": config.aim_error}),),
        starts=("open",),
        noise=config.noise,
        seed=2 * config.seed,
    )


def prior_spec(config: DemoConfig) -> CollectionSpec:
    """Prior data: clumsy openings and wandering, always from closed starts, never a success of the task."""
    opening = BehaviourChoice("open_drawer", round(1 - config.wander, 6), {"suboptimal": True})
    return CollectionSpec(
        episodes=config.prior_episodes,
        behaviours=(opening, BehaviourChoice("wander", config.wander)),
        starts=("closed",),
        noise=config.noise,
        keep="failure",
        seed=2 * config.seed + 1,
    )


def training(config: DemoConfig, arm: str) -> TrainConfig:
    """One arm: the `cpu` preset and switches; one thread, so that arms run side by side."""
    algorithm, data, _ = ARMS[arm]
    base = preset("cpu", config.out / "data" / f"{data}.json", config.out / "arms" / arm, algorithm)
    return replace(
        base,
        seed=config.seed,
        updates=config.updates,
        batch_size=QUICK_BATCH if config.quick else base.batch_size,
        log_every=max(1, config.updates // LOG_LINES),
        precision=config.precision,
        threads=1,
        network=replace(base.network, **numbers.SWITCHES["network"]),
    )


def evaluation(config: DemoConfig, arm: str) -> EvaluateConfig:
    """Both starts on the same episode seeds for every arm."""
    return EvaluateConfig(
        checkpoint=config.out / "arms" / arm,
        out=config.out / "evaluation" / arm,
        starts=STARTS,
        episodes=config.episodes,
        seed=config.seed,
        acting=ACTING[ARMS[arm][0]],
        workers=1 if config.quick else config.workers,  # few episodes are over before a process has started
        videos=0 if config.quick and arm != "cog" else None,
    )


def identity(config: DemoConfig) -> dict[str, Any]:
    """Everything that decides the numbers, to tell one demo from another."""
    return {
        "quick": config.quick,
        "task": task_spec(config).to_json(),
        "prior": prior_spec(config).to_json(),
        "reward": config.reward,
        "task_share": config.task_share,
        "arms": {arm: training_identity(training(config, arm)) for arm in ARMS},
        "evaluation": {"episodes": config.episodes, "seed": config.seed, "starts": list(STARTS)},
        "code_version": code_version(),
    }


def commands(config: DemoConfig) -> list[str]:
    """The `cog` commands that give the same data, policies and evaluations, one by one."""
    data = config.out / "data"
    task, prior, both, task_only = (
        quoted(data / name) for name in ("task", "prior", "both.json", "task_only.json")
    )
    lines = [
        _collect(task_spec(config), task),
        _collect(prior_spec(config), prior),
        f"cog relabel {task} --rule {TASK_RULE} --name {TASK_VIEW} --scale {number(config.reward)}",
        f"cog relabel {prior} --rule {PRIOR_RULE} --name {PRIOR_VIEW}",
        f"cog merge --out {both} --task {task}@{TASK_VIEW} --prior {prior}@{PRIOR_VIEW} "
        f"--task-share {number(config.task_share)}",
        f"cog merge --out {task_only} --task {task}@{TASK_VIEW}",
    ]
    for arm in ARMS:
        run = training(config, arm)
        lines.append(
            f"cog train --data {quoted(run.data)} --out {quoted(run.out)} --algorithm {run.algorithm.name} "
            f"--seed {run.seed} --updates {run.updates} --batch-size {run.batch_size} "
            f"--log-every {run.log_every} --threads 1 --precision {run.precision} "
            f"--network.switches {run.network.switches}"
        )
    for arm in ARMS:
        asked = evaluation(config, arm)
        lines.append(
            f"cog evaluate --checkpoint {quoted(asked.checkpoint)} --out {quoted(asked.out)} "
            f"--starts {' '.join(STARTS)} --episodes {asked.episodes} --seed {asked.seed} "
            f"--acting {asked.acting}"
        )
    return lines


def quoted(path: Path) -> str:
    """A path as a shell reads it back."""
    return shlex.quote(str(path))


def _collect(spec: CollectionSpec, out: str) -> str:
    """The command that collects a spec."""
    behaviours = " ".join(
        f"{choice.name}={number(choice.weight)}"
        + (":" if choice.options else "")
        + ",".join(f"{name}={json.dumps(value)}" for name, value in choice.options.items())
        for choice in spec.behaviours
    )
    return (
        f"cog collect --out {out} --start {' '.join(spec.starts)} --behaviour {behaviours} "
        f"--episodes {spec.episodes} --noise {number(spec.noise)} --keep {spec.keep} --seed {spec.seed}"
    )
