"""Bounds of settings: the refusals that several configurations share."""

import math
from operator import attrgetter

from cog.errors import UsageError

SEED_BITS = 32  # one word of entropy, so that (seed, episode, attempt) are never confused


def refuse_below(settings: object, low: float, *names: str) -> None:
    """Raise UsageError for the first of these settings that is smaller than `low` or no finite number.

    Names are dotted where settings are nested; None passes, and of a tuple every entry must hold.
    """
    for name in names:
        for value in _numbers(settings, name):
            if not low <= value < math.inf:
                what = "it must be" if math.isfinite(value) else "it must be finite and"
                raise UsageError(f"{name} is {value}; {what} at least {low}")


def refuse_outside(settings: object, interval: str, *names: str) -> None:
    """The same for settings outside an interval, written as "[0, 1)"; no number but a finite one passes."""
    low, high = (float(text) for text in interval[1:-1].split(","))
    for name in names:
        for value in _numbers(settings, name):
            above = low <= value if interval[0] == "[" else low < value
            below = value <= high if interval[-1] == "]" else value < high
            if not (above and below):
                raise UsageError(f"{name} is {value}; it must lie in {interval}")


def refuse_seed(seed: int, bits: int = SEED_BITS) -> None:
    """Raise UsageError for a seed that is negative or has more than `bits` bits."""
    if not 0 <= seed < 2**bits:
        raise UsageError(f"seed is {seed}; it must lie in [0, 2**{bits})")


def _numbers(settings: object, name: str) -> tuple[float, ...]:
    """The numbers that a setting holds: one, several or none."""
    value = attrgetter(name)(settings)
    return () if value is None else value if isinstance(value, tuple) else (value,)
