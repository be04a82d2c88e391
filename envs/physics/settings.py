"""The physics of each version of the scenes; all else is shared, so versions differ in this alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Physics:
    """How one version of the scenes simulates."""

    substeps: int
    """Substeps of `scene.TIME_STEP` s that an action lasts."""
    arm_forces: tuple[float, ...]
    """Largest force of each motor of the arm (N m)."""
    finger_force: float
    """Largest force of each finger's motor (N)."""
    solver_iterations: int
    """Largest number of iterations of the solver in a substep; it ends when nothing changes any more."""
    contact_erp: float | None
    """Share of a contact's depth that a substep corrects; None: PyBullet's own."""
    coupling: float
    """Largest force of the gear that moves both fingers alike (N); 0: they move independently."""
    exact: bool
    """Whether an action moves the gripper as far as it says (`kinematics`, `motion`)."""
    inertias_of_files: bool
    """Whether bodies have the inertias that their files give, not ones of their collision shapes."""
    apart: bool
    """Whether starts lay nothing out inside something else (`placement`)."""
    losses_end: bool
    """Whether an object that has left the table ends the episode."""


V0 = Physics(
    substeps=10,  # 24 actions a second, as in the paper
    arm_forces=(60.0, 60.0, 40.0, 20.0, 20.0, 12.0),
    finger_force=30.0,
    solver_iterations=40,
    contact_erp=None,
    coupling=0.0,
    exact=False,
    inertias_of_files=False,
    apart=False,
    losses_end=False,
)
"""Version 0, which data collected with it can be compared with, bit for bit."""

V1 = Physics(
    substeps=20,  # 12 actions a second: what 50 mm take with the motors of the real arm
    arm_forces=(10.0, 20.0, 15.0, 5.0, 5.0, 2.0),  # the efforts of the arm's file
    finger_force=10.0,  # of the file's 20, which press light objects deeper into the fingers
    solver_iterations=120,  # with 40 a held object creeps
    contact_erp=0.4,
    coupling=50.0,
    exact=True,
    inertias_of_files=True,
    apart=True,
    losses_end=True,
)
"""Version 1: what an action, a start and a grasp say is what happens."""
