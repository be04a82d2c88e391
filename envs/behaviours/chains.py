"""Chains: behaviours in sequence, which collect the prior data of the paper's harder starts."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.carry import GraspBlocker, Place, PlaceBlocker
from cog.envs.behaviours.close_drawer import CloseTopDrawer
from cog.envs.behaviours.grasp import Grasp
from cog.envs.behaviours.open_drawer import HastyOpenDrawer, OpenDrawer

if TYPE_CHECKING:
    from cog.envs.tabletop import Tabletop


class Chain(Behaviour):
    """Behaviours in sequence; each starts when the previous one has finished."""

    links: ClassVar[tuple[type[Behaviour], ...]]
    """The behaviours."""
    phases = ("as its links",)

    def __init__(
        self, env: "Tabletop", rng: np.random.Generator, suboptimal: bool = False, hold: int = 0
    ) -> None:
        """A chain for `env`.

        `suboptimal`: every link is its clumsy version, and the chain ends with the first that fails.
        `hold`: steps for which the last link holds what it has achieved.
        """
        super().__init__(env, rng, hold)
        self._suboptimal = suboptimal
        self._number = 0
        self._link = self._begin()

    def act(self) -> np.ndarray:
        if self._link.done:
            self._number += 1
            self._link = self._begin()
        action = self._link.act()
        self.phase, self.recoveries = self._link.phase, self._link.recoveries
        last = self._number == len(self.links) - 1
        self.done = self._link.done and (last or (self._suboptimal and not self._link.achieved()))
        return action

    def _begin(self) -> Behaviour:
        last = self._number == len(self.links) - 1
        options: dict[str, Any] = {"suboptimal": self._suboptimal}
        if last and self.hold:  # links of one's own need not know of it otherwise
            options["hold"] = self.hold
        return self.links[self._number](self.env, self.rng, **options)


class PickAndPlace(Chain):
    """Grasp the object and set it down in the tray."""

    links = (Grasp, Place)


class CloseThenOpen(Chain):
    """Push the upper drawer shut, then open the lower one."""

    links = (CloseTopDrawer, OpenDrawer)


class MoveBlocker(Chain):
    """Take the arch off the handle to the tray."""

    links = (GraspBlocker, PlaceBlocker)


class MoveBlockerThenOpen(Chain):
    """Take the arch to the tray, then open the lower drawer."""

    links = (GraspBlocker, PlaceBlocker, HastyOpenDrawer)
