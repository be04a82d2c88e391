"""A behaviour: a scripted closed-loop policy in numbered phases that detects failures and recovers.

A scene names its behaviours, so behaviours import scenes for their types only.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cog.envs import scene

if TYPE_CHECKING:
    from cog.envs.tabletop import Tabletop

OPEN, CLOSE = 0.7, -0.7  # gripper commands, beyond the threshold even with noise
STAY, RETURN = -0.7, 0.7  # neutral commands
APPROACH_GAIN = 0.9  # share of the remaining distance commanded in one step


class Behaviour(ABC):
    """One skill: `phases` names its phases, `phase` is the current one, `done` says that it has finished."""

    phases: ClassVar[tuple[str, ...]]

    def __init__(self, env: "Tabletop", rng: np.random.Generator) -> None:
        self.env = env
        self.rng = rng
        self.phase = 0
        self.steps = 0  # within the phase, or without progress in it
        self.done = False
        self.recoveries = 0

    @abstractmethod
    def act(self) -> np.ndarray:
        """The next action (8,) float32 without noise, from the simulator's state."""

    def achieved(self) -> bool:
        """Whether the behaviour has achieved its goal, as far as it can tell."""
        return True

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
