"""What others reported for these tasks, in their own simulator and under their own protocol."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """One line of the comparison."""

    method: str
    """What was trained."""
    task: str
    """On which starts."""
    success: str
    """What was reached."""
    source: str
    """Who reports it, and from what policies see."""


DRAWERS = "closed, blocked by a drawer, blocked by an object"
COG = "Singh et al. 2020, Table 1, from images"
MBRCSL = "Zhou et al. 2024, from the simulator's state"
TASKS = "pick and place / closed / blocked by a drawer"

REPORTED = (
    Reported("COG", DRAWERS, "68-78 %", COG),
    Reported("behaviour cloning on all data", DRAWERS, "22-34 %", COG),
    Reported("without prior data", DRAWERS, "0 %", COG),
    Reported("SAC", DRAWERS, "0 % (diverged)", COG),
    Reported("MBRCSL", TASKS, "48 / 51 / 68 %", MBRCSL),
    Reported("diffusion policy, behaviour cloning", TASKS, "7 / 38 / 61 %", MBRCSL),
)

CAUTION = (
    "These are their figures, from another simulator (the same arm, other scenes and meshes) with other data "
    "and other numbers of episodes: what to expect, not who is better."
)
