"""Statistics as LeRobot stores them: minimum, maximum, mean, deviation and count of each feature."""

from collections.abc import Mapping

import numpy as np

Statistics = dict[str, np.ndarray]
"""`min`, `max`, `mean` and `std`, each of the feature's shape, or (C, 1, 1) for images; `count` (1,)."""


def of_values(values: np.ndarray) -> Statistics:
    """Over the first axis of values (T, ...); of images (T, H, W, C) uint8 by channel, scaled to [0, 1]."""
    count = np.array([len(values)])
    if values.ndim == 4:
        pixels = values.reshape(-1, values.shape[3]) / 255.0
        return {**{name: part[:, None, None] for name, part in _over_rows(pixels).items()}, "count": count}
    return {**_over_rows(values.reshape(len(values), -1).astype(np.float64)), "count": count}


def together(one: Statistics, other: Statistics) -> Statistics:
    """Statistics of two disjoint sets of values as one."""
    first, second = int(one["count"][0]), int(other["count"][0])
    share = second / (first + second)
    difference = other["mean"] - one["mean"]
    variance = (1 - share) * one["std"] ** 2 + share * other["std"] ** 2 + share * (1 - share) * difference**2
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": one["mean"] + share * difference,
        "std": np.sqrt(variance),
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
