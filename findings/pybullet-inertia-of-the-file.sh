#!/usr/bin/env bash
# pybullet 3.2.7: the inertia that a URDF gives is not used, and a link without collision shape has next to none.
#
# One would guess: a link moves with the mass and the inertia of its `<inertial>` element; if anything is made up,
# then for links that have none.
#
# What happens: `loadURDF` takes the mass and computes the inertia anew from the collision shapes. Where a link has
# none, as links of an arm that can touch nothing often do, each moment is the mass times 6.7e-7, that of a ball of
# 1.3 mm, whatever the file says. Nothing warns. `URDF_USE_INERTIA_FROM_FILE` makes the file's numbers hold. Here a
# wrist of 2 kg is turned by 1 mN m for 0.1 s: it turns at 75 rad/s instead of 0.01.
#
# Output seen:
#     no collision shape: moment 1.33e-06, turns at 75.0000 rad/s
#     no collision shape, inertia from the file: moment 1.00e-02, turns at 0.0100 rad/s
#     collision shape: moment 9.63e-03, turns at 0.0104 rad/s
#     collision shape, inertia from the file: moment 1.00e-02, turns at 0.0100 rad/s

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install pybullet==3.2.7 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import pybullet

BOX = '<geometry><box size="0.17 0.17 0.17"/></geometry>'
INERTIA = '<inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/>'
ROBOT = f"""<robot name="robot">
<link name="base"><inertial><mass value="1"/>{INERTIA}</inertial></link>
<link name="wrist"><inertial><mass value="2"/>{INERTIA}</inertial><visual>{BOX}</visual>SHAPE</link>
<joint name="turn" type="continuous"><parent link="base"/><child link="wrist"/><axis xyz="0 0 1"/></joint>
</robot>"""

pybullet.connect(pybullet.DIRECT)


def turn(shape, flags):
    pybullet.resetSimulation()
    with open("robot.urdf", "w") as file:
        file.write(ROBOT.replace("SHAPE", f"<collision>{BOX}</collision>" if shape else ""))
    pybullet.setPhysicsEngineParameter(enableFileCaching=0)
    robot = pybullet.loadURDF("robot.urdf", useFixedBase=True, flags=flags)
    pybullet.changeDynamics(robot, 0, linearDamping=0, angularDamping=0, jointDamping=0)
    pybullet.setJointMotorControl2(robot, 0, pybullet.VELOCITY_CONTROL, force=0)
    for _ in range(24):
        pybullet.setJointMotorControl2(robot, 0, pybullet.TORQUE_CONTROL, force=0.001)
        pybullet.stepSimulation()
    mass, _, moments = pybullet.getDynamicsInfo(robot, 0)[:3]
    assert mass == 2
    return moments[2], pybullet.getJointState(robot, 0)[1]


seen = {}
for shape in (False, True):
    for flags in (0, pybullet.URDF_USE_INERTIA_FROM_FILE):
        moment, speed = seen[shape, bool(flags)] = turn(shape, flags)
        name = ("collision shape" if shape else "no collision shape") + (", inertia from the file" if flags else "")
        print(f"{name}: moment {moment:.2e}, turns at {speed:.4f} rad/s")
assert abs(seen[False, False][0] / 2 - 6.667e-7) < 1e-9 and abs(seen[False, False][1] - 75) < 0.1
for moment, speed in (seen[False, True], seen[True, True]):
    assert abs(moment - 0.01) < 1e-9 and abs(speed - 0.01) < 1e-4
assert abs(seen[True, False][0] - 2 * 0.17**2 / 6) < 1e-6
PYTHON
