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

from cog.signals.predicates import Predicate, Signals, object_lost
from cog.users import users_code

Stage = tuple[str, Predicate]
"""Name of an episode that got this far and no further, and the predicate for getting this far."""

SUCCESS = "success"
FAILURE = "failure"  # where a scene declares no stages


def always(signals: Signals) -> np.ndarray:
    """True at every frame, (T,) bool: for the stage at which every episode begins."""
    return np.ones(np.shape(next(iter(signals.values()))), bool)


LOST: Stage = ("lost the object from the table", object_lost)
"""Where an episode ends that can no longer be won; it comes last among a scene's stages."""


def furthest_stage(signals: Signals, success: bool, stages: Sequence[Stage]) -> str:
    """How far an episode with signals (T + 1,) got: `SUCCESS`, the last stage it reached, or `FAILURE`.

    Raises:
        CogError: a predicate raises anything, or ends the program.
    """
    if success:
        return SUCCESS
    furthest = FAILURE
    for name, predicate in stages:
        with users_code(f"the predicate of stage {name!r}"):
            furthest = name if np.any(predicate(signals)) else furthest
    return furthest
