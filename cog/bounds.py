"""Bounds of settings: the refusals that several configurations share."""

from operator import attrgetter

from cog.errors import UsageError

SEED_BITS = 32  # one word of entropy, so that (seed, episode, attempt) are never confused


def refuse_below(settings: object, low: float, *names: str) -> None:
    """Raise UsageError for the first of these settings that is smaller than `low`; None passes.

    Names are dotted where settings are nested.
    """
    for name in names:
        value = attrgetter(name)(settings)
        if value is not None and value < low:
            raise UsageError(f"{name} is {value}; it must be at least {low}")


def refuse_seed(seed: int, bits: int = SEED_BITS) -> None:
    """Raise UsageError for a seed that is negative or has more than `bits` bits."""
    if not 0 <= seed < 2**bits:
        raise UsageError(f"seed is {seed}; it must lie in [0, 2**{bits})")
