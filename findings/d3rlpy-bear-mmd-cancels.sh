#!/usr/bin/env bash
# d3rlpy 2.8.1: BEAR's distance to the data does not move its policy once the warm-up is over.
#
# One would guess: the actor minimises SAC's loss plus alpha times (MMD - threshold), so that a larger multiplier alpha
# holds the policy closer to the data.
#
# What happens: an update of the actor first takes a step of alpha, whose loss is minus the MMD's term. Its backward
# pass runs through the policy as well and leaves gradients there that nothing clears; the actor's loss then adds the
# same term with the opposite sign. The two cancel. On the same batch and from the same weights, the policy's gradient
# after the warm-up is the same for alpha = 0.01 and alpha = 100, while it grows 10,000-fold during the warm-up, which
# skips the step of alpha. Nothing warns, and alpha and the MMD's loss appear in the log as though they took part.
#
# Output seen:
#     warm-up: gradient's norm 0.002164 for alpha 0.01, 21.64 for alpha 100
#     afterwards: gradient's norm 1.413 for alpha 0.01, 1.413 for alpha 100, relative difference 3.9e-07

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
steps = 400
dataset = d3rlpy.dataset.MDPDataset(
    observations=rng.normal(size=(steps, 3)).astype("float32"),
    actions=rng.uniform(-1, 1, (steps, 2)).astype("float32"),
    rewards=rng.normal(size=steps).astype("float32"),
    terminals=(np.arange(steps) % 50 == 49).astype("float32"),
)
np.random.seed(0)
batch = dataset.sample_transition_batch(64)


def gradient(alpha, warm_up):
    d3rlpy.seed(1)
    bear = d3rlpy.algos.BEARConfig(initial_alpha=alpha, warmup_steps=warm_up).create()
    bear.build_with_dataset(dataset)
    bear.update(batch)
    return torch.cat([weight.grad.flatten() for weight in bear.impl.policy.parameters()])


low, high = gradient(0.01, warm_up=1), gradient(100.0, warm_up=1)
print(f"warm-up: gradient's norm {low.norm():.4g} for alpha 0.01, {high.norm():.4g} for alpha 100")
assert 9_900 < high.norm() / low.norm() < 10_100

low, high = gradient(0.01, warm_up=0), gradient(100.0, warm_up=0)
difference = (high - low).norm() / low.norm()
print(
    f"afterwards: gradient's norm {low.norm():.4g} for alpha 0.01, {high.norm():.4g} for alpha 100, "
    f"relative difference {difference:.1e}"
)
assert difference < 1e-4
PYTHON
