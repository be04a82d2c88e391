#!/usr/bin/env bash
# d3rlpy 2.8.1: a dataset of continuous actions is loaded as one of discrete actions if its first episode holds whole
# numbers only.
#
# One would guess: a dataset built with `action_space=ActionSpace.CONTINUOUS` and dumped is loaded as continuous;
# actions of two numbers are no discrete ones anyway.
#
# What happens: the file does not hold the action space. `load` guesses it from the first episode: if each number in
# it is whole, as in an episode of full throttle or of a gripper that opens and closes, all of the dataset is
# discrete, whatever the actions' shape and the other episodes, and the number of actions is the largest value,
# rounded down, plus one. `load` has no argument to say otherwise. An algorithm for continuous actions refuses what it
# would have trained on before the dump.
#
# Output seen:
#     built: CONTINUOUS, 2 numbers an action
#     loaded: DISCRETE, 2 actions
#     loaded with 0.5 as first number: CONTINUOUS, 2 numbers an action

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
venv/bin/python -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
import logging

import d3rlpy
import numpy as np
import structlog
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import InfiniteBuffer, MDPDataset, ReplayBuffer

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def reload(first):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (40, 2)).astype("float32")
    actions[:10] = np.sign(actions[:10])
    actions[0, 0] = first
    terminals = np.arange(40) % 10 == 9
    built = MDPDataset(
        rng.normal(size=(40, 3)).astype("float32"),
        actions,
        np.zeros(40, "float32"),
        terminals.astype("float32"),
        action_space=ActionSpace.CONTINUOUS,
    )
    with open("dataset.h5", "w+b") as file:
        built.dump(file)
    with open("dataset.h5", "rb") as file:
        loaded = ReplayBuffer.load(file, InfiniteBuffer())
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(built.episodes, loaded.episodes))
    return built.dataset_info, loaded.dataset_info


def say(info):
    unit = "actions" if info.action_space is ActionSpace.DISCRETE else "numbers an action"
    return f"{info.action_space.name}, {info.action_size} {unit}"


built, loaded = reload(1.0)
print("built:", say(built))
print("loaded:", say(loaded))
assert (built.action_space, built.action_size) == (ActionSpace.CONTINUOUS, 2)
assert (loaded.action_space, loaded.action_size) == (ActionSpace.DISCRETE, 2)
try:
    with open("dataset.h5", "rb") as file:
        dataset = ReplayBuffer.load(file, InfiniteBuffer())
    d3rlpy.algos.BCConfig().create().fit(dataset, n_steps=1, n_steps_per_epoch=1, show_progress=False)
except AssertionError:
    pass
else:
    raise SystemExit("BC trains on it")
built, loaded = reload(0.5)
print("loaded with 0.5 as first number:", say(loaded))
assert built == loaded
PYTHON
