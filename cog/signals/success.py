"""When an episode counts as a success, out of the marks that its source gave its frames: one rule for all.

    marks           0 0 1 1 0      0 1 0 1 1
    by any frame    0 0 1 1 0      0 1 0 1 1      every mark is a success
    by the last     0 0 0 0 0      0 0 0 1 1      only a success that lasts to the end is one

An episode counts as a success if one of these frames is. Imports, `cog info`, `cog filter` and the reward
rule `recorded_success` ask here.
"""

from typing import Literal

import numpy as np

SuccessBy = Literal["any", "last"]
"""Which frames make an episode a success: any of them, or the last."""
FACT = "success_by"
"""Key among a dataset's facts; absent where episodes end at their first success, and in older datasets."""


def success_frames(marks: np.ndarray, by: SuccessBy) -> np.ndarray:
    """The frames that are successes, (N,) bool, out of the source's marks (N,), positive at success."""
    marked = np.asarray(marks) > 0
    if by == "any":
        return marked
    return np.logical_and.accumulate(marked[::-1])[::-1]


def succeeded(marks: np.ndarray, by: SuccessBy) -> bool:
    """Whether an episode with these marks (N,) counts as a success."""
    return bool(success_frames(marks, by).any())


def decides(marks: np.ndarray, by: SuccessBy) -> bool:
    """Whether an episode with these marks (N,) would be another by the other rule.

    Rewards on marked frames are those by any frame, so that only a choice of the last depends on each frame.
    """
    every, lasting = success_frames(marks, "any"), success_frames(marks, "last")
    return bool(every.any() != lasting.any()) if by == "any" else bool((every != lasting).any())
