"""A row of the table on the toy scene, small enough for tests: reach the right end from the left, unseen."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.experiments.paper.config import ReproduceConfig
from cog.experiments.paper.recipes.recipe import Cell, Recipe

ENV = "tests.helpers.toy_scene:toy/Line-v0"
HORIZON = 10
SMALL = {
    "updates": 6,
    "batch_size": 8,
    "checkpoint_every": 2,
    "network": {
        "bottleneck": 8,
        "proprio_features": 4,
        "critic_widths": [16],
        "actor_widths": [16],
    },
}


def arrived(episode: Any) -> np.ndarray:
    """Reward at the right end."""
    return np.asarray(episode.signals["place"] > 0.9)[1:].astype(np.float32)


def halfway(episode: Any) -> np.ndarray:
    """Past the middle."""
    return np.asarray(episode.signals["place"] > 0.5)[1:].astype(np.float32)


def _spec(start: str, *behaviours: BehaviourChoice) -> CollectionSpec:
    return CollectionSpec(
        episodes=6,
        behaviours=behaviours,
        starts=(start,),
        env=ENV,
        image_size=16,
        max_episode_steps=HORIZON,
        noise=0.3,
        episodes_per_shard=3,
    )


TOY = Recipe(
    name="toy",
    title="the point starts at the left",
    task=_spec("middle", BehaviourChoice("reach", 1.0, {"speed": 0.8})),
    priors=(
        _spec(
            "left",
            BehaviourChoice("reach", 0.75, {"speed": 0.2}),
            BehaviourChoice("reach", 0.25, {"speed": 0.1}),
        ),
    ),
    sub_skill="tests.helpers.toy_recipe:halfway",
    cells=(Cell("left"), Cell("middle", extra=True)),
    horizon=HORIZON,
    task_rule="tests.helpers.toy_recipe:arrived",
    settings={"image": SMALL, "state": SMALL},
    reference=SMALL,
)


def toy_config(out: Path, **changes: Any) -> ReproduceConfig:
    """A command that is over in a second."""
    standard = ReproduceConfig(arms=("cog", "bc_all"), seeds=(0,), episodes=3, out=out, workers=1)
    return dataclasses.replace(standard, **changes)


def again(recipe: Recipe, **changes: Any) -> Sequence[Recipe]:
    """The recipe with changes, as `reproduce` takes it."""
    return [dataclasses.replace(recipe, **changes)]
