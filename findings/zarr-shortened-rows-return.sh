#!/usr/bin/env bash
# zarr 3.1.6: rows that an array was shortened by come back when it grows again.
#
# One would guess: after `resize` to fewer and then to more rows, the new rows hold the fill value, as in h5py.
#
# What happens: shortening deletes only chunks that lie wholly beyond the new end. The rest of the last chunk stays in
# the store, and is there again as soon as the array is long enough. A recorder that drops an aborted episode by
# shortening its arrays to the last good one, and later makes them longer for an episode that it fills step by step,
# finds the aborted episode's rewards and actions in the steps it has not filled, and in those it leaves out, such as
# the zeros of a sparse reward. zarr 2.18.7 does the same.
#
# Output seen, 20 rows in chunks of 8, ones, shortened to 10 and lengthened to 20:
#     zarr 3.1.6: 1 in rows 0 to 15, 0 in rows 16 to 19
#     h5py 3.16.0: 1 in rows 0 to 9, 0 in rows 10 to 19

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install zarr==3.1.6 numcodecs==0.16.6 numpy==2.4.6 h5py==3.16.0
venv/bin/python - <<'PYTHON'
import h5py
import numpy as np
import zarr


def say(name, rewards):
    values = rewards[:]
    ones = int(values.sum())
    assert np.array_equal(values, np.arange(20) < ones)
    print(f"{name}: 1 in rows 0 to {ones - 1}, 0 in rows {ones} to 19")
    return ones


rewards = zarr.open_group("store", mode="w").create_array(
    "reward", shape=(20,), chunks=(8,), dtype="f4", fill_value=0
)
rewards[:] = 1
rewards.resize((10,))
assert rewards.shape == (10,)
rewards.resize((20,))
assert say(f"zarr {zarr.__version__}", rewards) == 16
with h5py.File("store.hdf5", "w") as file:
    rewards = file.create_dataset("reward", (20,), "f4", chunks=(8,), maxshape=(None,))
    rewards[:] = 1
    rewards.resize((10,))
    rewards.resize((20,))
    assert say(f"h5py {h5py.__version__}", rewards) == 10
PYTHON
