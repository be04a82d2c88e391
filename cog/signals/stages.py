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

from cog.errors import CogError
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
        CogError: a predicate raises anything, ends the program, or gives no (T + 1,) bool.
    """
    if success:
        return SUCCESS
    furthest = FAILURE
    for name, predicate in stages:
        with users_code(f"the predicate of stage {name!r}"):
            held = np.asarray(predicate(signals))
        frames = np.shape(next(iter(signals.values()), ()))
        if held.shape != frames or held.dtype != bool:
            what = f"the predicate of stage {name!r} must return one bool for each frame, {frames}"
            found = f"{held.dtype} of shape {held.shape}"
            remedy = 'compare whole signals, as in signals["height"] > 0.1'
            raise CogError(f"{what}; it returned {found}", remedy=remedy)
        furthest = name if held.any() else furthest
    return furthest
