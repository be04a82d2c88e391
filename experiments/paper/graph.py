"""From recipes, arms and seeds to jobs: what is collected, trained and evaluated, each piece once."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from cog.core.options import option_texts
from cog.evaluation.config import EvaluateConfig
from cog.experiments.jobs.job import Job, ordered
from cog.experiments.jobs.kinds import Collect, Count, Evaluate, Merge, Relabel, Train
from cog.experiments.paper.arms import ARMS, Arm
from cog.experiments.paper.config import ReproduceConfig
from cog.experiments.paper.methods import acting, training
from cog.experiments.paper.recipes.recipe import Cell, Recipe

ZERO = "zero"  # the reward rule of prior data
EXPERT = "to_go(first({} > 0), 1)"  # 1 on every step up to the first success, if there is one


@dataclass(frozen=True)
class Entry:
    """One number of the table: an arm of one seed, tried on one cell of a row."""

    recipe: Recipe
    """The row."""
    arm: Arm
    """The arm."""
    seed: int
    """The seed."""
    cell: Cell
    """The cell."""
    evaluation: Evaluate
    """The job that gives the number."""


@dataclass(frozen=True)
class Sources:
    """The data of one row and seed."""

    recipe: Recipe
    """The row."""
    seed: int
    """The seed."""
    task: Relabel
    """Task data with their rewards."""
    priors: tuple[Relabel, ...]
    """Prior data without."""
    oracle: tuple[Relabel, ...]
    """Task and prior data that were done well."""
    expert: Relabel
    """Task data with 1 on every step of the episodes that solve the task, as RISE labels them."""
    good: tuple[Count, ...]
    """How many episodes of task and prior data were done well."""


@dataclass(frozen=True)
class Graph:
    """All that a command does."""

    entries: tuple[Entry, ...]
    """The numbers, in the order of the table."""
    sources: tuple[Sources, ...]
    """The data, one entry a row and seed."""
    jobs: tuple[Job, ...]
    """Every job once, needs first."""


def build(recipes: Sequence[Recipe], config: ReproduceConfig) -> Graph:
    """The graph of all rows, arms and seeds.

    Raises:
        UsageError: a recipe or arm has settings that do not exist.
    """
    entries: list[Entry] = []
    every: list[Sources] = []
    for recipe in recipes:
        for seed in config.seeds:
            sources = _sources(recipe, seed, config)
            every.append(sources)
            for name in config.chosen_arms:
                arm = ARMS[name]
                settings = training(recipe, arm, config.observation, seed, config.updates, config.device)
                run = Train(config.out, _merge(sources, arm, config), settings)
                entries += [
                    Entry(recipe, arm, seed, cell, _evaluation(recipe, arm, run, cell, config))
                    for cell in recipe.cells
                    if config.extra_cells or not cell.extra
                ]
    first: dict[str, Evaluate] = {}
    for entry in entries:
        first.setdefault(entry.evaluation.hash, entry.evaluation)
    entries = [dataclasses.replace(entry, evaluation=first[entry.evaluation.hash]) for entry in entries]
    # The results tell of all data of a row, whichever of them its arms learn from.
    told = [job for sources in every for job in (*sources.good, sources.task, *sources.priors)]
    return Graph(tuple(entries), tuple(every), tuple(ordered([*told, *first.values()])))


def _sources(recipe: Recipe, seed: int, config: ReproduceConfig) -> Sources:
    """The views of a row's data."""
    task, priors = recipe.collections(seed, config.observation, config.scale)
    task_data = Collect(config.out, task)
    prior_data = [Collect(config.out, spec) for spec in priors]
    rewarded = Relabel(config.out, task_data, recipe.task_rule, recipe.reward)
    good = dataclasses.replace(rewarded, only=recipe.task_rule)
    return Sources(
        recipe,
        seed,
        rewarded,
        tuple(Relabel(config.out, data, ZERO, only=recipe.prior_only) for data in prior_data),
        (good, *(Relabel(config.out, data, ZERO, only=recipe.sub_skill) for data in prior_data)),
        Relabel(config.out, task_data, EXPERT.format(recipe.task_rule), terminate=False),
        (
            Count(config.out, task_data, recipe.task_rule),
            *(Count(config.out, data, recipe.sub_skill) for data in prior_data),
        ),
    )


def _merge(sources: Sources, arm: Arm, config: ReproduceConfig) -> Merge:
    """What an arm learns from."""
    share = sources.recipe.prior_share
    task = sources.expert if arm.labels == "expert" else sources.task
    if arm.data == "task_only":
        return Merge(config.out, task)
    if arm.data == "both":
        return Merge(config.out, task, sources.priors, share)
    return Merge(config.out, sources.oracle[0], sources.oracle[1:], share)


def _evaluation(recipe: Recipe, arm: Arm, run: Train, cell: Cell, config: ReproduceConfig) -> Evaluate:
    """How a run is tried on a cell; the columns that the paper has are also filmed."""
    way = acting(recipe, arm)
    settings = EvaluateConfig(
        checkpoint=config.out,
        out=config.out,
        starts=(cell.start,),
        episodes=config.episodes,
        seed=run.settings.seed,
        env=recipe.task.env,
        env_options=(*option_texts(recipe.task.env_options), *cell.env_options),
        max_episode_steps=recipe.horizon,
        terminate_on_success=config.terminate_on_success,
        workers=1,
        acting=way,
        candidates=recipe.candidates if way == "critic" else EvaluateConfig.candidates,
        videos=0 if cell.extra else None,
    )
    return Evaluate(config.out, run, settings)
