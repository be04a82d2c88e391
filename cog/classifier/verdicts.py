"""Verdicts: how well frame scores detect successes at a threshold, and which threshold is best.

What matters for rewards is the first frame of an episode above the threshold: a view gives its reward there
and ends the episode. `LabelledFrames.right` says where it counts as right, with a tolerance, since a small
image hardly distinguishes a lift just below the height of success from one just above.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from cog.classifier.frames import LabelledFrames
from cog.errors import CogError
from cog.evaluation.intervals import Rate, wilson


@dataclass(frozen=True)
class Verdict:
    """Precision and recall of one kind of decision, with Wilson intervals."""

    of: str
    """What is decided on."""
    precision: Rate | None
    """Share of the detections that are right; None if there are none."""
    recall: Rate
    """Share of the successes that were detected."""

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "of": self.of,
            "precision": None if self.precision is None else vars(self.precision),
            "recall": vars(self.recall),
        }

    @property
    def row(self) -> list[str]:
        """The verdict as the cells of a table."""
        rates = [self.precision, self.recall]
        return [self.of, *("none found" if rate is None else f"{rate.count}  {rate}" for rate in rates)]


def measure(
    scores: np.ndarray, frames: LabelledFrames, among: np.ndarray, threshold: float, tolerance: int
) -> list[Verdict]:
    """Verdicts on the episodes that `among` (E,) names, at a threshold for scores (F,).

    For single frames, for whole episodes, and for episodes whose first detected frame is right.
    """
    found = scores > threshold
    counted = among[frames.episode] & frames.known
    right, firsts = frames.right(tolerance), _first(found, frames)
    hit, successful = among & (firsts >= 0), among & frames.successful
    timed = hit & successful & right[firsts]
    return [
        _verdict("frames", found & counted, frames.success & counted, found & frames.success & counted),
        _verdict("episodes", hit, successful, hit & successful),
        _verdict(f"episodes, ±{tolerance} step{'' if tolerance == 1 else 's'}", hit, successful, timed),
    ]


def best_threshold(
    scores: np.ndarray, frames: LabelledFrames, among: np.ndarray, precision: float, tolerance: int
) -> float:
    """The threshold with the most detected successes in the episodes `among` (E,) at this precision or above.

    Among several, the middle one, which has the largest margin to both sides on new episodes.

    Raises:
        CogError: no threshold reaches the precision.
    """
    lows, highs, tops = (values[among] for values in _ranges(scores, frames, tolerance))
    edges = np.unique(np.concatenate([lows, highs, tops]))
    edges = edges[np.isfinite(edges)]
    candidates = np.concatenate([[edges[0] - 1], (edges[1:] + edges[:-1]) / 2])
    right = ((lows <= candidates[:, None]) & (candidates[:, None] < highs)).sum(1)
    found = (candidates[:, None] < tops).sum(1)
    good = (right >= precision * found) & (right > 0)
    if not good.any():
        best = int(np.argmax(right / found))
        raise CogError(
            f"no threshold finds successes with a precision of {precision:g} on the {int(among.sum())} "
            f"validation episodes; the most precise reaches {right[best] / found[best]:.3f}. Nothing was "
            "written",
            remedy="ask for less precision, allow more tolerance, train longer or add episodes",
        )
    most = np.flatnonzero(good & (right == right[good].max()))
    return float(candidates[most[len(most) // 2]])


def _ranges(
    scores: np.ndarray, frames: LabelledFrames, tolerance: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each episode (E,): thresholds low <= x < high find a right frame first, those < top find any.

    The first frame above a threshold moves to the right as the threshold rises, and where it lies depends
    only on the highest score so far. With frames 2 to 4 of this episode right:

        scores     0.1   0.3   0.2   0.7   0.9   0.8
        highest    0.1   0.3   0.3   0.7   0.9   0.9
        right                   x     x     x

    a threshold below 0.3 finds frame 0 or 1, too early (low = 0.3); from 0.3 on it finds frame 3 or 4; from
    0.9 on nothing up to frame 4 (high = 0.9), and here nothing later (top = 0.9). So all thresholds can be
    judged from three numbers an episode, without trying any. Right frames count as one stretch, from the
    first to the last. No threshold is right for an episode without success (low = high = -inf).
    """
    right, successful = frames.right(tolerance), frames.successful
    bounds = [*frames.starts, len(scores)]
    lows, highs, tops = np.full((3, len(successful)), -np.inf)
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        highest = np.maximum.accumulate(scores[start:end])
        tops[number] = highest[-1]
        if successful[number]:
            places = np.flatnonzero(right[start:end])
            lows[number] = highest[places[0] - 1] if places[0] else -np.inf
            highs[number] = highest[places[-1]]
    return lows, highs, tops


def _first(found: np.ndarray, frames: LabelledFrames) -> np.ndarray:
    """Index of the first frame found in each episode (E,), -1 where there is none."""
    numbers = np.where(found, np.arange(len(found)), len(found))
    first = np.minimum.reduceat(numbers, frames.starts)
    return np.where(first < len(found), first, -1)


def _verdict(of: str, found: np.ndarray, true: np.ndarray, right: np.ndarray) -> Verdict:
    hits = int(right.sum())
    return Verdict(of, wilson(hits, int(found.sum())) if found.any() else None, wilson(hits, int(true.sum())))
