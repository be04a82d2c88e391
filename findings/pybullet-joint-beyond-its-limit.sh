#!/usr/bin/env bash
# pybullet 3.2.7: a joint set more than 0.04 beyond its limit stays there, and one set less beyond is thrown across.
#
# One would guess: a joint that `resetJointState` puts beyond its limit, as a recorded or sampled state may, is pushed
# back to the limit by the first steps and stays there.
#
# What happens: up to 0.04 m (or rad) beyond, it is thrown back so hard that it passes through its whole range.
# Further out it stays where it is for ever, held against a push outwards and free to move inwards; within 0.04 it is
# thrown. Here a drawer without motor, of 1 kg, goes from 0 to 0.2 m and is left alone for 0.2 s, or pushed or pulled
# with 1 N.
#
# Output seen, place after 0.2 s:
#     set to 0.235: left alone 0.002, pushed out 0.007, pulled in 0.005
#     set to 0.239: left alone 0.003, pushed out 0.003, pulled in 0.000
#     set to 0.241: left alone 0.241, pushed out 0.241, pulled in 0.002
#     set to 0.300: left alone 0.300, pushed out 0.300, pulled in 0.280

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install pybullet==3.2.7 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import pybullet

ROBOT = """<robot name="cabinet">
<link name="base">
<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial></link>
<link name="drawer">
<inertial><mass value="1"/><inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>
<collision><geometry><box size="0.1 0.1 0.1"/></geometry></collision></link>
<joint name="slide" type="prismatic"><parent link="base"/><child link="drawer"/><axis xyz="1 0 0"/>
<limit lower="0" upper="0.2" effort="100" velocity="10"/></joint>
</robot>"""

pybullet.connect(pybullet.DIRECT)
with open("cabinet.urdf", "w") as file:
    file.write(ROBOT)


def leave(place, force):
    pybullet.resetSimulation()
    cabinet = pybullet.loadURDF("cabinet.urdf", useFixedBase=True)
    pybullet.setJointMotorControl2(cabinet, 0, pybullet.VELOCITY_CONTROL, force=0)
    pybullet.resetJointState(cabinet, 0, place)
    for _ in range(48):
        pybullet.setJointMotorControl2(cabinet, 0, pybullet.TORQUE_CONTROL, force=force)
        pybullet.stepSimulation()
    return pybullet.getJointState(cabinet, 0)[0]


for place in (0.235, 0.239, 0.241, 0.3):
    alone, out, back = leave(place, 0), leave(place, 1), leave(place, -1)
    print(f"set to {place:.3f}: left alone {alone:.3f}, pushed out {out:.3f}, pulled in {abs(back):.3f}")
    if place < 0.24:
        assert all(abs(end) < 0.02 for end in (alone, out, back))
    else:
        assert abs(alone - place) < 1e-9 and abs(out - place) < 1e-9
        assert abs(back) < 0.02 if place < 0.25 else 0.27 < back < 0.29
PYTHON
