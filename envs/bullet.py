"""One headless PyBullet world, closed exactly once, with its software camera."""

import importlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cog.envs import scene
from cog.envs.physics.settings import V0, Physics
from cog.envs.scene import Camera


def _without_a_word(name: str) -> Any:
    """A module whose C code writes a line about its build to standard error; errors are raised as ever."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        return importlib.import_module(name)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        return importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


pybullet = _without_a_word("pybullet")
BulletClient: Any = _without_a_word("pybullet_utils.bullet_client").BulletClient


class OneWorld:
    """Base of what holds a world: no copies, for two objects would control, and close, the same world."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse `copy.copy`, `copy.deepcopy` and `pickle`."""
        raise TypeError("a PyBullet world cannot be copied or pickled. Build the environment again")


class Connection(OneWorld, BulletClient):
    """PyBullet's functions bound to one DIRECT connection; each is bound once, at its first use."""

    def __init__(self) -> None:
        self._shapes: dict[int, int] = {}
        self._pid = os.getpid()
        self._client = pybullet.connect(pybullet.DIRECT)

    def __getattr__(self, name: str) -> Any:
        attribute = super().__getattr__(name)
        if name != "disconnect":
            setattr(self, name, attribute)
        return attribute

    @property
    def is_open(self) -> bool:
        """Whether the connection has not been closed."""
        return bool(self._client >= 0)


LIGHT: Mapping[str, Any] = {
    "lightDirection": [-50.0, 30.0, 100.0],
    "lightColor": [1.0, 1.0, 1.0],
    "lightAmbientCoeff": 0.6,
    "lightDiffuseCoeff": 0.35,
    "lightSpecularCoeff": 0.05,
}
"""The software renderer's own light; it keeps the last one it was given, even when the world is emptied."""
FARTHEST = 2.0  # m, beyond which no camera sees anything
TOLD = "COG_TOLD_OF_SLOW_PICTURES"  # in the environment, which workers inherit


def warn_of_slow_pictures() -> None:
    """Say that pictures come as tuples of numbers, and what helps; once in a process and those it starts.

    pip's cache may hold a PyBullet that was built without NumPy, hence `--no-cache-dir`.
    """
    if TOLD in os.environ:
        return
    os.environ[TOLD] = "1"
    warnings.warn(
        "this PyBullet was built without NumPy: pictures are right, but copied number by number, slowly. "
        "Build it anew: pip install numpy setuptools wheel && pip install --force-reinstall --no-deps "
        "--no-cache-dir --no-build-isolation --no-binary pybullet pybullet",
        stacklevel=3,
    )


class Client(OneWorld):
    """A private PyBullet connection without a display or OpenGL."""

    def __init__(self, camera: Camera, physics: Physics = V0) -> None:
        self.api = Connection()
        self._camera = camera
        self._physics = physics
        if not pybullet.isNumpyEnabled():
            warn_of_slow_pictures()
        self._projections: dict[tuple[float, float, float], Any] = {}
        self.aim(camera)
        self._light = dict(LIGHT)

    def rebuild(self) -> None:
        """Empty the world, so that what follows does not depend on what came before."""
        self.api.resetSimulation()
        self.api.setTimeStep(scene.TIME_STEP)
        self.api.setPhysicsEngineParameter(
            numSolverIterations=self._physics.solver_iterations, deterministicOverlappingPairs=1
        )
        if self._physics.contact_erp is not None:
            self.api.setPhysicsEngineParameter(contactERP=self._physics.contact_erp)
        self.api.setGravity(0, 0, scene.GRAVITY)
        self.aim(self._camera)
        self._light = dict(LIGHT)

    def aim(self, camera: Camera) -> None:
        """Use this camera until the world is rebuilt."""
        self._aimed = camera
        self._view = self._view_of(camera)

    def light(self, direction: np.ndarray, colour: np.ndarray) -> None:
        """Light from `direction` (3,), of `colour` (3,), until the world is rebuilt."""
        self._light |= {"lightDirection": direction.tolist(), "lightColor": colour.tolist()}

    def load(
        self,
        urdf: Path,
        position: np.ndarray | None = None,
        yaw: float = 0.0,
        fixed: bool = False,
    ) -> int:
        """Load a body at `position` (3,) m with heading `yaw` rad; return its id."""
        place = [0.0, 0.0, 0.0] if position is None else position.tolist()
        turn = self.api.getQuaternionFromEuler((0, 0, yaw))
        flags = pybullet.URDF_USE_INERTIA_FROM_FILE if self._physics.inertias_of_files else 0
        return int(self.api.loadURDF(str(urdf), place, turn, useFixedBase=fixed, flags=flags))

    def solid(
        self,
        shape: str,
        size: tuple[float, float, float],
        colour: tuple[float, float, float],
        mass: float,
        position: np.ndarray,
        yaw: float = 0.0,
    ) -> int:
        """Load a `box`, `cylinder` or `sphere` of `size` (m); with mass 0 (kg) it never moves."""
        half = [length / 2 for length in size]
        kind: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
            "box": (self.api.GEOM_BOX, {"halfExtents": half}, {"halfExtents": half}),
            "cylinder": (
                self.api.GEOM_CYLINDER,
                {"radius": half[0], "height": size[2]},
                {"radius": half[0], "length": size[2]},
            ),
            "sphere": (self.api.GEOM_SPHERE, {"radius": half[0]}, {"radius": half[0]}),
        }
        geometry, solid, visible = kind[shape]
        return int(
            self.api.createMultiBody(
                mass,
                self.api.createCollisionShape(geometry, **solid),
                self.api.createVisualShape(geometry, rgbaColor=[*colour, 1], **visible),
                position.tolist(),
                self.api.getQuaternionFromEuler((0, 0, yaw)),
            )
        )

    def position(self, body: int) -> np.ndarray:
        """Centre of a body, (3,) m."""
        return np.array(self.api.getBasePositionAndOrientation(body)[0])

    def pose(self, body: int) -> tuple[np.ndarray, np.ndarray]:
        """Centre (3,) m and quaternion (4,) of a body."""
        position, quaternion = self.api.getBasePositionAndOrientation(body)
        return np.array(position), np.array(quaternion)

    def overlap(self) -> float:
        """How deep the two bodies that overlap most lie in each other, m."""
        self.api.performCollisionDetection()
        return -min((float(contact[8]) for contact in self.api.getContactPoints()), default=0.0)

    def step(self, substeps: int) -> None:
        """Advance the simulation by a number of substeps of `scene.TIME_STEP` s."""
        for _ in range(substeps):
            self.api.stepSimulation()

    def image(self, height: int, width: int, camera: Camera | None = None) -> np.ndarray:
        """What a camera sees, by default the scene's own, (height, width, 3) uint8 RGB.

        From the software renderer, all under the same light.
        """
        seen_by = self._aimed if camera is None else camera
        key = (seen_by.field, width / height, seen_by.nearest)
        if key not in self._projections:
            self._projections[key] = self.api.computeProjectionMatrixFOV(*key, FARTHEST)
        pixels = self.api.getCameraImage(
            width,
            height,
            self._view if camera is None else self._view_of(camera),
            self._projections[key],
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
            **self._light,
        )[2]
        # A tuple of height * width * 4 numbers where PyBullet was built without NumPy.
        image = np.asarray(pixels, dtype=np.uint8).reshape(height, width, 4)
        rgb: np.ndarray = cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)
        return rgb

    def _view_of(self, camera: Camera) -> Any:
        return self.api.computeViewMatrix(camera.eye, camera.target, camera.up)

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self.api.is_open:
            self.api.disconnect()
