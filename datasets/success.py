"""Success of stored episodes: as it was counted when they were written, or judged again from their marks."""

from collections.abc import Mapping
from typing import Any

from cog.datasets.episode import Episode
from cog.errors import UsageError
from cog.signals.success import FACT, SuccessBy, succeeded

MARKS = "success"  # signal in which imported and written data hold the marks of the source


def counted_by(environment: Mapping[str, Any]) -> SuccessBy:
    """The rule by which a dataset with these facts counts successes; by the last frame if it records none."""
    return "any" if environment.get(FACT) == "any" else "last"


def kept_success(episode: Episode, environment: Mapping[str, Any]) -> bool:
    """Whether an episode that was cut counts as a success: by its kept frames, if the source marked frames.

    Without such marks nothing is known of its kept frames, and the outcome of the whole stands.
    """
    if MARKS not in episode.signals:
        return episode.success
    return succeeded(episode.signals[MARKS][1:], counted_by(environment))


def counts(episode: Episode, by: SuccessBy | None, environment: Mapping[str, Any]) -> bool:
    """Whether an episode of a dataset with these facts counts as a success by a rule, or as it was counted.

    Raises:
        UsageError: the data hold no marks from which another rule could judge it.
    """
    if by is None or (by == counted_by(environment) and MARKS not in episode.signals):
        return episode.success
    if MARKS not in episode.signals:
        raise UsageError(
            f"success cannot be judged by {by} frame: only that of each last frame was recorded",
            remedy="leave out --success-by, or judge by a rule on the signals",
        )
    return succeeded(episode.signals[MARKS][1:], by)
