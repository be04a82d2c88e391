"""Statistics as LeRobot stores them: minimum, maximum, mean, deviation, quantiles and count of each feature.

LeRobot takes the quantiles of an episode from a histogram of 5,000 bins; these are exact, so they differ from
its own by at most one bin. Of several episodes it writes the mean of their quantiles, weighted by
their lengths.
"""

from collections.abc import Mapping

import numpy as np

Statistics = dict[str, np.ndarray]
"""`min`, `max`, `mean`, `std` and QUANTILES, of the feature's shape, or (C, 1, 1) of images; `count` (1,)."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
"""The smallest value that at least this share of all values does not exceed, by name."""


def of_values(values: np.ndarray) -> Statistics:
    """Over the first axis of values (T, ...); of images (T, H, W, C) uint8 by channel, scaled to [0, 1]."""
    count = np.array([len(values)])
    if values.ndim == 4:
        rows = values.reshape(-1, values.shape[3])
        found = _over_rows(rows / 255.0) | _of_bytes(rows)
        return {**{name: part[:, None, None] for name, part in found.items()}, "count": count}
    rows = values.reshape(len(values), -1).astype(np.float64)
    shares = np.quantile(rows, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return {**_over_rows(rows), **dict(zip(QUANTILES, shares, strict=True)), "count": count}


def together(one: Statistics, other: Statistics) -> Statistics:
    """Statistics of two disjoint sets of values as one; quantiles become their weighted mean."""
    first, second = int(one["count"][0]), int(other["count"][0])
    share = second / (first + second)
    difference = other["mean"] - one["mean"]
    variance = (1 - share) * one["std"] ** 2 + share * other["std"] ** 2 + share * (1 - share) * difference**2
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": one["mean"] + share * difference,
        "std": np.sqrt(variance),
        **{name: one[name] + share * (other[name] - one[name]) for name in QUANTILES},
        "count": one["count"] + other["count"],
    }


def as_lists(statistics: Mapping[str, np.ndarray]) -> dict[str, list[object]]:
    """Statistics as JSON values."""
    return {name: values.tolist() for name, values in statistics.items()}


def _over_rows(rows: np.ndarray) -> Statistics:
    return {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
    }


def _of_bytes(rows: np.ndarray) -> Statistics:
    """The quantiles of each channel of pixels (N, C) uint8, scaled to [0, 1], by counting."""
    found = np.empty((len(QUANTILES), rows.shape[1]))
    for channel in range(rows.shape[1]):
        below = np.cumsum(np.bincount(rows[:, channel], minlength=256))
        wanted = np.array(list(QUANTILES.values())) * len(rows)
        found[:, channel] = np.searchsorted(below, wanted) / 255.0
    return dict(zip(QUANTILES, found, strict=True))
