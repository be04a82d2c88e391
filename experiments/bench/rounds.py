"""Time several actions in turn, so that other load on the machine hits all of them."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Action = Callable[[], object]
LONG = 1.0  # s; a call that takes longer the second time is warm then
WARM_UP = 6  # calls of anything faster: a graph is captured in the fourth


@dataclass(frozen=True)
class Rounds:
    """Seconds a call, round by round."""

    seconds: Mapping[str, list[float]]
    """One number a round for each action."""

    def rate(self, name: str) -> float:
        """Calls a second of the median round."""
        return 1 / statistics.median(self.seconds[name])

    def ratios(self, name: str, other: str) -> list[float]:
        """How many times faster `name` was than `other` in each round, in rising order."""
        pairs = zip(self.seconds[other], self.seconds[name], strict=True)
        return sorted(their / own for their, own in pairs)


def in_turn(
    actions: Mapping[str, Action],
    rounds: int,
    seconds: float,
    finish: Callable[[], None],
    on_turn: Callable[[], None] = lambda: None,
) -> Rounds:
    """Time every action once a round, for `seconds` or one call.

    `finish` waits until the device has done what was asked of it; `on_turn` is told of every finished turn.
    """
    calls = {}
    for name, action in actions.items():
        timed(action, 1, finish)  # may compile for a minute
        took = timed(action, 1, finish)
        if took < LONG:
            timed(action, WARM_UP - 3, finish)
            took = timed(action, 1, finish)
        calls[name] = max(1, math.ceil(seconds / max(took, 1e-9)))
    found: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            found[name].append(timed(action, calls[name], finish))
            on_turn()
    return Rounds(found)


def timed(action: Action, calls: int, finish: Callable[[], None]) -> float:
    """Seconds of one of `calls` calls, the device's work included."""
    finish()
    began = time.perf_counter()
    for _ in range(calls):
        action()
    finish()
    return (time.perf_counter() - began) / calls
