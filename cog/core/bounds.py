"""Bounds of settings: the interval declared at each field, and the checks that configurations share."""

import dataclasses
import math
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from cog.errors import UsageError

SEED_BITS = 32  # one word of entropy, so that (seed, episode, attempt) are never confused


def within(interval: str, default: Any, metadata: Mapping[str, Any] | None = None) -> Any:
    """A dataclass field with this default, whose numbers lie in `interval`, written as "[0, 1)"."""
    return dataclasses.field(default=default, metadata={**(metadata or {}), "interval": interval})


def refuse_out_of_bounds(settings: Any, prefix: str = "") -> None:
    """Raise UsageError for the first field of a dataclass outside the interval it was declared `within`.

    Numbers must be finite; None passes, and every entry of a tuple is checked. `prefix`, such as "cql.",
    comes before the names in messages.
    """
    for field in dataclasses.fields(settings):
        if (interval := field.metadata.get("interval")) is None:
            continue
        if interval.startswith("[") and interval.endswith(" inf)"):
            refuse_below(settings, float(interval[1:].split(",")[0]), field.name, prefix=prefix)
        else:
            refuse_outside(settings, interval, field.name, prefix=prefix)


def refuse_below(settings: object, low: float, *names: str, prefix: str = "") -> None:
    """Raise UsageError for the first of these settings that is smaller than `low` or not a finite number.

    Names are dotted where settings are nested; None passes, and every entry of a tuple is checked.
    """
    for name in names:
        for value in _numbers(settings, name):
            if not low <= value < math.inf:
                what = "it must be" if math.isfinite(value) else "it must be finite and"
                raise UsageError(f"{prefix}{name} is {value}; {what} at least {low:g}")


def refuse_outside(settings: object, interval: str, *names: str, prefix: str = "") -> None:
    """The same for settings outside an interval, written as "[0, 1)"; infinite numbers never pass."""
    low, high = (float(text) for text in interval[1:-1].split(","))
    for name in names:
        for value in _numbers(settings, name):
            above = low <= value if interval[0] == "[" else low < value
            below = value <= high if interval[-1] == "]" else value < high
            if not (above and below):
                raise UsageError(f"{prefix}{name} is {value}; it must lie in {interval}")


def refuse_seed(seed: int, bits: int = SEED_BITS) -> None:
    """Raise UsageError for a seed that is negative or has more than `bits` bits."""
    if not 0 <= seed < 2**bits:
        raise UsageError(f"seed is {seed}; it must lie in [0, 2**{bits})")


def refuse_type(name: str, value: object, kind: type) -> None:
    """Raise UsageError for an argument that is neither None nor of this type."""
    if not isinstance(value, kind | None):
        raise UsageError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}")


def _numbers(settings: object, name: str) -> tuple[float, ...]:
    """The numbers in a setting: one, several or none."""
    value = attrgetter(name)(settings)
    return () if value is None else value if isinstance(value, tuple) else (value,)
