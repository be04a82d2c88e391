"""The objects to grasp: primitive shapes, for training or held out; and constants of the blocking arch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cog.envs import scene
from cog.envs.bullet import Client

MASS = 0.04  # kg
FRICTION = 1.5  # lateral
SPINNING_FRICTION = 0.01
ROLLING_FRICTION = 0.003  # m, so that round objects come to rest
BLOCKER_HEIGHT = 0.145  # m, of the arch's knob; its beam covers the gap behind the handle
BLOCKER_BASE = (0.14, 0.044)  # m, what it takes up along its own x and y
BLOCKER_CENTRE = 0.07  # m, height of its centre of mass


@dataclass(frozen=True)
class Thing:
    """A primitive solid."""

    name: str
    """Name, as `info["object"]` gives it."""
    shape: str
    """`box`, `cylinder` (upright) or `sphere`."""
    size: tuple[float, float, float]
    """Extent along its own x, y and z (m); for round shapes x and y are equal."""
    colour: tuple[float, float, float]
    """Red, green and blue, 0 to 1."""

    @property
    def height(self) -> float:
        """Extent along z, m."""
        return self.size[2]


CUBE = Thing("cube", "box", (0.035, 0.035, 0.035), (0.9, 0.1, 0.1))
TRAIN = (
    CUBE,
    Thing("brick", "box", (0.028, 0.05, 0.03), (0.85, 0.35, 0.1)),
    Thing("post", "box", (0.03, 0.03, 0.05), (0.7, 0.1, 0.5)),
    Thing("can", "cylinder", (0.036, 0.036, 0.04), (0.9, 0.75, 0.1)),
    Thing("puck", "cylinder", (0.044, 0.044, 0.028), (0.8, 0.15, 0.15)),
    Thing("ball", "sphere", (0.038, 0.038, 0.038), (0.95, 0.5, 0.2)),
)
HELD_OUT = (
    Thing("tile", "box", (0.042, 0.042, 0.022), (0.6, 0.15, 0.75)),
    Thing("bar", "box", (0.022, 0.06, 0.028), (0.95, 0.2, 0.4)),
    Thing("tower", "cylinder", (0.03, 0.03, 0.055), (0.75, 0.6, 0.1)),
    Thing("marble", "sphere", (0.03, 0.03, 0.03), (0.8, 0.05, 0.3)),
)
OBJECT_SETS: Mapping[str, tuple[Thing, ...]] = {"cube": (CUBE,), "train": TRAIN, "held_out": HELD_OUT}
"""Values of the option `objects` of a scene; no object of `held_out` is in another set."""


def load_object(client: Client, thing: Thing, position: np.ndarray, yaw: float) -> int:
    """Load a thing at `position` (3,) m with heading `yaw` rad; return its id."""
    if thing is CUBE:
        return client.load(scene.ASSETS / "cube.urdf", position, yaw)
    body = client.solid(thing.shape, thing.size, thing.colour, MASS, position, yaw)
    client.api.changeDynamics(
        body,
        -1,
        lateralFriction=FRICTION,
        spinningFriction=SPINNING_FRICTION,
        rollingFriction=ROLLING_FRICTION,
    )
    return body
