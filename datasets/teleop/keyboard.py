"""The keyboard: keys that move the arm, and keys that save or discard the episode."""

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from cog.errors import UsageError

ACTION_SIZE = 8
GRIPPER, NEUTRAL = 6, 7  # components of an action
SWITCHED, UNSWITCHED = 0.7, -0.7  # beyond the environment's threshold, as sent by scripted behaviours
COMMAND = 7  # component of `proprio` that holds the gripper's command, 1 open and 0 closed


@dataclass(frozen=True)
class Move:
    """The movement of a key."""

    component: int
    """Component of the action."""
    sign: float
    """Direction along it."""
    name: str
    """The direction as seen by someone who faces the robot, as the cameras do."""


MOVES = {
    "w": Move(0, -1.0, "away"),
    "s": Move(0, 1.0, "nearer"),
    "a": Move(1, -1.0, "left"),
    "d": Move(1, 1.0, "right"),
    "r": Move(2, 1.0, "up"),
    "f": Move(2, -1.0, "down"),
    "u": Move(3, -1.0, "roll -"),
    "o": Move(3, 1.0, "roll +"),
    "i": Move(4, 1.0, "pitch +"),
    "k": Move(4, -1.0, "pitch -"),
    "j": Move(5, 1.0, "yaw +"),
    "l": Move(5, -1.0, "yaw -"),
}
TOGGLE, RETURN = "space", "n"
SAVE, DISCARD, QUIT = "enter", "backspace", "Q"
KEYS = frozenset({*MOVES, TOGGLE, RETURN, SAVE, DISCARD, QUIT})
"""All keys with a meaning; front ends report only these names."""


def action_of(keys: Set[str], gripper_open: bool, speed: float) -> np.ndarray:
    """The action (8,) float32 of the pressed keys; opposite keys cancel, other keys are ignored.

    `gripper_open` is the gripper command, sent with every action as by scripted behaviours. `speed` in (0, 1]
    is the magnitude of a moved component.
    """
    action = np.zeros(ACTION_SIZE, np.float32)
    for move in (MOVES[key] for key in keys & MOVES.keys()):
        action[move.component] += move.sign * speed
    action[GRIPPER] = SWITCHED if gripper_open else UNSWITCHED
    action[NEUTRAL] = SWITCHED if RETURN in keys else UNSWITCHED
    return action


def is_open(pose: np.ndarray) -> bool:
    """Whether the gripper command is open, according to `proprio` (P,) or a state (S,) that begins with it.

    A shorter pose, of a user's own scene, counts as open.
    """
    return len(pose) <= COMMAND or bool(pose[COMMAND] > 0.5)


def check_speed(speed: float) -> None:
    """Refuse a speed outside (0, 1].

    Raises:
        UsageError: the speed is outside.
    """
    if not 0 < speed <= 1:
        raise UsageError(f"speed must lie in (0, 1], got {speed}")


def help_lines() -> list[str]:
    """The keys and what they do, for the screen."""
    moves = [f"{key} {move.name}" for key, move in MOVES.items()]
    pairs = [f"{one:<12}{other}" for one, other in zip(moves[::2], moves[1::2], strict=True)]
    others = [
        (TOGGLE, "gripper"),
        (RETURN, "return to neutral"),
        (SAVE, "save the episode"),
        (DISCARD, "start it again"),
        (f"{QUIT} (shift)", "quit"),
    ]
    return [*pairs, *(f"{key:<12}{what}" for key, what in others)]
