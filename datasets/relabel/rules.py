"""Rules: the reward of each step, written in a small language that is parsed and never run as code.

Step t is judged by what it led to, frame t + 1. A rule is true or false on a step, which as a reward is 1
or 0, or it is a number.

| written | what it is on a step |
| --- | --- |
| `object_height`, `"eef pos/2"` | a signal; quotes hold any name |
| `0.1`, `zero`, `a + b`, `a - b`, `a * b`, `-a` | a number; what is true counts as 1 |
| `grasp_success` | a named predicate, see `cog.signals.predicates` |
| `a < b`, `a <= b < c`; `>`, `>=`, `==`, `!=` | a comparison; constants take the signal's precision |
| `X for 3 steps` | X holds, and held on the 2 steps before; no step before the first counts |
| `not X`, `X and Y`, `X or Y` | logic |
| `first(X)` | X holds for the first time in the episode |
| `to_go(r, 0.99)` | r now plus 0.99 times this value on the next step: the discounted return |
| `classifier:FOLDER`, `classifier:"a b"` | a success classifier says so, see `cog classify` |
| `mine:gentle` | a number: what your own function `gentle` in `mine.py` makes of the whole episode |

From loose to tight: `or`, `and`, `not`, `for`, comparisons, `+` and `-`, `*`, a sign; parentheses group.
Where a name is a predicate's and a signal's, the predicate is meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cog.core.inputs import Input
from cog.datasets.episode import Episode
from cog.datasets.relabel.grammar import Parser, tokens
from cog.datasets.relabel.terms import TermError, Values, relocated
from cog.errors import CogError, UsageError


@dataclass(frozen=True)
class Rule:
    """A parsed rule."""

    text: str
    """As it was written."""
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
            raise CogError(f"{where}: {term} {error.what}") from error
        except CogError as error:
            raise CogError(f"{where}: {error}") from error
        if not np.isfinite(values).all():
            step = int(np.flatnonzero(~np.isfinite(values))[0])
            raise CogError(f"{where}: it is {values[step]} at step {step}; rewards must be finite")
        return values


def parse_rule(text: str, signals: Sequence[str], base: Path) -> Rule:
    """Read a rule over data with these signals; folders in it are relative to `base`.

    Importing `module:function` runs the user's module.

    Raises:
        UsageError: naming the rule, the place in it and what is known there.
        CogError: a folder that it names holds nothing of the kind.
    """
    parser = Parser(text, signals, base)
    term = parser.rule()
    return Rule(text, term.values, tuple(dict.fromkeys(parser.inputs)), parser.looks_ahead)


def relocate(text: str, base: Path, to: Path) -> str:
    """The same rule with its folders, given relative to `base`, named relative to `to`.

    Raises:
        UsageError: the rule holds what is no word, or a folder's name cannot be quoted.
    """
    pieces, end = [], 0
    for token in tokens(text):
        if token.kept:
            kind, folder = token.kept
            pieces += [text[end : token.start], f"{kind}:{_quoted(relocated(folder, base, to))}"]
            end = token.start + len(token.text)
    return "".join(pieces) + text[end:]


def runs_own_code(text: str) -> bool:
    """Whether to apply the rule is to import and run a user's function.

    Raises:
        UsageError: the rule holds what is no word.
    """
    return any(token.kind == "outside" and not token.kept for token in tokens(text))


def _quoted(folder: str) -> str:
    """A folder as it may stand after the colon."""
    if [token.kind for token in tokens(f"a:{folder}")] == ["outside", "end"]:
        return folder
    if '"' in folder:
        raise UsageError(f"folder {folder!r}: a rule cannot name it, for its name has a quotation mark")
    return f'"{folder}"'
