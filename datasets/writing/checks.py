"""Checks of what is given with an episode: numbers, flags, labels and rows, each refused by its field."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from cog.datasets.labels import is_unicode
from cog.datasets.precision import merged
from cog.datasets.storage.problem import DataError

Values = np.ndarray | Sequence[Any]
Parts = Sequence[tuple[str, int]]

SUCCESS = "success"
MERGED = "subtract a start value from it and store the differences, or leave it out"


@dataclass(frozen=True)
class Checks:
    """Checks that refuse by the error which `problem` makes of a field, a broken rule and a remedy."""

    problem: Callable[[str, str, str], DataError]
    """Makes the error."""

    def numbers(
        self, field: str, given: Values, rows: int | None, axes: int, parts: Parts = ()
    ) -> np.ndarray:
        """Finite numbers with `axes` axes and, if given, `rows` rows, float64; `parts` name those of a pose.

        Raises:
            DataError: they have another shape, or are not finite in float32.
        """
        values = self.array(field, given)
        if values.ndim != axes:
            rule = f"must have {axes} ax{'e' if axes > 1 else 'i'}s, found shape {values.shape}"
            remedy = "reshape it: one row per step for actions and rewards, one row per frame for all else"
            if (values.ndim, axes) == (1, 2):
                remedy = "reshape it: one number a row is values[:, None]"
            raise self.problem(field, rule, remedy)
        if values.size == 0:
            remedy = (
                "leave the episode out: it has no step"
                if field == "actions" and len(values) == 0
                else "reshape it to at least one number a row, or leave it out"
            )
            raise self.problem(field, f"must not be empty, found shape {values.shape}", remedy)
        if rows is not None:
            self.rows(field, len(values), rows)
        stored, values = values, values.astype(np.float64)
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32)).reshape(len(values), -1)
        broken = np.flatnonzero(~finite.all(axis=1))
        if len(broken):
            row = values[broken[0]].reshape(-1)
            found = row[~finite[broken[0]]][0]
            rule = f"must be finite in float32, found {found:g} in row {broken[0]}"
            raise self.problem(field, rule, "leave the episode out, or repair the recording")
        if field not in ("actions", SUCCESS) and (fault := merged(stored, parts)) is not None:
            raise self.problem(field, fault, MERGED)
        return values

    def array(self, field: str, given: Any) -> np.ndarray:
        """Numbers or booleans of any shape.

        Raises:
            DataError: they are something else, ragged or masked.
        """
        if np.ma.is_masked(given):
            remedy = "put what is meant in their place, or leave the episode out"
            raise self.problem(field, "must have no masked entries", remedy)
        try:
            values = np.asarray(given)
        except ValueError as error:
            raise self.problem(field, f"must be an array ({error})", "give rows of one length") from error
        if values.dtype.kind not in "fiub":
            rule = f"must be numbers or booleans, found type {values.dtype}"
            raise self.problem(field, rule, "convert it, such as by np.asarray(values, np.float32)")
        return values

    def flag(self, field: str, given: Any) -> bool:
        """One boolean, or a number instead.

        Raises:
            DataError: it is neither 0 nor 1.
        """
        values = self.array(field, given)
        if values.size != 1 or values.item() not in (0, 1):
            raise self.problem(field, f"must be True or False, found {values.tolist()}", "convert it")
        return bool(values.item())

    def labels(self, seed: int, options: Mapping[str, Any], **texts: str) -> None:
        """Refuse labels that a shard cannot hold.

        Raises:
            DataError: naming the label.
        """
        if not isinstance(seed, Integral) or not 0 <= seed < 2**63:
            rule = f"must lie in [0, 2^63) and be a whole number, got {seed!r}"
            raise self.problem("seed", rule, "leave it out")
        for field, text in texts.items():
            if not isinstance(text, str) or "\0" in text or not is_unicode(text):
                raise self.problem(field, f"must be UTF-8 text without NUL, got {text!r}", "leave it out")
        try:
            json.dumps(dict(options), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise self.problem(
                "options", f"must be JSON ({error})", "leave out values that are not"
            ) from error

    def rows(self, field: str, found: int, expected: int) -> None:
        """Refuse another number of rows than the actions ask for.

        Raises:
            DataError: naming both.
        """
        if found != expected:
            steps = expected - 1 if field != "rewards" else expected
            rule = f"must have {expected} rows for {steps} actions, found {found}"
            remedy = "add or drop rows: there is one for each frame before, between and after the actions"
            if field == "rewards":
                remedy = "give each action its reward, and no more"
            elif found == steps:
                remedy = "add the observation after the last action, or drop that action and its reward"
            raise self.problem(field, rule, remedy)
