"""Rules: the reward of each step, written in a small language that is parsed and never run as code.

Step t leads from frame t to frame t + 1, and a rule judges it by the latter, by what the step led to:

    frame     0     1     2     3
    step         0     1     2           signals[1:] are the values that a rule sees, one a step

A rule is true or false on a step, which as a reward is 1 or 0, or it is a number.

| written | or | what it is on a step |
| --- | --- | --- |
| `object_height` | `signal("eef pos/2")`, `"eef pos/2"` | a signal; quotes hold any name |
| `0.1`, `zero` | | a number, the same on all steps; what is true counts as 1 |
| `a + b`, `a - b`, `a * b`, `a / b`, `-a` | | arithmetic; it is an error to divide by 0 |
| `grasp_success` | | a named predicate, see `cog.signals.predicates` |
| `a < b`, `a <= b < c`; `>`, `>=`, `==`, `!=` | | a comparison |
| `not X`, `X and Y`, `X or Y` | | logic |
| `held(X, 3)` | `X for 3 steps` | X holds, and held on the 2 steps before; none before the first counts |
| `first(X)` | | X holds for the first time in the episode |
| `to_go(r, 0.99)` | | r now plus 0.99 times this value on the next step: the discounted return |
| `classifier("a b")` | `classifier:FOLDER` | a success classifier says so, see `cog classify` |
| `function("mine:gentle")` | `mine:gentle` | what your own function in `mine.py` makes of the episode |

From loose to tight: `or`, `and`, `not`, `for`, comparisons, `+` and `-`, `*` and `/`, a sign; parentheses
group. All but `for` is Python, and so are the precedences. Constants take the precision of the signals
(float32), so `object_height > 0.1` is to the bit what a predicate with that threshold is. Where a name is a
predicate's and a signal's, the predicate is meant; `signal("...")` means the signal.

A function must give the same rewards each time it sees an episode: they are computed again whenever the data
are loaded.

A rule is identified by its text: a view keeps it as it was written, so two spellings of one rule give the
same rewards and two views.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cog.core.inputs import Input
from cog.datasets.episode import Episode
from cog.datasets.relabel.grammar import Parser
from cog.datasets.relabel.terms import TermError, Values, relocated
from cog.datasets.relabel.words import FUNCTION, SIGNAL, split
from cog.errors import CogError
from cog.signals.predicates import KEPT
from cog.signals.success import SuccessBy


@dataclass(frozen=True)
class Rule:
    """A parsed rule."""

    text: str
    """As it was written; its identity."""
    values: Values
    """What it computes."""
    inputs: tuple[Input, ...]
    """What on disk it was read from, such as a classifier."""
    looks_ahead: bool
    """Whether a step's value depends on later steps."""

    def __call__(self, episode: Episode, number: int) -> np.ndarray:
        """Its values on an episode, finite (T,) float64; messages name the episode by its number.

        Raises:
            CogError: a term fails on the episode, or a value is not finite.
        """
        where = f"reward rule '{self.text}', episode {number}"
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused below
                values = np.broadcast_to(self.values(episode), len(episode)).astype(np.float64)
        except TermError as error:
            term = "it" if error.term == self.text else f"'{error.term}'"
            raise CogError(f"{where}: {term} {error.what}", remedy=error.remedy) from error
        except CogError as error:
            raise CogError(f"{where}: {error}") from error
        if not np.isfinite(values).all():
            step = int(np.flatnonzero(~np.isfinite(values))[0])
            raise CogError(f"it is {values[step]} at step {step}; rewards must be finite", where=where)
        return values


def parse_rule(text: str, signals: Sequence[str], base: Path, success_by: SuccessBy = "any") -> Rule:
    """Read a rule over data with these signals; folders in it are relative to `base`.

    `success_by` says which of the frames that a source marked are a `recorded_success`. Importing
    `module:function` runs the user's module.

    Raises:
        UsageError: naming the rule, the place in it and what is known there.
        CogError: a folder that it names holds nothing of the kind.
    """
    parser = Parser(text, signals, base, success_by)
    term = parser.rule()
    return Rule(text, term.values, tuple(dict.fromkeys(parser.inputs)), parser.looks_ahead)


def relocate(text: str, base: Path, to: Path) -> str:
    """The same rule with its folders, given relative to `base`, named relative to `to`.

    Raises:
        UsageError: a part of the rule is not a word, or a folder's name cannot be quoted.
    """
    pieces, end = [], 0
    for word in split(text):
        kind, name = word.reference or ("", "")
        if kind in KEPT:
            pieces += [text[end : word.start], word.moved(relocated(name, base, to))]
            end = word.start + len(word.text)
    return "".join(pieces) + text[end:]


def reads_signals_alone(text: str) -> bool:
    """Whether the rule needs nothing but the data: neither a user's function nor a classifier.

    Raises:
        UsageError: a part of the rule is not a word.
    """
    return all(word.reference is None or word.reference[0] == SIGNAL for word in split(text))


def asks_to_last(text: str) -> bool:
    """Whether some condition of the rule must have held for several steps, as in `grasp_success for 6 steps`.

    Raises:
        UsageError: a part of the rule is not a word.
    """
    pairs = itertools.pairwise(split(text))
    return any(one.kind == "lasting" or (one.text, then.text) == ("held", "(") for one, then in pairs)


def runs_own_code(text: str) -> bool:
    """Whether applying the rule imports and runs a user's function.

    Raises:
        UsageError: a part of the rule is not a word.
    """
    return any(word.reference is not None and word.reference[0] == FUNCTION for word in split(text))
