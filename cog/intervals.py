"""Intervals for success rates: Wilson's score interval, which stays honest near 0 and 1."""

from dataclasses import dataclass

from scipy.stats import binomtest

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
