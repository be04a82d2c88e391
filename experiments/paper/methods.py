"""The arms of the paper's table: each one algorithm on one choice of data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cog.algorithms import algorithm
from cog.core.configs import from_json, to_json
from cog.core.figures import COLOURS
from cog.evaluation.config import Acting
from cog.experiments.paper.recipes import numbers
from cog.experiments.paper.recipes.recipe import Observation, Recipe
from cog.training.config import TrainConfig
from cog.training.presets import Preset, preset

Choice = Literal["both", "task_only", "oracle"]
LOG_LINES = 100  # points of a learning curve


@dataclass(frozen=True)
class Arm:
    """One arm."""

    name: str
    """Name of the arm."""
    title: str
    """What it is, for people."""
    label: str
    """The same in a few words, for pictures."""
    algorithm: str
    """What is learned, a name of `cog.algorithms.ALGORITHMS`."""
    data: Choice
    """Task and prior data, task data alone, or only the episodes of both that were done well."""
    colour: str
    """Colour in pictures."""
    preset: Preset = "cpu"
    """Settings to start from."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Changes of these settings, fields of `TrainConfig`."""
    acting: Acting | None = None
    """How its policy acts in evaluation; none is as the recipe says."""


ARMS: Mapping[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            "cog",
            "COG: CQL on task and prior data",
            "COG: task + prior data",
            "cql",
            "both",
            COLOURS["green"],
        ),
        Arm(
            "cql_task_only",
            "CQL on task data only",
            "CQL: task data only",
            "cql",
            "task_only",
            COLOURS["red"],
        ),
        Arm(
            "bc_task_only",
            "behaviour cloning on task data only",
            "BC: task data only",
            "bc",
            "task_only",
            COLOURS["blue"],
        ),
        Arm(
            "bc_all",
            "behaviour cloning on task and prior data",
            "BC: task + prior data",
            "bc",
            "both",
            COLOURS["violet"],
        ),
        Arm(
            "bc_oracle",
            "behaviour cloning on the episodes of both that succeed",
            "BC: successes of both",
            "bc",
            "oracle",
            COLOURS["ochre"],
        ),
        Arm(
            "sac",
            "SAC on task and prior data",
            "SAC: task + prior data",
            "sac",
            "both",
            COLOURS["grey"],
        ),
        Arm(
            "cog_reference",
            "COG with the paper's network and settings, on the same data with the same rewards",
            "COG: the paper's network",
            "cql",
            "both",
            COLOURS["sky"],
            preset="paper",
            acting="mode",
        ),
    )
}
"""Every arm by name, in the order of the table; without `acting`, the row says how each algorithm acts."""


def training(
    recipe: Recipe, arm: Arm, observation: Observation, seed: int, updates: int | None, device: str
) -> TrainConfig:
    """The settings of one run; one thread, so that runs stand side by side; data and folder are set later.

    Raises:
        UsageError: the recipe or the arm changes a field that does not exist or to a value of another type.
    """
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
