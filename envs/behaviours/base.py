"""A behaviour: a scripted closed-loop policy in numbered phases that detects failures and recovers.

Its last phase returns to neutral. With `hold` it goes on for so many steps, as long as what it has achieved
stands: it keeps what it has grasped, or stays clear of what it has placed or moved. For this the last phase
of a skill returns `finish(gripper)`, and `stands` says whether the success stands.

A scene names its behaviours, so behaviours import scenes for their types only.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cog.envs import scene
from cog.errors import UsageError

if TYPE_CHECKING:
    from cog.envs.tabletop import Tabletop

OPEN, CLOSE = 0.7, -0.7  # gripper commands, beyond the threshold even with noise
STAY, RETURN = -0.7, 0.7  # neutral commands
APPROACH_GAIN = 0.9  # share of the remaining distance commanded in one step


class Behaviour(ABC):
    """One skill: `phases` names its phases, `phase` is the current one, `done` says that it has finished."""

    phases: ClassVar[tuple[str, ...]]
    carries: ClassVar[bool] = False
    """Whether it holds something, which a quick return to neutral may throw: then it holds where it is."""

    def __init__(self, env: "Tabletop", rng: np.random.Generator, hold: int = 0) -> None:
        """`hold`: steps that it goes on for after it has succeeded; only then it is done.

        Raises:
            UsageError: `hold` is no number of steps.
        """
        if isinstance(hold, bool) or not isinstance(hold, int) or hold < 0:
            raise UsageError(f"hold is {hold!r}", remedy="give a whole number of steps, at least 0")
        self.env = env
        self.rng = rng
        self.hold = hold
        self.phase = 0
        self.steps = 0  # within the phase, or without progress in it
        self.done = False
        self.recoveries = 0
        self._rest: np.ndarray = np.zeros(3)  # where it stays while it holds

    @abstractmethod
    def act(self) -> np.ndarray:
        """The next action (8,) float32 without noise, from the simulator's state."""

    def achieved(self) -> bool:
        """Whether the behaviour has achieved its goal, as far as it can tell."""
        return True

    def stands(self) -> bool:
        """Whether what it has achieved still stands, so that it may be held."""
        return self.achieved()

    def finish(self, gripper: float) -> np.ndarray:
        """The action of the last phase: return to neutral, unless it carries something; then stay for `hold`.

        It is done at the end of these steps, or at once where there is nothing to hold.
        """
        self.done = self.steps >= self.hold or not self.stands()
        returns = self.steps == 0 and (self.done or not self.carries)
        if self.steps <= 1:
            self._rest = self.gripper()
        self.steps += 1
        if returns or self.hold == 0:
            return self.toward(self.gripper(), gripper, neutral=RETURN)
        return self.toward(self._rest, gripper)

    @property
    def gone(self) -> bool:
        """Whether what it was holding is gone."""
        return self.hold > 0 and self.phase == len(self.phases) - 1 and self.steps > 0 and not self.stands()

    def toward(
        self, target: np.ndarray, gripper: float, speed: float = 1.0, neutral: float = STAY
    ) -> np.ndarray:
        """An action that moves to `target` (3,) m, rotates back to pointing down and commands the gripper."""
        position, rotation = self.env.gripper_pose()
        shift = np.clip(APPROACH_GAIN * (target - position) / scene.POSITION_SCALE, -speed, speed)
        turn = np.clip(-rotation / scene.ROTATION_SCALE, -1.0, 1.0)
        return np.concatenate([shift, turn, [gripper, neutral]]).astype(np.float32)

    def gripper(self) -> np.ndarray:
        """Gripper centre (3,) m."""
        return self.env.gripper_position()

    def enter(self, phase: int) -> None:
        """Enter a phase."""
        self.phase = phase
        self.steps = 0

    def restart(self) -> None:
        """Start again from the first phase and count a recovery."""
        self.enter(0)
        self.recoveries += 1


def raised(point: np.ndarray, height: float) -> np.ndarray:
    """`point` (3,) at another height (m)."""
    return np.array([point[0], point[1], height])


def sideways(offset: np.ndarray) -> float:
    """Horizontal length of an offset (3,), m."""
    return float(np.linalg.norm(offset[:2]))
