"""How an exact movement is spread over its time: from rest to rest, so that none leaves speed to the next."""

from collections.abc import Iterator
from itertools import pairwise

RAMP = 1 / 3  # share of the time in which it speeds up, and slows down again


def travelled(time: float) -> float:
    """Share of the way after a share of the time."""
    if time > 0.5:
        return 1.0 - travelled(1.0 - time)
    top = 1 / (1 - RAMP)
    return top * time * time / (2 * RAMP) if time < RAMP else top * (time - RAMP / 2)


def shares(substeps: int) -> Iterator[tuple[float, float]]:
    """For each substep the share of the way at its beginning, and the share that it travels."""
    places = [travelled(substep / substeps) for substep in range(substeps + 1)]
    for here, there in pairwise(places):
        yield here, there - here
