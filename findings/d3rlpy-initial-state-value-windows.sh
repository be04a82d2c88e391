#!/usr/bin/env bash
# d3rlpy 2.8.1: InitialStateValueEstimationEvaluator averages over states in the middle of long episodes too.
#
# One would guess: the mean value of the first state of each episode, as name and documentation say.
#
# What happens: an episode is read in pieces of 1,024 transitions, and the first state of each piece counts as an
# initial one. Up to 1,024 transitions in an episode the result is right. For a single episode of 3,000 steps in which
# the value of a state is its number, it is the mean of 0, 1024 and 2048. Figures of tasks with longer episodes
# therefore do not estimate the return from the start.
#
# Output seen:
#     episode of 1000 steps: 0.0
#     episode of 3000 steps: 1024.0

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

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


class Numbered:
    # A policy of zeros and a value that equals the state.

    def predict(self, x):
        return np.zeros((len(x), 1), "float32")

    def predict_value(self, x, action):
        return x[:, 0]


def estimate(steps):
    dataset = d3rlpy.dataset.MDPDataset(
        observations=np.arange(steps, dtype="float32").reshape(-1, 1),
        actions=np.full((steps, 1), 0.5, "float32"),
        rewards=np.zeros(steps, "float32"),
        terminals=(np.arange(steps) == steps - 1).astype("float32"),
    )
    return d3rlpy.metrics.InitialStateValueEstimationEvaluator()(Numbered(), dataset)


short, long = estimate(1000), estimate(3000)
print(f"episode of 1000 steps: {short}")
print(f"episode of 3000 steps: {long}")
assert short == 0.0
assert long == (0 + 1024 + 2048) / 3
PYTHON
