"""Randomisation of what a policy should not depend on: lighting, camera and friction; off by default."""

from dataclasses import replace

import numpy as np

from cog.envs.bullet import Client
from cog.envs.scene import Camera

LIGHT_SPREAD = 0.6  # sideways part of the light's direction, next to 1 upwards
LIGHT_RANGE = (0.75, 1.1)  # brightness of each colour
CAMERA_SPREAD = 0.012  # m, standard deviation of the camera's position and of its target
FRICTION_RANGE = (0.6, 1.5)  # factor on the object's lateral friction
RANDOMISATIONS = ("lighting", "camera", "friction")
"""Values of the option `randomise` of a scene; all draws follow from the episode's seed."""


def randomise_lighting(client: Client, camera: Camera, rng: np.random.Generator) -> None:
    """Draw the direction and colour of the light."""
    direction = np.array([0.0, 0.0, 1.0]) + LIGHT_SPREAD * rng.uniform(-1, 1, 3) * [1, 1, 0]
    client.light(direction, rng.uniform(*LIGHT_RANGE, 3))


def randomise_camera(client: Client, camera: Camera, rng: np.random.Generator) -> None:
    """Move the scene's camera and its target by about a centimetre; the one at the wrist is bolted on."""
    eye, target = (
        np.array(point) + CAMERA_SPREAD * rng.standard_normal(3) for point in (camera.eye, camera.target)
    )
    client.aim(replace(camera, eye=tuple(eye), target=tuple(target)))


def randomise_friction(client: Client, body: int, rng: np.random.Generator) -> None:
    """Make a body more or less slippery."""
    friction = client.api.getDynamicsInfo(body, -1)[1]
    client.api.changeDynamics(body, -1, lateralFriction=friction * float(rng.uniform(*FRICTION_RANGE)))
