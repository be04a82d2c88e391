"""Row `blocked_object`: move the object before the drawer away, open the drawer, then grasp."""

from cog.experiments.paper.recipes.drawers import drawer_row

BLOCKED_OBJECT = drawer_row(
    "blocked_object",
    "move_blocker_then_open",
    "the drawer is closed and an object stands in the way",
    horizon=80,
)
