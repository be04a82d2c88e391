"""Where things can be laid out without touching others: by their extents as they are turned."""

import math

import numpy as np

from cog.envs.objects import Thing

APART = 0.001  # m, least distance between what is laid out


def half_extents(thing: Thing, turn: float) -> np.ndarray:
    """Half of what a thing takes up along two axes, (2,) m, when it is turned by `turn` rad from them."""
    length, width = thing.size[:2]
    if thing.shape != "box":
        return np.array([length / 2, width / 2])
    return turned_extents(length, width, turn)


def turned_extents(length: float, width: float, turn: float) -> np.ndarray:
    """Half of what a rectangle (m) takes up along two axes, (2,) m, when it is turned by `turn` rad."""
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    return np.array([cos * length + sin * width, sin * length + cos * width]) / 2


def within(point: np.ndarray, half: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The nearest place to `point` (2,) at which something of half extents (2,) lies between walls."""
    return np.clip(point, low + half + APART, high - half - APART)


def squeezed(offset: np.ndarray, bounds: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Offsets drawn within ±`bounds`, shrunk to within ±`room` where there is less of it; all (2,) m."""
    return offset * np.minimum(1.0, (room - APART) / bounds)


def beside(point: np.ndarray, half: np.ndarray, centre: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """The nearest place to `point` (2,) that is clear of what reaches ±`reach` (2,) from `centre` (2,)."""
    offset = point - centre
    lacking = reach + half + APART - np.abs(offset)
    if (lacking <= 0).any():
        return point
    axis = int(np.argmin(lacking))
    moved = point.copy()
    moved[axis] += math.copysign(lacking[axis], offset[axis])
    return moved
