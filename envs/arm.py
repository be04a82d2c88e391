"""The WidowX-250 arm: Cartesian moves by inverse kinematics, a latched gripper and a neutral pose."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cog.envs import scene
from cog.envs.bullet import Client
from cog.envs.physics.kinematics import joint_angles
from cog.envs.physics.motion import shares
from cog.envs.physics.settings import Physics

ARM_JOINTS = tuple(range(6))
FINGER_JOINTS = (6, 7)
TIP_LINK = 8
FINGER_OPEN = 0.035  # m, travel of one finger
# Joint angles from which inverse kinematics finds the branch with the elbow up and the gripper down.
SEED_ANGLES = (0.2, 0.0, 0.1, 0.0, 1.5, -1.4)
POINTING_DOWN = (0.0, np.pi / 2, np.pi / 2)  # roll, pitch, yaw; fingers open along x
POSITION_GAINS = [0.25] * len(ARM_JOINTS)
WRIST_CAMERA = scene.Camera(
    eye=(-0.05, 0.0, 0.09), target=(0.02, 0.0, 0.0), field=80.0, up=(-1.0, 0.0, 0.0), nearest=0.01
)
"""Fixed beside the fingers, so that it sees both tips and what lies between them; in the gripper's frame.

Its x points along the fingers, which open along y; z is the world's y while the gripper points down.
"""
COUPLING_ERP = 0.1  # share of a difference between the fingers that a substep corrects
CLOSE_SUBSTEPS = 40  # from open fingers to a firm grip
IK_ITERATIONS = 20
IK_RESIDUAL = 1e-4


class Arm:
    """A WidowX-250 in a PyBullet world; positions in m, rotations (roll, pitch, yaw) from pointing down."""

    def __init__(self, client: Client, workspace: scene.Workspace, physics: Physics) -> None:
        self._client = client
        self._workspace = workspace
        self._physics = physics
        self._body = client.load(scene.ASSETS / "widowx250.urdf", fixed=True)
        self._down = np.array(client.api.getQuaternionFromEuler(POINTING_DOWN))
        self._up = self._down * np.array([-1.0, -1.0, -1.0, 1.0])
        self.is_open = True
        if physics.coupling:
            self._couple_fingers()

    def place(self, position: np.ndarray) -> None:
        """Place the open gripper at `position` (3,) without simulating."""
        if not self._physics.exact:
            self._teleport(SEED_ANGLES)
        for _ in range(1 if self._physics.exact else 8):
            self._teleport(self._solve(position, self._down))
        for joint in FINGER_JOINTS:
            self._client.api.resetJointState(self._body, joint, FINGER_OPEN)
        self.is_open = True
        self._drive(self._angles())
        self._drive_fingers()

    def close_around(self, body: int) -> None:
        """Close the gripper, which was just placed, on a body between its fingers, without gravity."""
        self.is_open = False
        self._drive_fingers()
        api = self._client.api
        api.setGravity(0, 0, 0)
        self._client.step(CLOSE_SUBSTEPS)
        api.setGravity(0, 0, scene.GRAVITY)

    def neutral_angles(self) -> tuple[float, ...]:
        """The joint angles of the neutral pose; leaves the arm there."""
        self.place(self._workspace.neutral)
        return tuple(self._angles())

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Gripper centre (3,) and rotation relative to pointing down (3,)."""
        state = self._client.api.getLinkState(self._body, TIP_LINK, computeForwardKinematics=1)
        api = self._client.api
        _, relative = api.multiplyTransforms((0, 0, 0), state[5], (0, 0, 0), self._up)
        return np.array(state[4]), np.array(api.getEulerFromQuaternion(relative))

    def wrist_camera(self) -> scene.Camera:
        """The camera beside the fingers, where the gripper has carried it; in the frame of the world."""
        api = self._client.api
        state = api.getLinkState(self._body, TIP_LINK, computeForwardKinematics=1)
        axes = np.array(api.getMatrixFromQuaternion(state[5])).reshape(3, 3)
        eye, target = (np.array(state[4]) + axes @ point for point in (WRIST_CAMERA.eye, WRIST_CAMERA.target))
        return replace(WRIST_CAMERA, eye=tuple(eye), target=tuple(target), up=tuple(axes @ WRIST_CAMERA.up))

    def opening(self) -> float:
        """Opening of the fingers, from 0 (closed) to 1 (open)."""
        states = self._client.api.getJointStates(self._body, FINGER_JOINTS)
        return float(sum(state[0] for state in states) / (2 * FINGER_OPEN))

    def goal(self, position: np.ndarray, rotation: np.ndarray) -> tuple[float, ...]:
        """Joint angles (6,) of the pose nearest to this one within the workspace."""
        api = self._client.api
        target = np.clip(position, self._workspace.low, self._workspace.high)
        turn = np.clip(rotation, -scene.ROTATION_LIMIT, scene.ROTATION_LIMIT)
        _, orientation = api.multiplyTransforms(
            (0, 0, 0), api.getQuaternionFromEuler(turn.tolist()), (0, 0, 0), self._down
        )
        return self._solve(target, orientation)

    def travel(self, angles: tuple[float, ...], substeps: int, still: int = 0) -> None:
        """Simulate a movement to joint angles (6,) in so many substeps, and `still` more at its end."""
        if not self._physics.exact:
            self._drive(angles)
            self._client.step(substeps + still)
            return
        begin = np.array(self._angles())
        way = np.array(angles) - begin
        for travelled, more in shares(substeps - 1):
            speed = way * (more / scene.TIME_STEP)
            self._drive((begin + travelled * way).tolist(), speed.tolist())
            self._client.step(1)
        self._drive(angles)
        self._client.step(1 + still)

    def grip(self, open_gripper: bool) -> bool:
        """Latch the gripper open or closed; return whether that changes it."""
        changed = open_gripper != self.is_open
        self.is_open = open_gripper
        self._drive_fingers()
        return changed

    def _angles(self) -> list[float]:
        return [state[0] for state in self._client.api.getJointStates(self._body, ARM_JOINTS)]

    def _solve(self, position: np.ndarray, orientation: np.ndarray) -> tuple[float, ...]:
        if self._physics.exact:
            axes = self._client.api.getMatrixFromQuaternion(orientation)
            return joint_angles(position, np.array(axes).reshape(3, 3))
        solution = self._client.api.calculateInverseKinematics(
            self._body,
            TIP_LINK,
            position.tolist(),
            orientation,
            maxNumIterations=IK_ITERATIONS,
            residualThreshold=IK_RESIDUAL,
        )
        return tuple(solution[: len(ARM_JOINTS)])

    def _teleport(self, angles: tuple[float, ...]) -> None:
        for joint, angle in zip(ARM_JOINTS, angles, strict=True):
            self._client.api.resetJointState(self._body, joint, angle)

    def _drive(self, angles: Sequence[float], speeds: Sequence[float] = (0.0,) * len(ARM_JOINTS)) -> None:
        api = self._client.api
        api.setJointMotorControlArray(
            self._body,
            ARM_JOINTS,
            api.POSITION_CONTROL,
            targetPositions=angles,
            targetVelocities=speeds,
            forces=self._physics.arm_forces,
            positionGains=POSITION_GAINS,
        )

    def _drive_fingers(self) -> None:
        api = self._client.api
        target = FINGER_OPEN if self.is_open else 0.0
        api.setJointMotorControlArray(
            self._body,
            FINGER_JOINTS,
            api.POSITION_CONTROL,
            targetPositions=[target, target],
            forces=[self._physics.finger_force, self._physics.finger_force],
        )

    def _couple_fingers(self) -> None:
        """Let the fingers move alike, as a gripper's gear does: a held object stays in the middle."""
        api, origin = self._client.api, [0, 0, 0]
        left, right = FINGER_JOINTS
        gear = api.createConstraint(
            self._body, left, self._body, right, api.JOINT_GEAR, [0, 1, 0], origin, origin
        )
        api.changeConstraint(gear, gearRatio=-1, erp=COUPLING_ERP, maxForce=self._physics.coupling)
