"""Grammar: what each form of a reward rule computes (see `cog.datasets.relabel.rules` for the language).

`expression` makes a tree of the rule; here each node becomes a term. A node of any other kind is refused.
"""

import ast
import itertools
import operator
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cog.core.inputs import Input
from cog.datasets.episode import Episode
from cog.datasets.relabel import terms
from cog.datasets.relabel.expression import DEEPEST, FUNCTIONS, TOO_DEEP, tree
from cog.datasets.relabel.operations import Numbers, held, nonzero, number, once, returns, row, rows
from cog.datasets.relabel.terms import Term
from cog.datasets.relabel.words import (
    FUNCTION,
    OWN,
    REFERENCES,
    SIGNAL,
    Word,
    expected,
    fault,
    refuse_comma,
    split,
)
from cog.signals.predicates import KEPT
from cog.signals.success import SuccessBy

COMPARE: dict[type[ast.cmpop], np.ufunc] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Numbers, Numbers], Numbers]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
FORMS = ", ".join([*FUNCTIONS.values(), *(f'{kind}("...")' for kind in REFERENCES)])


class Parser:
    """Reads one rule."""

    def __init__(self, text: str, signals: Sequence[str], base: Path, success_by: SuccessBy) -> None:
        """`text` is a rule over data with these signals; folders in it are relative to `base`."""
        self.inputs: list[Input] = []
        self.looks_ahead = False
        self._text, self._signals, self._base, self._success_by = text, signals, base, success_by
        self._words = split(text)
        self._signs = 0  # how many `not` and `-` the present node lies in

    def rule(self) -> Term:
        """The whole text.

        Raises:
            UsageError: naming the rule, the place in it and what is known there.
            CogError: a folder that it names holds nothing of the kind.
        """
        return self._term(tree(self._text, self._words))

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.BoolOp():
                join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                parts = [self._truth(value) for value in node.values]
                return Term(lambda episode: join.reduce(rows(parts, episode)), truth=True)
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                return self._signed(node)
            case ast.Compare():
                return self._comparison(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                return self._call(name, node)
            case ast.Name():
                return self._operand(self._first(node))
        self._refuse_comma(node)
        what = f"'{self._fragment(node)}' is not in the language of rules"
        raise fault(self._text, self._first(node).start, what, f"use operators or {FORMS}")

    def _truth(self, node: ast.expr) -> Term:
        term = self._term(node)
        if not term.truth:
            what, remedy = "this is a number, not true or false", "compare it, as in object_height > 0.1"
            raise fault(self._text, self._first(node).start, what, remedy)
        return term

    def _signed(self, node: ast.UnaryOp) -> Term:
        self._signs += 1
        if self._signs > DEEPEST:
            raise fault(self._text, self._first(node).start, TOO_DEEP, OWN)
        negated = isinstance(node.op, ast.Not)
        term = self._truth(node.operand) if negated else self._term(node.operand)
        self._signs -= 1
        if negated:
            return Term(lambda episode: np.logical_not(term.values(episode)), truth=True)
        return Term(lambda episode: -number(term, episode))

    def _comparison(self, node: ast.Compare) -> Term:
        tests = [COMPARE[type(test)] for test in node.ops]
        parts = [self._term(part) for part in (node.left, *node.comparators)]

        def values(episode: Episode) -> np.ndarray:
            pairs = itertools.pairwise([number(part, episode) for part in parts])
            found = [test(*pair) for test, pair in zip(tests, pairs, strict=True)]
            return np.asarray(np.logical_and.reduce([np.broadcast_to(one, len(episode)) for one in found]))

        return Term(values, truth=True)

    def _arithmetic(self, node: ast.expr) -> Term:
        chain = []  # the tree of `a + b - c` is as deep as the rule is long, but to its left alone
        while isinstance(node, ast.BinOp):
            chain.append(node)
            node = node.left
        first, others = self._term(node), []
        for link in reversed(chain):
            part = self._term(link.right)
            if isinstance(link.op, ast.Div):
                part = nonzero(part, self._fragment(link.right))
            others.append((ARITHMETIC[type(link.op)], part))

        def values(episode: Episode) -> Numbers:
            total = number(first, episode)
            for operate, part in others:
                total = operate(total, number(part, episode))
            return total

        return Term(values)

    def _call(self, name: str, node: ast.Call) -> Term:
        if len(node.args) != (1 if name == "first" else 2):
            self._refuse_comma(node)
            raise expected(self._text, self._last(node), f"the arguments of {FUNCTIONS[name]}")
        if name == "to_go":
            term, discount = self._term(node.args[0]), self._constant(node.args[1])
            if not discount or float(discount) > 1:
                raise expected(self._text, self._first(node.args[1]), "a discount from 0 to 1")
            self.looks_ahead = True
            return Term(lambda episode: returns(row(term, episode), float(discount)))
        term = self._truth(node.args[0])
        if name == "first":
            return Term(lambda episode: once(row(term, episode)), truth=True)
        steps = self._constant(node.args[1])
        if not steps.isdecimal() or int(steps) < 1:
            raise expected(self._text, self._first(node.args[1]), "a number of steps from 1 on")
        return Term(lambda episode: held(row(term, episode), int(steps)), truth=True)

    def _operand(self, word: Word) -> Term:
        if word.kind == "number":
            value = float(word.text)
            if not np.isfinite(value):
                raise fault(self._text, word.start, f"{word.text} is not finite", "use a smaller number")
            return Term(lambda episode: value)
        kind, name = word.reference or ("", word.text)
        if kind in KEPT:
            term, found = terms.kept(kind, name, self._base)
            self.inputs.append(found)
            return term
        if kind == FUNCTION:
            return terms.own_function(name)
        if kind == SIGNAL:
            meaning = terms.signal(name) if name in self._signals else None
            known = ", ".join(self._signals)
        else:
            meaning = terms.named(name, self._signals, self._success_by)
            known = f"{terms.known_names(self._signals)}, or your own as module:function"
        if meaning is None:
            why = ": the data hold no rewards of their own" if name == terms.RECORDED else ""
            raise fault(self._text, word.start, f"{name!r} is unknown{why}", f"use one of: {known}")
        return meaning

    def _refuse_comma(self, node: ast.expr) -> None:
        refuse_comma(self._text, self._words[node.lineno - 1 : node.end_lineno])

    def _constant(self, node: ast.expr) -> str:
        """The number that a node is, as it was written; empty if it is anything else."""
        return self._first(node).number if isinstance(node, ast.Name) else ""

    def _first(self, node: ast.expr) -> Word:
        return self._words[node.lineno - 1]

    def _last(self, node: ast.expr) -> Word:
        return self._words[(node.end_lineno or node.lineno) - 1]

    def _fragment(self, node: ast.expr) -> str:
        """A node as it was written."""
        last = self._last(node)
        return self._text[self._first(node).start : last.start + len(last.text)]
