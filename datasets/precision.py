"""What float32 would merge: numbers that differ where they are recorded, and no longer where they are stored.

Such are times in seconds since 1970, and counts of nanoseconds or encoders: small steps at a large size.
"""

from collections.abc import Sequence

import numpy as np

GRAIN = 1e-6  # smaller changes are the noise of things at rest
LEVELS = 1e5  # with more steps of float32 over the range, what merges is noise on a signal that is kept


def merged(values: np.ndarray, parts: Sequence[tuple[str, int]] = ()) -> str | None:
    """What is wrong with an episode's numbers (T,) or (T, P), if float32 would keep too little.

    That is one that varies, and would be constant or lose more than half of its different values. `parts` are
    name and length of what the components are joined from, if that is known.
    """
    if np.can_cast(values.dtype, np.float32):
        return None
    columns = values.reshape(len(values), -1)
    names = [
        f" ('{name}'" + (f", number {k})" if size > 1 else ")") for name, size in parts for k in range(size)
    ]
    for part, column in enumerate(columns.T):
        if _is_merged(column):
            named = f"component {part}{names[part] if part < len(names) else ''} " if values.ndim > 1 else ""
            reach = f"varies ({column.min()} to {column.max()})"
            return f"{named}{reach} by less than float32 can tell apart at this size"
    return None


def _is_merged(column: np.ndarray) -> bool:
    """Whether float32 keeps one, or less than half, of the different values of a column (T,)."""
    whole = column.dtype.kind in "iu"
    low, high = column.min(), column.max()
    spread = float(int(high) - int(low)) if whole else float(high - low)
    step = float(np.spacing(np.float32(max(abs(float(low)), abs(float(high))))))
    if step < GRAIN or spread < 10 * GRAIN or spread > LEVELS * step:
        return False
    had = len(np.unique(column if whole else np.round(column / GRAIN)))
    kept = len(np.unique(column.astype(np.float32)))
    return kept == 1 or 2 * kept < had
