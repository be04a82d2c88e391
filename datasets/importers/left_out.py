"""What an import leaves out: episodes without steps, and last actions that no observation follows.

An episode never loses the only reward or success that it has without being asked for.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError
from cog.signals.success import SuccessBy, succeeded

SPARSE = 2  # values that sparse rewards take, such as 0 and 1


class LeftOut:
    """Counts of what is left out: episodes without steps, and last actions that no observation follows."""

    def __init__(self, source: Path, by: SuccessBy) -> None:
        """Begin an import of `source`, whose episodes succeed by any frame or by their last."""
        self._source, self._by = source, by
        self._empty = self._actions = self._episodes = self._successes = self._lost = self._short = (
            self._repeated
        ) = 0
        self._rewards = 0.0
        self._values: set[float] = set()  # of rewards, no more than say whether they are sparse

    @property
    def refused(self) -> bool:
        """Whether the import is refused, so that the other episodes are only counted."""
        return self._lost > 0

    def empty(self) -> None:
        """Count an episode without a step."""
        self._empty += 1

    def see(self, rewards: np.ndarray | None) -> None:
        """Note the rewards (T,) of an episode."""
        if rewards is not None and len(self._values) <= SPARSE:
            self._values.update(np.unique(rewards).tolist())

    def repeat(self, repeated: bool) -> None:
        """Count an episode whose last frame was repeated, if it was."""
        self._repeated += repeated

    def drop(self, rewards: np.ndarray | None, success: np.ndarray | None, chosen: bool) -> None:
        """Count a last action with its reward and success; (T,) are those of its whole episode."""
        self._actions += 1
        whole = next((len(rows) for rows in (rewards, success) if rows is not None), 0)
        self._episodes += whole == 1
        earned = np.zeros(0) if rewards is None else np.asarray(rewards, np.float64)
        marks = np.zeros(0, bool) if success is None else success
        self._rewards += float(earned[-1]) if len(earned) else 0.0
        self._successes += bool(marks[-1:].any())
        gone = succeeded(marks, self._by) and not succeeded(marks[:-1], self._by)
        if chosen or not (gone or _alone(earned)):
            return
        if gone or len(earned) > SPARSE:
            self._lost += 1
        else:
            self._short += 1

    def refuse(self) -> None:
        """Refuse to drop what an episode has no second of.

        Raises:
            UsageError: naming how many episodes would lose their only reward or their success.
        """
        self._lost += self._short if len(self._values) <= SPARSE else 0  # dense rewards differ at any step
        if self.refused:
            raise UsageError(
                f"no observation follows {self._actions} last actions; without them, rewards of "
                f"{self._rewards:g} and {self._successes} successes would be gone, and {self._lost} "
                "episodes would lose the only one they have",
                where=self._source,
                remedy="choose --last-frame repeat, which shows the last frame once more after them, or "
                "--last-frame drop, which leaves them out",
            )

    def nothing(self) -> DataError:
        """The error where no step is left of the whole source."""
        rule, remedy = "no episode has a step", "check that this is the right file"
        if self._actions:
            rule, remedy = f"{rule} that an observation follows", "import with --last-frame repeat"
        return DataError(Problem(self._source, "actions", rule, remedy))

    def notes(self) -> Iterator[str]:
        """What was left out."""
        if self._empty:
            yield f"{self._empty} episodes without a step were left out"
        if self._actions:
            yield (
                f"{self._actions} last actions were dropped, since no observation follows them, with rewards "
                f"of {self._rewards:g} and {self._successes} successes (--last-frame repeat keeps them)"
            )
        if self._repeated:
            yield f"{self._repeated} last frames were repeated, since no observation follows the actions"
        if self._episodes:
            yield f"{self._episodes} episodes had no other action and were left out"


def _alone(rewards: np.ndarray) -> bool:
    """Whether the last of these rewards (T,) is the only one that says anything: the others are all alike."""
    if len(rewards) < 2:
        return bool(rewards.any())
    return bool((rewards[:-1] == rewards[0]).all() and rewards[-1] != rewards[0])
