"""Operations: what the words of a reward rule compute over the steps of an episode."""

from collections.abc import Sequence

import numpy as np

from cog.datasets.episode import Episode
from cog.datasets.relabel.terms import Term, TermError

Numbers = np.ndarray | float
"""One number a step (T,), or one for all steps, a Python float: so it takes the precision of the signals."""


def held(truth: np.ndarray, steps: int) -> np.ndarray:
    """Whether the last `steps` of (T,) bool are all true, the present one included."""
    numbers = np.arange(len(truth))
    last_false = np.maximum.accumulate(np.where(truth, -1, numbers))
    return np.asarray(numbers - last_false >= steps)


def once(truth: np.ndarray) -> np.ndarray:
    """Only the first true entry of (T,) bool."""
    return np.asarray(truth & (np.cumsum(truth) == 1))


def returns(rewards: np.ndarray, discount: float) -> np.ndarray:
    """Discounted sum of this and all later rewards (T,), float64."""
    result = np.array(rewards, np.float64)
    for step in range(len(result) - 2, -1, -1):
        result[step] += discount * result[step + 1]
    return result


def number(term: Term, episode: Episode) -> Numbers:
    """A term's values as numbers; what is true counts as 1."""
    values = term.values(episode)
    return np.asarray(values, np.float64) if term.truth else values


def row(term: Term, episode: Episode) -> np.ndarray:
    """A term's values, one a step (T,)."""
    return np.broadcast_to(term.values(episode), len(episode))


def rows(parts: Sequence[Term], episode: Episode) -> np.ndarray:
    """The values of several terms, (parts, T)."""
    return np.stack([row(part, episode) for part in parts])


def nonzero(divisor: Term, text: str) -> Term:
    """The numbers of a divisor, written as `text`, refused where they are 0: a comparison would hide inf."""

    def values(episode: Episode) -> Numbers:
        numbers = number(divisor, episode)
        if np.any(zero := np.equal(numbers, 0)):
            raise TermError(text, f"is 0 at step {np.argmax(zero)}, so nothing can be divided by it")
        return numbers

    return Term(values)
