"""Continuous actions: what a source calls actions as vectors of numbers, never numbered choices."""

from pathlib import Path

import numpy as np

from cog.datasets.storage.problem import DataError, Problem

REMEDY = (
    "cog learns no choices between numbered actions; if they are commands of one motor in whole numbers, "
    "store them as floats"
)


def continuous(path: Path, field: str, actions: np.ndarray, episode: int) -> np.ndarray:
    """Actions (T, A), or (T,) of one component, as (T, A).

    A single component of whole numbers or booleans may number choices, as replay buffers store those.

    Raises:
        DataError: there is one component, and it is not of floating point.
    """
    alone = actions.ndim == 1 or (actions.ndim == 2 and actions.shape[1] == 1)
    if alone and actions.dtype.kind != "f":
        rule = f"must be continuous vectors (T, A), found {actions.dtype} of shape {actions.shape}"
        raise DataError(Problem(path, field, rule, REMEDY, episode))
    return actions[:, None] if actions.ndim == 1 else actions
