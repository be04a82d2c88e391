"""Failure stages: how far an episode got, judged from its recorded signals alone.

A scene declares `stages`, pairs of a name and a predicate, in the order in which its task goes through them:

    stages = (
        ("never reached the object", always),
        ("reached the object, no grasp", object_reached),
        ("grasped, dropped or out of time", object_held),
    )

A failed episode is reported under the last stage whose predicate held at any frame.
"""

from collections.abc import Sequence

import numpy as np

from cog.signals.predicates import Predicate, Signals

Stage = tuple[str, Predicate]
"""Name of an episode that got this far and no further, and the predicate for getting this far."""

SUCCESS = "success"
FAILURE = "failure"  # where a scene declares no stages


def always(signals: Signals) -> np.ndarray:
    """True at every frame, (T,) bool: for the stage at which every episode begins."""
    return np.ones(np.shape(next(iter(signals.values()))), bool)


def furthest_stage(signals: Signals, success: bool, stages: Sequence[Stage]) -> str:
    """How far an episode with signals (T + 1,) got: `SUCCESS`, the last stage it reached, or `FAILURE`."""
    if success:
        return SUCCESS
    reached = [name for name, predicate in stages if np.any(predicate(signals))]
    return reached[-1] if reached else FAILURE
