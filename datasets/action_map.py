"""Action map: how an import takes actions: bounds, switches of two values as -1 and 1, and what was found."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cog.datasets.action_scale import ASIDE, ActionScale
from cog.errors import UsageError

MOST = 8  # different values that are kept of a component; no switch has more
SHOWN = 12  # components whose range a note lists


class Survey:
    """Range and different values of every component over all actions seen so far."""

    def __init__(self) -> None:
        self.low: list[float] = []
        self.high: list[float] = []
        self._values: list[set[float]] = []
        self._steps = 0

    def add(self, actions: np.ndarray) -> None:
        """Look at actions (T, A); others than such are for the writer to refuse."""
        if actions.ndim != 2 or actions.size == 0 or actions.dtype.kind not in "fiub":
            return
        columns = np.asarray(actions, np.float64).T
        self._steps += len(actions)
        if not self._values:
            self.low, self.high = [np.inf] * len(columns), [-np.inf] * len(columns)
            self._values = [set() for _ in columns]
        for part, column in enumerate(columns[: len(self._values)]):
            self.low[part] = min(self.low[part], float(column.min()))
            self.high[part] = max(self.high[part], float(column.max()))
            if len(self._values[part]) <= MOST:
                self._values[part] |= set(np.unique(column)[: MOST + 1].tolist())

    def __len__(self) -> int:
        """Number of components."""
        return len(self._values)

    def values(self, part: int) -> list[float] | None:
        """The different values of a component in order, or None where they are more than `MOST`."""
        return None if len(self._values[part]) > MOST else sorted(self._values[part])

    def told(self, part: int) -> str:
        """What a component was found to be: its values, or its range."""
        values = self.values(part)
        if values is None:
            return f"more than {MOST} values from {self.low[part]:g} to {self.high[part]:g}"
        listed = ", ".join(f"{value:g}" for value in values)
        if len({f"{value:g}" for value in values}) < len(values):  # such as 0.9999999 beside 1
            listed = ", ".join(map(repr, values))
        return f"only the value {listed}" if len(values) == 1 else f"the values {listed}"

    def range_note(self) -> str:
        """The measured range of actions that were taken as they are."""
        pairs = [f"{low:.3g} to {high:.3g}" for low, high in zip(self.low, self.high, strict=True)]
        if len(set(pairs)) == 1:
            found = pairs[0]
        elif len(pairs) <= SHOWN:
            found = ", ".join(f"{part}: {pair}" for part, pair in enumerate(pairs))
        else:
            found = f"{min(self.low):.3g} to {max(self.high):.3g}"
        note = f"actions were taken as they are; measured range, of -1 to 1: {found}"
        narrow = [max(-low, high) for low, high in zip(self.low, self.high, strict=True)]
        if min(narrow) < 0.5:
            note += "; --action-bounds measured spreads each component over all of it"
        return note

    def constant_notes(self, parts: range) -> list[str]:
        """Notes on components, among `parts`, whose bounds cannot be measured since they never change."""
        return [
            f"component {part} of the actions is always {low:g}; bounds {low - ASIDE:g} to {low + ASIDE:g} "
            "were assumed (--action-low and --action-high give others)"
            for part, low, high in ((part, self.low[part], self.high[part]) for part in parts)
            if low == high
        ]

    def switch_notes(self) -> Iterator[str]:
        """Notes on components of [-1, 1] with two or three values that no policy could take for a switch.

        Fewer steps than twice the values say nothing: any signal has as many values as steps then.
        """
        few = [len(values) if (values := self.values(part)) else MOST + 1 for part in range(len(self))]
        for part in (part for part, count in enumerate(few) if 2 <= count <= 3):
            values = self.values(part) or []
            if self._steps < 2 * len(values):
                continue
            if 0.0 in values or values[0] > 0 or values[-1] < 0:
                last = max(few[part:]) <= 3
                yield (
                    f"component {part} of the actions has {self.told(part)}: if it is a switch, such as a "
                    + (
                        f"gripper's, import with --switches {len(self) - part}, which makes them -1 and 1"
                        if last
                        else "gripper's, a policy can learn it as one only as a last component, with -1 and 1"
                    )
                )


class Stay(NamedTuple):
    """A switch in which 0, between its commands, means to stay at the one before."""

    part: int
    """Component of the action."""
    low: float
    """Command that becomes -1."""
    high: float
    """Command that becomes 1."""


@dataclass(frozen=True)
class ActionMap:
    """How the source's actions become the toolkit's."""

    scale: ActionScale | None = None
    """Bounds that become -1 and 1, or None if actions already lie between these."""
    stays: tuple[Stay, ...] = ()
    """Switches in which 0 means to stay."""
    start: Literal[-1, 1] | None = None
    """Side of such a switch before an episode's first command; None: the other one than this command's."""
    notes: tuple[str, ...] = ()
    """What was done to switches, and to components that never change."""

    def commands(self, actions: np.ndarray, name: str) -> np.ndarray:
        """Actions (T, A) of the episode `name`, each "stay" replaced by the command that it repeats.

        Raises:
            UsageError: an episode has no command at all, and no start is given.
        """
        if not self.stays or actions.ndim != 2 or len(actions) == 0:
            return actions
        result = np.array(actions, np.float64)
        for part, low, high in self.stays:
            column = result[:, part]
            given = np.flatnonzero(column)
            if not len(given) and self.start is None:
                raise UsageError(
                    f"{name} holds no command for the switch in component {part}, only 0 (stay)",
                    remedy="pass --switch-start -1 or 1, the side on which such an episode begins",
                )
            last = np.maximum.accumulate(np.where(column != 0, np.arange(len(column)), -1))
            below = column[given[0]] > 0 if self.start is None else self.start < 0
            result[:, part] = np.where(last >= 0, column[last], low if below else high)
        return result

    def unit(self, actions: np.ndarray) -> np.ndarray:
        """Commands (T, A) as they are stored; such of another size, which no episode has, as they are."""
        if self.scale is None or actions.shape[1:] != (len(self.scale.low),):
            return actions
        return self.scale.to_unit(actions)


def measured_map(actions: Iterable[np.ndarray]) -> ActionMap:
    """The map of all episodes' actions (T, A) by the bounds that are measured over them.

    Raises:
        CogError: they have none.
    """
    survey = Survey()

    def seen() -> Iterator[np.ndarray]:
        for array in actions:
            survey.add(array)
            yield array

    scale = ActionScale.measured(seen())
    return ActionMap(scale, notes=tuple(survey.constant_notes(range(len(scale.low)))))


def map_actions(
    actions: Iterable[np.ndarray],
    switches: int,
    bounds: ActionScale | None,
    measured: bool,
    start: Literal[-1, 1] | None = None,
) -> ActionMap:
    """The map of all episodes' actions (T, A), the last `switches` components of which have two values each.

    `bounds` are given by the user; without them, the others are `measured` or stay within [-1, 1].

    Raises:
        UsageError: a component is no switch, or there are as many switches as components.
    """
    survey, arrays = Survey(), []
    for array in actions:
        survey.add(array)
        if measured:
            arrays.append(array)
    parts = len(survey)
    if switches >= parts:
        raise UsageError(
            f"--switches is {switches}, but at least one of the {parts} components of an action must move",
            remedy="count the switches at the end of an action",
        )
    scale = ActionScale.measured(arrays) if measured else bounds
    low = [-1.0] * parts if scale is None else list(scale.low)
    high = [1.0] * parts if scale is None else list(scale.high)
    stays: list[Stay] = []
    notes = survey.constant_notes(range(parts - switches)) if measured else []
    for part in range(parts - switches, parts):
        limits = None if bounds is None else (low[part], high[part])
        low[part], high[part], stay = _switch(survey, part, limits)
        stays += [Stay(part, low[part], high[part])] if stay else []
        if stay or (low[part], high[part]) != (-1.0, 1.0):
            pair = f"{low[part]:g} became -1 and {high[part]:g} became 1"
            held = "; 0 became the command before it, since it means to stay" if stay else ""
            notes.append(f"switch in component {part} of the actions: {pair}{held}")
        elif survey.low[part] == survey.high[part]:
            notes.append(f"switch in component {part} of the actions is never turned: {survey.told(part)}")
    whole = all(pair == (-1.0, 1.0) for pair in zip(low, high, strict=True))
    made = None if whole else ActionScale(tuple(low), tuple(high))
    return ActionMap(made, tuple(stays), start, tuple(notes))


def _switch(survey: Survey, part: int, limits: Sequence[float] | None) -> tuple[float, float, bool]:
    """The two commands of a switch, and whether 0 between them means to stay; `limits` are the given bounds.

    Raises:
        UsageError: its values are not those of a switch.
    """
    values = survey.values(part)
    commands = values or []
    stay = len(commands) == 3 and commands[0] < 0 == commands[1] < commands[2]
    commands = [commands[0], commands[2]] if stay else commands
    if limits is not None and commands and all(np.isclose(v, limits, rtol=1e-5).any() for v in commands):
        return limits[0], limits[1], stay
    if len(commands) == 2 and limits is None:
        return commands[0], commands[1], stay
    if len(commands) == 1 and abs(commands[0]) == 1.0 and limits is None:
        return -1.0, 1.0, False
    wanted = "two values" if limits is None else f"the bounds {limits[0]:g} and {limits[1]:g}"
    remedy = "count the switches at the end of an action; if one is never turned, pass both of its values "
    remedy += "with --action-low and --action-high"
    if limits is not None and len(commands) == 2:
        remedy = (
            "give --action-low and --action-high one number for each component of an action, for this one "
        )
        remedy += f"{commands[0]:g} and {commands[1]:g}"
    raise UsageError(
        f"component {part} of the actions is a switch by --switches, but has {survey.told(part)}; "
        f"a switch has {wanted}, or 0 between them to stay",
        remedy=remedy,
    )
