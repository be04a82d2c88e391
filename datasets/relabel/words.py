"""Words: a reward rule cut into names, numbers, references, signs and `for N steps`.

A reference is what a rule names by a text: a signal, the user's function, or a rule kept in a folder. Both
of its spellings, `classifier:FOLDER` and `classifier("FOLDER")`, are one word.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from cog.errors import UsageError
from cog.signals.predicates import KEPT

LONGEST = 1000  # characters, which bounds how many operands a rule has
OWN = "write it as a function of your own, module:function"  # the remedy for what is too long or too deep
SIGNAL, FUNCTION = "signal", "function"
REFERENCES = (SIGNAL, FUNCTION, *KEPT)
INSTEAD = {"=": "==", "&": "and", "|": "or", "!": "not", '"': 'a closing "', "'": "a closing '"}
SIGNS = "names, numbers and + - * / < <= > >= == != ( ) ,"
QUOTED = r"""(?:"[^"]*"|'[^']*')"""
WORD = re.compile(
    rf"""(?P<lasting>for\s+\d+\s*steps?(?![\w.]))
    |(?P<called>(?:{"|".join(REFERENCES)})\s*\(\s*{QUOTED}\s*\))
    |(?P<colon>[^\W\d][\w.-]*:(?:{QUOTED}|[^\s(),<>=!*+"']+))
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<quoted>{QUOTED})
    |(?P<name>[^\W\d][\w.]*)
    |(?P<sign>[<>=!]=|[-+*/<>(),])""",
    re.VERBOSE,
)


class Word(NamedTuple):
    """A word of a rule and where it begins."""

    kind: str
    """A group of the pattern `WORD`, or `end` after the last word."""
    text: str
    """As it was written."""
    start: int
    """Number of its first character, from 0."""

    @property
    def number(self) -> str:
        """The digits of a number or of `for N steps`; else empty."""
        if self.kind == "lasting":
            return re.sub(r"\D", "", self.text)
        return self.text if self.kind == "number" else ""

    @property
    def reference(self) -> tuple[str, str] | None:
        """Kind (of `REFERENCES`) and name, if it is a reference; a function's name is `module:function`."""
        if self.kind == "quoted":
            return SIGNAL, _unquoted(self.text)
        if self.kind == "called":
            kind, _, name = self.text.partition("(")
            return kind.strip(), _unquoted(name.removesuffix(")").strip())
        if self.kind == "colon":
            kind, _, name = self.text.partition(":")
            return (kind, _unquoted(name)) if kind in KEPT else (FUNCTION, self.text)
        return None

    def moved(self, folder: str) -> str:
        """This reference, to another folder, in the same spelling.

        Raises:
            UsageError: the folder's name has both kinds of quotation marks.
        """
        kind = re.split("[(:]", self.text)[0].strip()
        bare = f"{kind}:{folder}"
        if self.kind == "colon" and WORD.fullmatch(bare):
            return bare
        for mark in ('"', "'"):
            if mark not in folder:
                quoted = mark + folder + mark
                return f"{kind}:{quoted}" if self.kind == "colon" else f"{kind}({quoted})"
        raise UsageError(
            f"a rule cannot name the folder {folder!r}, because it has both kinds of quotation marks",
            remedy="rename it",
        )


def split(text: str) -> list[Word]:
    """The words of a rule, followed by one of kind `end`.

    Raises:
        UsageError: the rule is too long or holds a sign that the language does not have.
    """
    if len(text) > LONGEST:
        raise UsageError(
            f"a reward rule may have {LONGEST} characters, this one has {len(text)}: {text[:40]}…",
            remedy=OWN,
        )
    found: list[Word] = []
    place = len(text) - len(text.lstrip())
    while place < len(text):
        match = WORD.match(text, place)
        if match is None:
            sign = text[place]
            raise fault(text, place, f"{sign!r} has no meaning here", f"use {INSTEAD.get(sign, SIGNS)}")
        found.append(Word(str(match.lastgroup), match[0], place))
        place = match.end() + len(text[match.end() :]) - len(text[match.end() :].lstrip())
    return [*found, Word("end", "", len(text))]


def refuse_comma(text: str, words: Sequence[Word]) -> None:
    """Refuse a number that is written with a decimal comma, if one is among these words of a rule.

    Raises:
        UsageError: naming it.
    """
    for whole, comma, part in zip(words, words[1:], words[2:], strict=False):
        written = text[whole.start : part.start + len(part.text)]
        if comma.text == "," and re.fullmatch(r"\d+,\d+(?:[eE][+-]?\d+)?", written):
            raise fault(text, whole.start, f"'{written}' is no number", f"write {written.replace(',', '.')}")


def fault(text: str, place: int, what: str, remedy: str | None = None) -> UsageError:
    """The error about a place in a rule; people count from 1."""
    return UsageError(what, where=f"reward rule '{text}' at character {place + 1}", remedy=remedy)


def expected(text: str, word: Word, wanted: str) -> UsageError:
    """The error about a word that cannot stand where it stands."""
    found = repr(word.text) if word.text else "the end"
    return fault(text, word.start, f"expected {wanted}, found {found}")


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] in "\"'" else text
