"""Row `closed`: open the drawer, then grasp; prior data show clumsy openings."""

from cog.experiments.paper.recipes.drawers import drawer_row

CLOSED = drawer_row("closed", "open_drawer", "the drawer is closed", horizon=50)
