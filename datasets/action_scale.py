"""Action scale: the affine map between a robot's own actions and the toolkit's, which lie in [-1, 1]."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cog.errors import CogError, UsageError

FACT = "action_scale"  # key among a dataset's environment facts
ASIDE = 1.0  # from a value that never changes to the bounds assumed for it
TOLERANCE = 1e-5  # of the range: rounding, such as that of float32, does not put an action out of bounds


@dataclass(frozen=True)
class ActionScale:
    """Bounds of every component of an action, in the robot's units; they become -1 and 1."""

    low: tuple[float, ...]
    """(A,) values that become -1."""
    high: tuple[float, ...]
    """(A,) values that become 1."""

    def __post_init__(self) -> None:
        """Refuse bounds that do not define a map.

        Raises:
            UsageError: their lengths differ, they are not finite, or a low is not below its high.
        """
        low, high = np.array(self.low, np.float64), np.array(self.high, np.float64)
        if low.ndim != 1 or low.shape != high.shape or len(low) == 0:
            raise UsageError(
                f"action bounds need one low and one high per component, got {self.low} and {self.high}",
                remedy="give both, for each component of an action",
            )
        if not (np.isfinite([low, high]).all() and (low < high).all()):
            raise UsageError(
                f"action bounds must be finite, each low below its high: {self.low}, {self.high}",
                remedy="give two bounds for each component, between which its actions lie",
            )
        object.__setattr__(self, "low", tuple(low.tolist()))
        object.__setattr__(self, "high", tuple(high.tolist()))

    @staticmethod
    def measured(actions: Iterable[np.ndarray]) -> "ActionScale":
        """The smallest bounds that contain all arrays (T, A), one for each episode; a constant becomes 0.

        Raises:
            CogError: there are no actions, or those of an episode differ in shape or are not finite.
        """
        lows: list[np.ndarray] = []
        highs: list[np.ndarray] = []
        for number, given in enumerate(actions):
            array = np.asarray(given, np.float64)
            if array.size == 0:
                continue
            if array.ndim != 2 or (lows and array.shape[1:] != lows[0].shape):
                wanted = f"(T, {len(lows[0])})" if lows else "(T, A)"
                raise CogError(
                    "action bounds cannot be measured: the actions are missing or differ in shape; found "
                    f"{array.shape}, wanted {wanted}",
                    where=f"episode {number}",
                    remedy="leave the episode out, or bring its actions to this shape",
                )
            if not np.isfinite(array).all():
                step = np.flatnonzero(~np.isfinite(array).all(axis=1))[0]
                raise CogError(
                    f"action bounds cannot be measured: some actions are not finite (at step {step})",
                    where=f"episode {number}",
                    remedy="leave the episode out, or repair the recording",
                )
            lows.append(array.min(axis=0))
            highs.append(array.max(axis=0))
        if not lows:
            raise CogError("action bounds cannot be measured: the actions are missing or differ in shape")
        low, high = np.min(lows, axis=0), np.max(highs, axis=0)
        margin = np.where(low == high, ASIDE, 0.0)
        return ActionScale(tuple(low - margin), tuple(high + margin))

    @staticmethod
    def of(environment: Mapping[str, Any]) -> "ActionScale | None":
        """The map that a dataset's environment facts record; None if actions were stored unchanged.

        Raises:
            CogError: the record is malformed.
        """
        value = environment.get(FACT)
        if value is None:
            return None
        try:
            return ActionScale(tuple(value["low"]), tuple(value["high"]))
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise CogError(f"the recorded {FACT} is malformed: {value}") from error

    @staticmethod
    def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether the facts of two datasets record the same map; bounds of -1 and 1 change nothing."""
        scales = [ActionScale.of(facts) for facts in (one, other)]
        first, second = (None if scale is not None and scale.is_unit else scale for scale in scales)
        return first == second

    @property
    def is_unit(self) -> bool:
        """Whether the map leaves actions as they are."""
        return set(self.low) == {-1.0} and set(self.high) == {1.0}

    def to_json(self) -> dict[str, list[float]]:
        """The bounds as JSON values."""
        return {"low": list(self.low), "high": list(self.high)}

    def first_outside(self, actions: np.ndarray) -> tuple[int, int] | None:
        """Row and column of the first entry of actions (T, A) out of bounds, if any."""
        low, high = np.array(self.low), np.array(self.high)
        slack = TOLERANCE * (high - low)
        rows, columns = np.nonzero((actions < low - slack) | (actions > high + slack))
        return (int(rows[0]), int(columns[0])) if len(rows) else None

    def to_unit(self, actions: np.ndarray) -> np.ndarray:
        """The robot's actions (..., A) as the toolkit's, float32 clipped to [-1, 1].

        Raises:
            UsageError: they have another number of components.
        """
        low, high = np.array(self.low), np.array(self.high)
        unit = (self._fitting(actions) - low) / (high - low) * 2 - 1
        return np.clip(unit, -1.0, 1.0).astype(np.float32)

    def to_robot(self, actions: np.ndarray) -> np.ndarray:
        """The toolkit's actions (..., A), such as a policy's, as the robot's, float64.

        Raises:
            UsageError: they have another number of components.
        """
        low, high = np.array(self.low), np.array(self.high)
        return low + (self._fitting(actions) + 1) / 2 * (high - low)

    def _fitting(self, actions: np.ndarray) -> np.ndarray:
        """Actions (..., A) as float64."""
        given = np.asarray(actions, np.float64)
        if given.shape[-1:] != (len(self.low),):
            raise UsageError(
                f"actions must have {len(self.low)} components by the action scale, found shape {given.shape}"
            )
        return given
