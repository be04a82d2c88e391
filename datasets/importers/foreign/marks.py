"""Marks of success: which steps of a recording are successes by the rule of `--success`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cog.datasets.importers.source import Recording
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

NO_REWARDS = (
    "mark successes by an array (--success KEY), or by nothing (--success none); where only some have "
    "rewards, leave out the others (--mask)"
)
Judge = Callable[[Recording], np.ndarray | None]
"""The successful steps (T,) bool of a recording, or None if nothing marks them."""


def success_rule(text: str | None, path: Path) -> Judge:
    """What marks the successful steps of the recordings of the source `path`.

    Raises:
        UsageError: a rule on the reward is invalid; the judge raises it for a recording without rewards.
    """
    if text is None:
        return lambda recording: None
    name, above, limit = text.partition(">")
    if not above:
        return lambda recording: None if recording.success is None else np.asarray(recording.success) > 0
    try:
        least = float(limit)
    except ValueError:
        least = np.nan
    if name.strip() != "reward" or not np.isfinite(least):
        raise UsageError(
            f"invalid success rule {text!r}", where=path, remedy="write reward>NUMBER, or the key of an array"
        )

    def judge(recording: Recording) -> np.ndarray:
        if recording.rewards is None:
            raise UsageError(
                f"success rule {text!r}: {recording.name} has no rewards", where=path, remedy=NO_REWARDS
            )
        return np.asarray(recording.rewards) > least

    return judge


def refuse_unknown(path: Path, recording: Recording) -> None:
    """Refuse marks of success (T,) that are not numbers: they would be read as failures.

    Raises:
        DataError: naming the first of them.
    """
    marks = np.asarray(recording.success if recording.success is not None else ())
    if marks.dtype.kind == "f" and (odd := np.flatnonzero(np.isnan(marks.reshape(-1)))).size:
        rule = f"must be finite, found nan at step {odd[0]}"
        field = f"{recording.name}/success"
        raise DataError(Problem(path, field, rule, "choose another mark with --success, or none"))
