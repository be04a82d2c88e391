"""Row `pick_place`: pick the object up, then place it in the tray; prior data show clumsy grasps."""

from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.experiments.paper.recipes import numbers
from cog.experiments.paper.recipes.recipe import Cell, Recipe

ENV = "cog/PickPlace-v0"
HORIZON = 40  # steps, the paper's

PICK_PLACE = Recipe(
    name="pick_place",
    title="the object lies on the table",
    task=CollectionSpec(
        episodes=numbers.TASK_EPISODES["pick_place"],
        behaviours=(BehaviourChoice("place"),),
        starts=("held",),
        env=ENV,
        max_episode_steps=HORIZON,
        noise=numbers.NOISE,
    ),
    priors=(
        CollectionSpec(
            episodes=numbers.PRIOR_EPISODES["pick_place"],
            behaviours=(
                BehaviourChoice("grasp", round(1 - numbers.WANDER_SHARE, 6), {"suboptimal": True}),
                BehaviourChoice("wander", numbers.WANDER_SHARE),
            ),
            starts=("table",),
            env=ENV,
            max_episode_steps=HORIZON,
            noise=numbers.NOISE,
            keep="failure",
        ),
    ),
    sub_skill="grasp_success",
    cells=(
        Cell("table"),
        Cell("held"),
        Cell("table_shifted", extra=True),
        Cell("held_shifted", extra=True),
        Cell("table", ("objects=held_out",), extra=True),
    ),
    horizon=HORIZON,
    task_rule="placed",
)
