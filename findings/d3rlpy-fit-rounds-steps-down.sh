#!/usr/bin/env bash
# d3rlpy 2.8.1: `fit` drops the steps that do not fill an epoch; with few steps it trains nothing and says nothing.
#
# One would guess: `fit(dataset, n_steps=5000)` makes 5,000 updates.
#
# What happens: it runs n_steps // n_steps_per_epoch whole epochs, and n_steps_per_epoch is 10,000 by default. 5,000
# steps are none at all: the call returns normally, with untrained weights. 250 steps in epochs of 100 are 200.
#
# Output seen:
#     5000 steps asked for, default epochs: 0 updates, weights changed: False
#     250 steps asked for, epochs of 100: 200 updates, weights changed: True

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install torch==2.13.0
install --no-deps d3rlpy==2.8.1
install click==8.5.1 colorama==0.4.6 dataclasses-json==0.6.7 gym==0.26.2 gymnasium==1.0.0 h5py==3.16.0 \
    numpy==2.4.6 scikit-learn==1.9.1 structlog==26.1.0 tqdm==4.70.1
venv/bin/python -W ignore - <<'PYTHON'
import logging

import d3rlpy
import numpy as np
import structlog
import torch

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
torch.set_num_threads(1)
rng = np.random.default_rng(0)
steps = 100
dataset = d3rlpy.dataset.MDPDataset(
    observations=rng.normal(size=(steps, 2)).astype("float32"),
    actions=rng.uniform(-1, 1, (steps, 1)).astype("float32"),
    rewards=np.zeros(steps, "float32"),
    terminals=(np.arange(steps) == steps - 1).astype("float32"),
)


def fit(**arguments):
    clone = d3rlpy.algos.BCConfig(batch_size=8).create()
    clone.build_with_dataset(dataset)
    before = clone.predict(dataset.episodes[0].observations)
    clone.fit(dataset, logger_adapter=d3rlpy.logging.NoopAdapterFactory(), show_progress=False, **arguments)
    return clone.grad_step, not np.array_equal(clone.predict(dataset.episodes[0].observations), before)


updates, changed = fit(n_steps=5000)
print(f"5000 steps asked for, default epochs: {updates} updates, weights changed: {changed}")
assert (updates, changed) == (0, False)

updates, changed = fit(n_steps=250, n_steps_per_epoch=100)
print(f"250 steps asked for, epochs of 100: {updates} updates, weights changed: {changed}")
assert (updates, changed) == (200, True)
PYTHON
