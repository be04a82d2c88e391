"""Terms: what the names in a reward rule stand for: predicates, signals, users' functions, kept rules.

A kept rule is read from a folder, such as a learned classifier; `cog.signals.predicates.KEPT` says who opens
which kind, so that storage does not import the learner.
"""

import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cog.core.inputs import Input
from cog.core.options import usable_path
from cog.datasets.episode import Episode
from cog.datasets.success import MARKS
from cog.errors import CogError, UsageError
from cog.signals.predicates import BY, KEPT, PREDICATES, Predicate, Signals
from cog.signals.success import SuccessBy
from cog.users import users_code

ZERO = "zero"
UNMARKED = (
    "write a rule on these, or mark successes in the data: --success of cog import, success= of "
    "DatasetWriter, a signal 'success' of a scene"
)
RECORDED = "recorded"  # the rewards of the source, which imported and written data hold as a signal

Values = Callable[[Episode], np.ndarray | float]
"""Value on each step of an episode, (T,), or one number for all."""


@dataclass(frozen=True)
class Term:
    """A part of a rule."""

    values: Values
    """What it is on each step."""
    truth: bool = False
    """Whether it is true or false rather than a number."""


class KeptRule(Protocol):
    """A rule that was read from a folder."""

    hash: str
    """Identity of its content."""

    def __call__(self, episode: Episode) -> np.ndarray:
        """Whether each step succeeded, (T,) bool."""


class TermError(CogError):
    """A term could not be computed on an episode."""

    def __init__(self, term: str, what: str, remedy: str | None = None) -> None:
        super().__init__(f"'{term}' {what}", remedy=remedy)
        self.term = term
        self.what = what


def known_names(signals: Sequence[str]) -> str:
    """All names that mean something in a rule over data with these signals, for messages."""
    recorded = [RECORDED] if "reward" in signals else []
    frame = {signal: np.zeros(1) for signal in signals}
    predicates = [name for name, predicate in PREDICATES.items() if _lacks(predicate, frame) is None]
    return ", ".join(dict.fromkeys([*predicates, *recorded, ZERO, *signals]))


def named(name: str, signals: Sequence[str], success_by: SuccessBy = "any") -> Term | None:
    """The predicate or else the signal of that name; none if there is neither.

    `success_by` says which marked frames the data count as successes.
    """
    if name == ZERO:
        return Term(lambda episode: 0.0)
    if name == RECORDED and "reward" in signals:
        return signal("reward")
    if name in PREDICATES:
        predicate = BY[success_by].get(name, PREDICATES[name])
        return Term(lambda episode: _predicate(name, predicate, episode), truth=True)
    return signal(name) if name in signals else None


def signal(name: str) -> Term:
    """The signal of that name after each step."""
    return Term(lambda episode: episode.signals[name][1:])


def kept(kind: str, folder: str, base: Path) -> tuple[Term, Input]:
    """The rule of a `kind` of `KEPT` that is in a folder, relative to `base`, and its identity.

    Raises:
        CogError: there is none of that kind.
    """
    module, _, function = KEPT[kind].partition(":")
    path = _place(folder, base)
    rule: KeptRule = getattr(importlib.import_module(module), function)(path)
    return Term(rule, truth=True), Input.of(kind, path, rule.hash, base)


def relocated(folder: str, base: Path, to: Path) -> str:
    """A folder relative to `base` as it is named from `to`."""
    return os.path.relpath(_place(folder, base), to.resolve())


def own_function(text: str) -> Term:
    """The user's `module:function`; importing it runs the user's module.

    Raises:
        UsageError: there is no such module or function, or importing it fails.
    """
    module, _, function = text.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:  # the user's module may raise anything, or end the process
        what = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"reward rule {text!r} cannot be imported from here: {what}",
            remedy="check its spelling, or change to the folder of its module",
        ) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not callable(found):
        raise UsageError(f"reward rule {text!r} is not a function but of type {type(found).__name__}")
    return Term(lambda episode: _own_values(text, found, episode))


def _predicate(name: str, predicate: Predicate, episode: Episode) -> np.ndarray:
    try:
        return predicate(episode.outcome_signals())
    except KeyError as error:
        what = f"needs the signal {error}, but the data hold: {', '.join(episode.signals)}"
        marks = UNMARKED if error.args == (MARKS,) else "write a rule on these"
        raise TermError(name, what, marks) from error


def _lacks(predicate: Predicate, signals: Signals) -> str | None:
    """Name of a signal that a predicate needs and the data lack."""
    try:
        predicate(signals)
    except KeyError as error:
        return str(error.args[0])
    return None


def _own_values(text: str, function: Callable[[Episode], Any], episode: Episode) -> np.ndarray:
    """What the user's function returned, (T,) float64, checked."""
    try:
        with users_code("", partial(TermError, text)):
            returned = function(episode.read_only())
    except TermError as error:
        if isinstance(error.__cause__, ValueError) and "read-only" in str(error.__cause__):
            raise TermError(text, error.what, "let it compute on a copy of the data") from error.__cause__
        if not isinstance(error.__cause__, KeyError):
            raise
        held = ", ".join(episode.signals)
        raise TermError(text, error.what, f"the data hold the signals {held}") from error.__cause__
    values = _numbers(text, returned)
    if values.shape != (len(episode),):
        what = f"returned shape {values.shape} but must return one number per step, ({len(episode)},)"
        raise TermError(text, what, _reshaped(values.shape, len(episode)))
    if not np.isfinite(values).all():
        step = int(np.flatnonzero(~np.isfinite(values))[0])
        raise TermError(text, f"returned {values[step]} at step {step}; rewards must be finite")
    return values


def _numbers(text: str, returned: Any) -> np.ndarray:
    """What a user's function returned as float64, of any shape."""
    if returned is None:
        raise TermError(text, "returned None", "return one number per step")
    try:
        found = np.asarray(returned)
        if found.dtype.kind not in "biufO":
            raise TypeError(f"type {found.dtype}")
        return found.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor of PyTorch that is no array
        said = " ".join(str(error).split())
        raise TermError(text, f"returned no real numbers ({said})", "return one number per step") from error


def _reshaped(shape: tuple[int, ...], steps: int) -> str:
    """How an array of this shape becomes one number for each of so many steps."""
    count, flat = math.prod(shape), "values.reshape(-1)"
    if not shape or (count == 1 and steps > 1):
        return "give each step its number: np.full(len(episode.actions), value)"
    if max(shape) == count == steps:
        return f"flatten it: {flat}"
    if max(shape) == count == steps + 1:
        values = "values" if len(shape) == 1 else flat
        return f"drop the first entry of signals, which have one more: {values}[1:]"
    return "return an array with an entry for each of episode.actions"


def _place(folder: str, base: Path) -> Path:
    """A folder relative to `base`; this works even if `base` is a packed file, which has no `..`."""
    return Path(os.path.normpath(base.resolve() / usable_path(folder)))
