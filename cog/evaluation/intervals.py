"""Intervals for success rates: Wilson's over episodes, valid near 0 and 1, and Student's t over seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest
from scipy.stats import t as student

from cog.errors import UsageError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A success rate with its interval."""

    successes: int
    """Episodes that succeeded."""
    episodes: int
    """Episodes in all."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""

    @property
    def value(self) -> float:
        """Observed share of successes."""
        return self.successes / self.episodes

    @property
    def count(self) -> str:
        """Successes and episodes, as `17/25`."""
        return f"{self.successes}/{self.episodes}"

    def __str__(self) -> str:
        return f"{self.value:.0%}  [{self.low:.0%}, {self.high:.0%}]"


def wilson(successes: int, episodes: int, confidence: float = CONFIDENCE) -> Rate:
    """The rate of `successes` among `episodes` independent trials (E. B. Wilson, 1927).

    Raises:
        UsageError: no trials, or more successes than trials.
    """
    if episodes < 1 or not 0 <= successes <= episodes:
        raise UsageError(f"an interval needs 0 <= successes <= episodes >= 1, got {successes} of {episodes}")
    interval = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    return Rate(successes, episodes, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Mean:
    """The mean over training seeds with its interval; a single seed has none."""

    value: float
    """Mean of the seeds' rates."""
    low: float | None
    """Lower end of the interval."""
    high: float | None
    """Upper end of the interval."""
    seeds: int
    """Number of seeds."""


def over_seeds(rates: Sequence[float], confidence: float = CONFIDENCE) -> Mean:
    """Mean of one rate per seed with Student's t interval, clipped to [0, 1].

    It says how well the mean over training runs is known, which intervals over the episodes of one run do
    not; a single further run may lie outside it.

    Raises:
        UsageError: no rates.
    """
    if not rates:
        raise UsageError("an interval over seeds needs at least one rate")
    mean, count = statistics.fmean(rates), len(rates)
    if count == 1:
        return Mean(mean, None, None, 1)
    half_width = (
        float(student.ppf(0.5 + confidence / 2, count - 1)) * statistics.stdev(rates) / math.sqrt(count)
    )
    return Mean(mean, max(mean - half_width, 0.0), min(mean + half_width, 1.0), count)


def pooled(rates: Sequence[Rate]) -> Rate:
    """Wilson's interval over the episodes of all seeds together; it ignores the variation between seeds."""
    return wilson(sum(rate.successes for rate in rates), sum(rate.episodes for rate in rates))
