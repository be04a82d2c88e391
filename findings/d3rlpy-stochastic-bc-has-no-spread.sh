#!/usr/bin/env bash
# d3rlpy 2.8.1: behaviour cloning with a stochastic policy learns a spread of zero, and its samples are means.
#
# One would guess: `BCConfig(policy_type="stochastic")` fits a Gaussian policy by its likelihood, so that it learns how
# far the data's actions spread, and `sample_action` draws from it.
#
# What happens: the loss is the squared error of a single draw. Noise only raises it, so training shrinks the standard
# deviation without end, whatever the spread of the data. `sample_action` returns the mean, as `predict` does. The
# stochastic policy is a deterministic one that trains on noisier gradients.
#
# Output seen:
#     standard deviation of the data's actions 0.395, of the policy 1.225 at first and 0.018 after 600 updates
#     standard deviation of 50 sampled actions in one state: 0.000

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
steps = 2000
actions = rng.normal(0.0, 0.4, (steps, 1)).clip(-1, 1).astype("float32")
dataset = d3rlpy.dataset.MDPDataset(
    observations=np.zeros((steps, 1), "float32"),
    actions=actions,
    rewards=np.zeros(steps, "float32"),
    terminals=(np.arange(steps) == steps - 1).astype("float32"),
)
d3rlpy.seed(1)
clone = d3rlpy.algos.BCConfig(batch_size=256, policy_type="stochastic").create()
clone.build_with_dataset(dataset)


def spread():
    with torch.no_grad():
        return clone.impl.policy(torch.zeros(1, 1)).logstd.exp().item()


before = spread()
clone.fit(
    dataset,
    n_steps=600,
    n_steps_per_epoch=600,
    logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    show_progress=False,
)
sampled = clone.sample_action(np.zeros((50, 1), "float32")).std()
print(
    f"standard deviation of the data's actions {actions.std():.3f}, of the policy {before:.3f} at first "
    f"and {spread():.3f} after 600 updates"
)
print(f"standard deviation of 50 sampled actions in one state: {sampled:.3f}")
assert actions.std() > 0.35
assert spread() < 0.1 * actions.std()
assert sampled < 1e-5
PYTHON
