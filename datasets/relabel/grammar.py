"""Grammar: the words of a reward rule and their order (see `cog.datasets.relabel.rules` for the language)."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cog.core.inputs import Input
from cog.datasets.episode import Episode
from cog.datasets.relabel import terms
from cog.datasets.relabel.terms import Term
from cog.errors import UsageError
from cog.signals.predicates import KEPT

LONGEST = 1000  # characters, which bounds how many operands a rule has
DEEPEST = 25  # levels within each other, which Python's stack has to hold
WORDS = ("and", "or", "not", "for", "step", "steps", "first", "to_go")
COMPARE: dict[str, np.ufunc] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
TOKEN = re.compile(
    r"""(?P<outside>[^\W\d][\w.-]*:(?:"[^"]*"|'[^']*'|[^\s(),<>=!*+"']+))
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<quoted>"[^"]*"|'[^']*')
    |(?P<name>[^\W\d][\w.]*)
    |(?P<sign>[<>=!]=|[-+*<>(),])""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A word of a rule and where it begins."""

    kind: str
    text: str
    start: int

    @property
    def kept(self) -> tuple[str, str] | None:
        """Kind and folder, if it names a rule in a folder."""
        kind, _, folder = self.text.partition(":")
        return (kind, folder.strip("\"'")) if self.kind == "outside" and kind in KEPT else None


def tokens(text: str) -> list[Token]:
    """The words of a rule, a last one of kind "end" included.

    Raises:
        UsageError: the rule is too long or holds what is no word.
    """
    if len(text) > LONGEST:
        raise UsageError(
            f"a reward rule may have {LONGEST} characters, this one has {len(text)}: {text[:40]}…"
        )
    found: list[Token] = []
    place = len(text) - len(text.lstrip())
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise fault(text, place, f"{text[place]!r} has no meaning here")
        found.append(Token(str(match.lastgroup), match[0], place))
        place = match.end() + len(text[match.end() :]) - len(text[match.end() :].lstrip())
    return [*found, Token("end", "", len(text))]


def fault(text: str, place: int, what: str) -> UsageError:
    """The error about a place in a rule; people count from 1."""
    return UsageError(f"reward rule '{text}' at character {place + 1}: {what}")


class Parser:
    """Recursive descent: a method for each level, from the loosest to the tightest."""

    def __init__(self, text: str, signals: Sequence[str], base: Path) -> None:
        """`text` is a rule over data with these signals; folders in it are relative to `base`."""
        self.inputs: list[Input] = []
        self.looks_ahead = False
        self._text, self._signals, self._base = text, signals, base
        self._left = tokens(text)
        self._depth = 0

    def rule(self) -> Term:
        """The whole text.

        Raises:
            UsageError: naming the rule, the place in it and what is known there.
            CogError: a folder that it names holds nothing of the kind.
        """
        term = self._either()
        if self._next.kind != "end":
            raise self._unexpected("an operator or the end")
        return term

    def _either(self) -> Term:
        return self._logic("or", np.logical_or, self._both)

    def _both(self) -> Term:
        return self._logic("and", np.logical_and, self._negated)

    def _logic(self, word: str, join: np.ufunc, operand: Callable[[], Term]) -> Term:
        start, first = self._next, operand()
        if self._next.text != word:
            return first
        parts = [self._true_or_false(first, start)]
        while self._take(word):
            parts.append(self._truth(operand))
        return Term(lambda episode: join.reduce(_rows(parts, episode)), truth=True)

    def _negated(self) -> Term:
        if not self._take("not"):
            return self._lasting()
        term = self._truth(lambda: self._nested(self._negated))
        return Term(lambda episode: np.logical_not(term.values(episode)), truth=True)

    def _lasting(self) -> Term:
        start, term = self._next, self._comparison()
        if not self._take("for"):
            return term
        term, count = self._true_or_false(term, start), self._next
        if not count.text.isdecimal() or int(count.text) < 1:
            raise self._unexpected("a number of steps from 1 on")
        self._left.pop(0)
        if not (self._take("steps") or self._take("step")):
            raise self._unexpected("'steps'")
        return Term(lambda episode: held(_row(term, episode), int(count.text)), truth=True)

    def _comparison(self) -> Term:
        parts, tests = [self._sum()], []
        while sign := self._take(*COMPARE):
            tests.append(COMPARE[sign])
            parts.append(self._sum())
        if not tests:
            return parts[0]

        def values(episode: Episode) -> np.ndarray:
            numbers = [_number(part, episode) for part in parts]
            pairs = zip(tests, numbers, numbers[1:], strict=False)
            rows = [np.broadcast_to(test(one, other), len(episode)) for test, one, other in pairs]
            return np.asarray(np.logical_and.reduce(rows))

        return Term(values, truth=True)

    def _sum(self) -> Term:
        first, others = self._product(), []
        while sign := self._take("+", "-"):
            others.append((sign, self._product()))

        def values(episode: Episode) -> np.ndarray | float:
            total = _number(first, episode)
            for sign, part in others:
                number = _number(part, episode)
                total = total + number if sign == "+" else total - number
            return total

        return Term(values) if others else first

    def _product(self) -> Term:
        first, others = self._signed(), []
        while self._take("*"):
            others.append(self._signed())

        def values(episode: Episode) -> np.ndarray | float:
            product = _number(first, episode)
            for part in others:
                product = product * _number(part, episode)
            return product

        return Term(values) if others else first

    def _signed(self) -> Term:
        if not self._take("-"):
            return self._atom()
        term = self._nested(self._signed)
        return Term(lambda episode: -_number(term, episode))

    def _atom(self) -> Term:
        if self._take("("):
            return self._closed(self._nested(self._either))
        if self._take("first"):
            self._open()
            term = self._closed(self._truth(lambda: self._nested(self._either)))
            return Term(lambda episode: once(_row(term, episode)), truth=True)
        if self._take("to_go"):
            return self._to_go()
        token = self._next
        if token.kind in ("end", "sign") or (token.kind == "name" and token.text in WORDS):
            raise self._unexpected("a name, a number or '('")
        self._left.pop(0)
        if token.kind == "number":
            if not np.isfinite(value := float(token.text)):
                raise fault(self._text, token.start, f"{token.text} is not finite")
            return Term(lambda episode: value)
        if token.kept:
            term, found = terms.kept(*token.kept, self._base)
            self.inputs.append(found)
            return term
        if token.kind == "outside":
            return terms.own_function(token.text)
        return self._named(token)

    def _named(self, token: Token) -> Term:
        if token.kind == "quoted":
            name = token.text[1:-1]
            found = terms.signal(name) if name in self._signals else None
            known = ", ".join(self._signals)
        else:
            name, found = token.text, terms.named(token.text, self._signals)
            known = f"{terms.known_names(self._signals)}, or your own as module:function"
        if found is None:
            raise fault(self._text, token.start, f"{name!r} is unknown; choose {known}")
        return found

    def _to_go(self) -> Term:
        self._open()
        term = self._nested(self._either)
        if not self._take(","):
            raise self._unexpected("',' and a discount, as in to_go(grasp_success, 0.99)")
        if self._next.kind != "number" or float(self._next.text) > 1:
            raise self._unexpected("a discount from 0 to 1")
        discount = float(self._left.pop(0).text)
        self.looks_ahead = True
        return self._closed(Term(lambda episode: returns(_row(term, episode), discount)))

    def _open(self) -> None:
        if not self._take("("):
            raise self._unexpected("'('")

    def _closed(self, term: Term) -> Term:
        if not self._take(")"):
            raise self._unexpected("')'")
        return term

    def _nested(self, inner: Callable[[], Term]) -> Term:
        self._depth += 1
        if self._depth > DEEPEST:
            raise fault(self._text, self._next.start, f"more than {DEEPEST} levels within each other")
        term = inner()
        self._depth -= 1
        return term

    @property
    def _next(self) -> Token:
        return self._left[0]

    def _take(self, *texts: str) -> str:
        """Go past the next word if it is one of these, and return it; else an empty text."""
        if self._next.kind not in ("name", "sign") or self._next.text not in texts:
            return ""
        return self._left.pop(0).text

    def _truth(self, operand: Callable[[], Term]) -> Term:
        start = self._next
        return self._true_or_false(operand(), start)

    def _true_or_false(self, term: Term, start: Token) -> Term:
        if not term.truth:
            what = "this is a number, neither true nor false; compare it, as in object_height > 0.1"
            raise fault(self._text, start.start, what)
        return term

    def _unexpected(self, wanted: str) -> UsageError:
        found = repr(self._next.text) if self._next.text else "the end"
        return fault(self._text, self._next.start, f"expected {wanted}, found {found}")


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


def _number(term: Term, episode: Episode) -> np.ndarray | float:
    """A term's values as numbers; what is true counts as 1."""
    values = term.values(episode)
    return np.asarray(values, np.float64) if term.truth else values


def _row(term: Term, episode: Episode) -> np.ndarray:
    """A term's values, one a step (T,)."""
    return np.broadcast_to(term.values(episode), len(episode))


def _rows(parts: Sequence[Term], episode: Episode) -> np.ndarray:
    """The values of several terms, (parts, T)."""
    return np.stack([_row(part, episode) for part in parts])
