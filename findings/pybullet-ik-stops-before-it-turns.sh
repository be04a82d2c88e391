#!/usr/bin/env bash
# pybullet 3.2.7: asked to turn a hand on the spot, inverse kinematics stops after one iteration, 129 mm off.
#
# One would guess: `calculateInverseKinematics` with a position and an orientation iterates until both are reached within
# `residualThreshold`, or `maxNumIterations` are done.
#
# What happens: only the position is compared, and with the pose in which the arm stands when it is asked. Where the hand
# is there already and only has to turn, one iteration is made, whatever the limit; its answer has turned the hand by
# about three quarters and moved it. Ask for a place 0.01 mm away, and the same call converges. Here an arm of seven
# joints that comes with the package turns its hand by 0.1 and 0.5 rad about the vertical.
#
# Output seen:
#     turn 0.1 rad, move 0.00 mm: after at most 1000 iterations 25.79 mm and 0.0271 rad off
#     turn 0.1 rad, move 0.01 mm: after at most 1000 iterations 0.00 mm and 0.0000 rad off
#     turn 0.5 rad, move 0.00 mm: after at most 1000 iterations 128.65 mm and 0.1365 rad off
#     turn 0.5 rad, move 0.01 mm: after at most 1000 iterations 0.00 mm and 0.0000 rad off

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install pybullet==3.2.7 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import math

import numpy as np
import pybullet
import pybullet_data

HAND = 6
BENT = (0.0, 0.5, 0.0, -1.2, 0.0, 0.8, 0.0)  # rad

pybullet.connect(pybullet.DIRECT)
arm = pybullet.loadURDF(f"{pybullet_data.getDataPath()}/kuka_iiwa/model.urdf", useFixedBase=True)


def pose(angles):
    """Place of the hand (m) and its orientation, with these joint angles."""
    for joint, angle in enumerate(angles):
        pybullet.resetJointState(arm, joint, angle)
    state = pybullet.getLinkState(arm, HAND, computeForwardKinematics=True)
    return np.array(state[4]), state[5]


def miss(turn, shift, iterations):
    """How far the answer is off, in mm and rad."""
    place, orientation = pose(BENT)
    place = place + [shift / 1000, 0, 0]
    about = pybullet.getQuaternionFromEuler((0, 0, turn))
    _, wanted = pybullet.multiplyTransforms((0, 0, 0), about, (0, 0, 0), orientation)
    options = {"maxNumIterations": iterations, "residualThreshold": 1e-6}
    answer = pybullet.calculateInverseKinematics(arm, HAND, place.tolist(), wanted, **options)
    there, turned = pose(answer)
    rest = pybullet.getDifferenceQuaternion(wanted, turned)
    return 1000 * float(np.linalg.norm(there - place)), 2 * math.acos(min(1.0, abs(rest[3])))


for turn in (0.1, 0.5):
    for shift in (0.0, 0.01):
        apart, twisted = miss(turn, shift, 1000)
        print(
            f"turn {turn} rad, move {shift:.2f} mm: after at most 1000 iterations {apart:.2f} mm and "
            f"{twisted:.4f} rad off"
        )
        if shift:
            assert apart < 0.1 and twisted < 0.001
        else:
            assert apart > 200 * turn and twisted > 0.2 * turn
            assert (apart, twisted) == miss(turn, shift, 1)
PYTHON
