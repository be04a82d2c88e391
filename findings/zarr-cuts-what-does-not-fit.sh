#!/usr/bin/env bash
# zarr 3.1.6: values that do not fit the place they are written to are cut to it, without an error.
#
# One would guess: as in NumPy and h5py, and in zarr 2, assigning an array of another shape than the selected one is
# an error, unless it can be broadcast.
#
# What happens: only what is too small is refused. What is too large is cut, in each axis. An episode of 12 steps
# written to rows 20 to 32 of an array that was made with 24 rows leaves 4 of them, although `episode_ends`, written
# beside it as in stores of diffusion policies, says 32; and an episode that begins beyond the end vanishes whole. A
# recorder whose arm has got a gripper writes actions of 7 numbers into an array of 6 and loses the gripper. zarr
# 2.18.7 raises a ValueError in each case.
#
# Output seen:
#     zarr 2.18.7: episode beyond the end ValueError, gripper ValueError
#     zarr 3.1.6: episode beyond the end 4 of 12 steps written, gripper 6 of 7 numbers written

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
cat >write.py <<'PYTHON'
import sys

import numpy as np
import zarr

data = zarr.open_group("store", mode="w")
create = data.create_array if hasattr(data, "create_array") else data.create_dataset
action = create("action", shape=(24, 6), chunks=(8, 6), dtype="f4", fill_value=0)


def write(rows, values):
    action[:] = 0
    try:
        action[rows] = values
    except ValueError:
        return None
    return action[:]


episode = np.arange(1.0, 73.0, dtype="f4").reshape(12, 6)
seen = write(slice(20, 32), episode)
beyond = "ValueError" if seen is None else f"{int((seen != 0).all(1).sum())} of 12 steps written"
assert seen is None or (np.array_equal(seen[20:], episode[:4]) and action.shape == (24, 6))
gripper = np.hstack([episode[:, :6], np.full((12, 1), 9.0, "f4")])
seen = write(slice(0, 12), gripper)
wide = "ValueError" if seen is None else f"{int((seen[:12] != 0).all(0).sum())} of 7 numbers written"
assert seen is None or np.array_equal(seen[:12], gripper[:, :6])
print(f"zarr {zarr.__version__}: episode beyond the end {beyond}, gripper {wide}")
try:
    np.zeros((24, 6), "f4")[20:32] = episode
except ValueError:
    pass
else:
    raise SystemExit("NumPy takes it")
assert (beyond, wide) == (
    ("ValueError", "ValueError")
    if zarr.__version__.startswith("2")
    else ("4 of 12 steps written", "6 of 7 numbers written")
)
PYTHON
install zarr==2.18.7 numcodecs==0.15.2 numpy==2.3.5
venv/bin/python write.py
install zarr==3.1.6 numcodecs==0.16.6 numpy==2.3.5
venv/bin/python write.py
