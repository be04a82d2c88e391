"""What the three drawer rows have in common: the scene, the task data and the cells."""

from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.experiments.paper.recipes import numbers
from cog.experiments.paper.recipes.recipe import Cell, Recipe

ENV = "cog/DoubleDrawer-v0"
LONGEST = 80  # steps of a collected episode


def drawer_row(start: str, behaviour: str, title: str, horizon: int) -> Recipe:
    """The row of a start, whose prior data show a clumsy `behaviour` that gets the drawer open.

    Task data are grasps from a drawer that is open already. `horizon` is the paper's number of steps of an
    evaluation episode.
    """
    task = CollectionSpec(
        episodes=numbers.TASK_EPISODES[start],
        behaviours=(BehaviourChoice("grasp", 1.0, {"aim_error": numbers.AIM_ERROR}),),
        starts=("open",),
        env=ENV,
        max_episode_steps=LONGEST,
        noise=numbers.NOISE,
    )
    prior = CollectionSpec(
        episodes=numbers.PRIOR_EPISODES[start],
        behaviours=(
            BehaviourChoice(behaviour, round(1 - numbers.WANDER_SHARE, 6), {"suboptimal": True}),
            BehaviourChoice("wander", numbers.WANDER_SHARE),
        ),
        starts=(start,),
        env=ENV,
        max_episode_steps=LONGEST,
        noise=numbers.NOISE,
        keep="failure",
    )
    return Recipe(
        name=start,
        title=title,
        task=task,
        priors=(prior,),
        sub_skill="drawer_opened",
        cells=(
            Cell(start),
            Cell("open"),
            Cell(f"{start}_shifted", extra=True),
            Cell("open_shifted", extra=True),
            Cell(start, ("objects=held_out",), extra=True),
        ),
        horizon=horizon,
        acting=numbers.WAVERING,
        settings={"image": numbers.DRAWERS, "state": numbers.STATE},
    )
