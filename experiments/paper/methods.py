"""What an arm trains with and how its policy acts in a row: the recipe's settings with the arm's changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cog.algorithms import algorithm
from cog.core.configs import from_json, to_json
from cog.errors import UsageError
from cog.evaluation.config import Acting
from cog.experiments.paper.arms import Arm
from cog.experiments.paper.recipes import numbers
from cog.experiments.paper.recipes.recipe import Observation, Recipe
from cog.training.config import TrainConfig
from cog.training.presets import preset

LOG_LINES = 100  # points of a learning curve


def training(
    recipe: Recipe, arm: Arm, observation: Observation, seed: int, updates: int | None, device: str
) -> TrainConfig:
    """The settings of one run; one thread, so that runs stand side by side; data and folder are set later.

    Raises:
        UsageError: the recipe or the arm changes a field that does not exist or to a value of another type,
            or the algorithm does not learn from images.
    """
    if observation == "image" and not algorithm(arm.algorithm).sees_images:
        raise UsageError(f"arm {arm.name} learns from states alone", remedy="add --observation state")
    base = preset(arm.preset, Path(), Path(), arm.algorithm)
    changes = recipe.reference if arm.preset == "paper" else recipe.settings[observation]
    if arm.preset == "paper" and device.startswith("cuda"):
        changes = {**changes, **numbers.REFERENCE_ON_CUDA}
    values = _changed(_changed(to_json(base), changes), arm.changes)
    values |= {"seed": seed, "device": device, "threads": 1}
    if updates is not None:
        values["updates"] = updates
    values["log_every"] = max(1, values["updates"] // LOG_LINES)
    config: TrainConfig = from_json(values, TrainConfig, where=f"recipe {recipe.name}, arm {arm.name}")
    return config


def acting(recipe: Recipe, arm: Arm) -> Acting:
    """How the policy of an arm acts in the evaluations of a row."""
    clone = algorithm(arm.algorithm).choosing_critics is None
    return arm.acting or recipe.acting["clone" if clone else "critics"]


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the changes in place, group by group."""
    result = dict(values)
    for name, value in changes.items():
        group = result.get(name)
        result[name] = _changed(group, value) if isinstance(group, Mapping) else value
    return result
