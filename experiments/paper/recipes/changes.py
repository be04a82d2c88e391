"""Recipes changed in one respect: the scene's version, the camera at the wrist, task data that hold."""

import dataclasses
from collections.abc import Callable

from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.experiments.paper.recipes.recipe import Recipe

HOLD = 12
"""Steps that task episodes go on after their success."""
LASTING = 6
"""Of these, the steps after which they are rewarded."""


def in_version(recipe: Recipe, version: int) -> Recipe:
    """The recipe in another version of its scene."""

    def change(spec: CollectionSpec) -> CollectionSpec:
        scene, _, _ = spec.env.rpartition("-v")
        return dataclasses.replace(spec, env=f"{scene}-v{version}")

    return _collected(recipe, change)


def with_wrist(recipe: Recipe) -> Recipe:
    """The recipe with the scene seen by the camera at the wrist as well, in all data and evaluations."""

    def change(spec: CollectionSpec) -> CollectionSpec:
        return dataclasses.replace(spec, env_options={**spec.env_options, "wrist": True})

    return _collected(recipe, change)


def holding(recipe: Recipe) -> Recipe:
    """The recipe with task data that go on after their success and hold it, rewarded once it has lasted."""
    choices = tuple(
        BehaviourChoice(choice.name, choice.weight, {**choice.options, "hold": HOLD})
        for choice in recipe.task.behaviours
    )
    longest = recipe.task.max_episode_steps + HOLD
    task = dataclasses.replace(
        recipe.task, behaviours=choices, terminate_on_success=False, max_episode_steps=longest
    )
    return dataclasses.replace(recipe, task=task, task_rule=f"held({recipe.task_rule}, {LASTING})")


def _collected(recipe: Recipe, change: Callable[[CollectionSpec], CollectionSpec]) -> Recipe:
    """The recipe with a change of all its collections."""
    task, *priors = (change(spec) for spec in (recipe.task, *recipe.priors))
    return dataclasses.replace(recipe, task=task, priors=tuple(priors))
