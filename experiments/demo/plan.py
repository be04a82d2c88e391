"""What the demo runs: a recipe, its jobs in folders with plain names, and the commands that do the same."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cog.core.configs import identity as identity_of
from cog.core.files import code_version
from cog.core.options import option_texts
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.evaluation.config import EvaluateConfig
from cog.experiments.command_line import number
from cog.experiments.demo.config import DemoConfig
from cog.experiments.jobs.kinds import Collect, Evaluate, Merge, Relabel, Train
from cog.experiments.paper.arms import ARMS
from cog.experiments.paper.methods import acting, training
from cog.experiments.paper.recipes import numbers
from cog.experiments.paper.recipes.changes import holding, in_version, with_wrist
from cog.experiments.paper.recipes.recipe import Cell, Recipe

SHOWN = ("cog", "cql_task_only", "bc_all", "bc_task_only")
"""The demo's arms, in the order of its table."""
STARTS = ("open", "closed")
TASK_VIEW, PRIOR_VIEW, PRIOR_RULE = "success", "zero", "zero"
QUICK_BATCH = 16


def recipe(config: DemoConfig) -> Recipe:
    """Task data are grasps from open starts; prior data clumsy openings and wandering from closed ones."""
    opening = BehaviourChoice("open_drawer", round(1 - config.wander, 6), {"suboptimal": True})
    task = CollectionSpec(
        episodes=config.task_episodes,
        behaviours=(BehaviourChoice("grasp", 1.0, {"aim_error": config.aim_error}),),
        starts=("open",),
        noise=config.noise,
    )
    prior = CollectionSpec(
        episodes=config.prior_episodes,
        behaviours=(opening, BehaviourChoice("wander", config.wander)),
        starts=("closed",),
        noise=config.noise,
        keep="failure",
    )
    settings = {**numbers.IMAGE, "updates": config.updates, "precision": config.precision}
    if config.quick:
        settings["batch_size"] = QUICK_BATCH
    row = Recipe(
        name="demo",
        title="the drawer is closed",
        task=task,
        priors=(prior,),
        sub_skill="drawer_opened",
        cells=tuple(map(Cell, STARTS)),
        horizon=task.max_episode_steps,
        reward=config.reward,
        prior_share=1 - config.task_share,
        acting=numbers.WAVERING if config.hold else numbers.DRAWN,
        settings={"image": settings},
        seeds_apart=2,
    )
    row = in_version(with_wrist(row) if config.wrist else row, config.version)
    return holding(row) if config.hold else row


def jobs(config: DemoConfig) -> dict[str, Evaluate]:
    """The job that gives each arm's numbers, with all it needs."""
    root, row = config.out, recipe(config)
    task_spec, (prior_spec,) = row.collections(config.seed, "image")
    task = Relabel(root, Collect(root, task_spec, at="data/task"), row.task_rule, row.reward, view=TASK_VIEW)
    prior = Relabel(root, Collect(root, prior_spec, at="data/prior"), PRIOR_RULE, view=PRIOR_VIEW)
    merges = {
        "both": Merge(root, task, (prior,), task_share=config.task_share, at="data/both.json"),
        "task_only": Merge(root, task, at="data/task_only.json"),
    }
    found = {}
    for name in SHOWN:
        arm = ARMS[name]
        settings = training(row, arm, "image", config.seed, None, "cpu")
        run = Train(root, merges[arm.data], settings, at=f"arms/{name}")
        evaluation = EvaluateConfig(
            checkpoint=Path(),
            out=Path(),
            starts=STARTS,
            episodes=config.episodes,
            seed=config.seed,
            acting=acting(row, arm),
            candidates=row.candidates,
            max_episode_steps=row.horizon,
            terminate_on_success=not config.hold,
            workers=1,
            videos=0 if config.quick and name != "cog" else None,
        )
        found[name] = Evaluate(root, run, evaluation, at=f"evaluation/{name}")
    return found


def identity(config: DemoConfig) -> dict[str, Any]:
    """Everything that decides the numbers, to tell one demo from another."""
    return {**identity_of(config), "code_version": code_version()}


def commands(config: DemoConfig, found: Mapping[str, Evaluate]) -> list[str]:
    """The `cog` commands that give the same data, policies and evaluations as these jobs, one by one."""
    merges = {evaluation.run.merge.file: evaluation.run.merge for evaluation in found.values()}
    views = {view.source: view for merge in merges.values() for view in (merge.task, *merge.priors)}
    lines = [_collect(view.data) for view in views.values()]
    lines += [_relabel(view) for view in views.values()]
    lines += [_merge(merge, config.task_share) for merge in merges.values()]
    lines += [_train(evaluation.run) for evaluation in found.values()]
    lines += [_evaluate(evaluation) for evaluation in found.values()]
    return lines


def quoted(path: Path | str) -> str:
    """A path as a shell reads it back."""
    return shlex.quote(str(path))


def _collect(job: Collect) -> str:
    spec = job.spec
    behaviours = " ".join(
        f"{choice.name}={number(choice.weight)}"
        + (":" if choice.options else "")
        + ",".join(f"{name}={json.dumps(value)}" for name, value in choice.options.items())
        for choice in spec.behaviours
    )
    options = ["--env-options", *option_texts(spec.env_options)] if spec.env_options else []
    if not spec.terminate_on_success:
        options += ["--no-terminate-on-success", "--max-steps", str(spec.max_episode_steps)]
    return (
        f"cog collect --out {quoted(job.folder)} --env {spec.env} --start {' '.join(spec.starts)} "
        f"--behaviour {behaviours} --episodes {spec.episodes} --noise {number(spec.noise)} "
        f"--keep {spec.keep} --seed {spec.seed} {' '.join(options)}"
    ).rstrip()


def _relabel(job: Relabel) -> str:
    scale = "" if job.scale == 1.0 else f" --scale {number(job.scale)}"
    return f"cog relabel {quoted(job.data.folder)} --rule {quoted(job.rule)} --name {job.view_name}{scale}"


def _merge(job: Merge, task_share: float) -> str:
    prior = "".join(f" --prior {quoted(view.source)}" for view in job.priors)
    share = f" --task-share {number(task_share)}" if job.priors else ""
    return f"cog merge --out {quoted(job.file)} --task {quoted(job.task.source)}{prior}{share}"


def _train(job: Train) -> str:
    run = job.config
    return (
        f"cog train --data {quoted(run.data)} --out {quoted(run.out)} --algorithm {run.algorithm.name} "
        f"--seed {run.seed} --updates {run.updates} --batch-size {run.batch_size} "
        f"--log-every {run.log_every} --threads 1 --precision {run.precision} "
        f"--network.switches {run.network.switches}"
    )


def _evaluate(job: Evaluate) -> str:
    asked = job.config
    return (
        f"cog evaluate --checkpoint {quoted(asked.checkpoint)} --out {quoted(asked.out)} "
        f"--starts {' '.join(asked.starts)} --episodes {asked.episodes} --seed {asked.seed} "
        f"--acting {asked.acting} --candidates {asked.candidates} "
        f"--max-episode-steps {asked.max_episode_steps}"
        + ("" if asked.terminate_on_success else " --no-terminate-on-success")
    )
