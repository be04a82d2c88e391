"""Row `blocked_drawer`: shut the upper drawer, open the lower one, then grasp."""

from cog.experiments.paper.recipes.drawers import drawer_row

BLOCKED_DRAWER = drawer_row(
    "blocked_drawer",
    "close_then_open",
    "the drawer is closed and the one above it stands in the way",
    horizon=80,
)
