"""Expression: a reward rule written down as a Python expression, so that Python's parser makes a tree of it.

Nothing is compiled or run, and no text of the user's reaches the parser: names, numbers and references are
written as `x`. Each word has a line of its own, so the line of a node is the number of its word:

    not height > 0.1 for 3 steps        not | held(x | > | x | , x)        (`|` is a new line)
"""

import ast
import itertools
from bisect import bisect
from collections.abc import Sequence

from cog.datasets.relabel.words import OWN, Word, expected, fault
from cog.errors import UsageError

DEEPEST = 25  # levels within each other, which Python's stack has to hold
TOO_DEEP = f"more than {DEEPEST} levels within each other"
FUNCTIONS = {"first": "first(X)", "held": "held(X, 3)", "to_go": "to_go(grasp_success, 0.99)"}
OPERAND = "a name, a number or '('"


def tree(text: str, words: Sequence[Word]) -> ast.expr:
    """The tree of a rule, of which these are the words.

    Raises:
        UsageError: naming the first word that does not fit.
    """
    found = _parsed(_python(text, words))
    if found is None:
        raise _misplaced(text, words)
    return found


def _python(text: str, words: Sequence[Word]) -> str:
    """All words but the last as a Python expression, one a line."""
    lines: list[str] = []
    starts = [0]  # for each open parenthesis, the line where the last operand of `and`, `or` or `not` begins
    for word, following in itertools.pairwise(words):
        if len(starts) > DEEPEST + 1:
            raise fault(text, word.start, TOO_DEEP, OWN)
        if word.kind == "lasting":
            if starts[-1] == len(lines):
                raise expected(text, word, OPERAND)
            if following.text not in ("and", "or", ",", ")", ""):
                raise expected(text, following, "'and', 'or' or the end")
            lines[starts[-1]] = "held(" + lines[starts[-1]]
        called = word.text in FUNCTIONS and following.text == "("
        verbatim = called or word.kind == "sign" or word.text in ("and", "or", "not", "for")
        lines.append(", x)" if word.kind == "lasting" else word.text if verbatim else "x")
        if word.text == "(":
            starts.append(len(lines))
        elif word.text == ")":
            starts = starts[:-1] or [0]
        elif word.text in ("and", "or", "not", ","):
            starts[-1] = len(lines)
    return " \\\n".join(lines)


def _parsed(python: str) -> ast.expr | None:
    try:
        return ast.parse(python, mode="eval").body
    except SyntaxError:
        return None


def _misplaced(text: str, words: Sequence[Word]) -> UsageError:
    """The error about the first word that cannot stand where it stands, whatever follows."""

    def fits(count: int, ending: str = "") -> bool:
        """Whether the first `count` words, this ending and what closes them are an expression."""
        python = _python(text, words[: count + 1]) + ending
        return _parsed(python + ")" * (python.count("(") - python.count(")"))) is not None

    counts = range(1, len(words))
    good = bisect(counts, False, key=lambda count: not (fits(count) or fits(count, " \\\nx")))
    word, before = words[good], words[:good]
    wanted = OPERAND
    if word.text == "for":
        wanted = "'for N steps', as in object_height > 0.1 for 3 steps"
    elif before and before[-1].text in FUNCTIONS:
        wanted = f"'(', as in {FUNCTIONS[before[-1].text]}"
    elif before and fits(good):
        is_open = sum(one.text == "(" for one in before) > sum(one.text == ")" for one in before)
        wanted = "an operator or " + ("')'" if is_open else "the end")
    return expected(text, word, wanted)
