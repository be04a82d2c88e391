"""Intervals against published and hand-computed values and closed forms, and coverage."""

import math

import numpy as np
import pytest

from cog.errors import UsageError
from cog.evaluation.intervals import Mean, over_seeds, pooled, wilson

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


def test_interval_equals_the_textbook_formula() -> None:
    for successes, episodes in ((0, 10), (10, 10), (1, 1), (81, 263), (80, 100), (997, 1000)):
        share = successes / episodes
        centre = (share + Z**2 / (2 * episodes)) / (1 + Z**2 / episodes)
        spread = Z * math.sqrt(share * (1 - share) / episodes + Z**2 / (4 * episodes**2))
        spread /= 1 + Z**2 / episodes
        rate = wilson(successes, episodes)
        assert rate.low == pytest.approx(max(centre - spread, 0), abs=1e-12)
        assert rate.high == pytest.approx(min(centre + spread, 1), abs=1e-12)


def test_interval_equals_the_values_that_newcombe_published() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for (successes, episodes), expected in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        rate = wilson(successes, episodes)
        assert (rate.low, rate.high) == pytest.approx(expected, abs=5e-5)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for truth in (0.05, 0.5, 0.9):
        intervals = [wilson(int(count), 100) for count in rng.binomial(100, truth, 1000)]
        covered = np.mean([rate.low <= truth <= rate.high for rate in intervals])
        assert 0.92 < covered < 0.98


@pytest.mark.parametrize(("successes", "episodes"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(successes: int, episodes: int) -> None:
    with pytest.raises(UsageError):
        wilson(successes, episodes)


def test_the_interval_over_two_seeds_is_that_of_the_cauchy_distribution() -> None:
    mean = over_seeds([0.50, 0.52])
    reach = math.tan(math.pi * 0.475) * 0.01  # Student's t with one degree of freedom has a closed form
    assert mean.value == pytest.approx(0.51)
    assert (mean.low, mean.high) == pytest.approx((0.51 - reach, 0.51 + reach))


def test_the_interval_over_three_seeds_has_its_closed_form() -> None:
    values = [0.4, 0.5, 0.6]
    quantile = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # two degrees of freedom
    mean = over_seeds(values)
    assert mean.high == pytest.approx(0.5 + quantile * 0.1 / math.sqrt(3))
    assert over_seeds([0.0, 0.5, 1.0]).high == 1.0, "rates end at one"


def test_one_seed_tells_nothing_of_others() -> None:
    assert over_seeds([0.3]) == Mean(0.3, None, None, 1)
    with pytest.raises(UsageError):
        over_seeds([])


def test_pooled_episodes_count_as_one_sample() -> None:
    assert pooled([wilson(3, 10), wilson(9, 20)]) == wilson(12, 30)
