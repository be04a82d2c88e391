#!/usr/bin/env bash
# robomimic 0.3.0: what is repeated to fill up the last sequences of a demonstration counts as recorded.
#
# One would guess: at the end of a demonstration an n-step return ends with it, and a loss leaves out the steps that
# were only added to make all sequences equally long.
#
# What happens: the last step is repeated, with its reward and its action, and nothing tells the copies from the
# original, for the training script asks for no mask. With `n_step` 3 a demonstration that is rewarded with 1 for
# success at its last step has returns of 1.97 and 2.97 in its last two steps, more than any policy can get, in CQL as
# in BCQ (whose default is `n_step` 1). Cloned by a recurrent network in sequences of 10, the default, a demonstration
# of 50 steps gives the last action 55 of 500 targets, where each other one from the tenth on has 10.
#
# Output seen:
#     cql: returns of the last three steps 0.980 1.970 2.970 instead of 0.980 0.990 1.000
#     bcq: returns of the last three steps 0.980 1.970 2.970 instead of 0.980 0.990 1.000
#     bc with a recurrent network: the last action is the target 55 times, the one before 10 times

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install torch==2.13.0
install --no-deps robomimic==0.3.0 torchvision==0.16.2
install h5py==3.16.0 imageio==2.38.1 matplotlib==3.11.2 numpy==2.4.6 psutil==7.2.2 requests==2.34.2 scipy==1.17.1 \
    six==1.17.0 tensorboard==2.21.0 tensorboardX==2.6.5 termcolor==3.3.0 tqdm==4.70.1
venv/bin/python -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
import contextlib
import io
from collections import OrderedDict

import h5py
import numpy as np
import torch

with contextlib.redirect_stdout(io.StringIO()):
    import robomimic.utils.obs_utils as ObsUtils
    from robomimic.algo import algo_factory
    from robomimic.config import config_factory
    from robomimic.utils.train_utils import dataset_factory

STEPS = 50
with h5py.File("demonstration.hdf5", "w") as file:
    demo = file.create_group("data/demo_0")
    demo.attrs["num_samples"] = file["data"].attrs["total"] = STEPS
    demo["obs/state"] = np.arange(STEPS, dtype="float32")[:, None]
    demo["next_obs/state"] = np.arange(1, STEPS + 1, dtype="float32")[:, None]
    demo["actions"] = np.linspace(-1, 1, STEPS, dtype="float32")[:, None]
    demo["rewards"] = demo["dones"] = (np.arange(STEPS) == STEPS - 1).astype("float32")


def batch(name, **settings):
    config = config_factory(name)
    with config.values_unlocked():
        config.train.data = "demonstration.hdf5"
        config.observation.modalities.obs.low_dim = ["state"]
        config.observation.modalities.obs.rgb = []
        for key, value in settings.items():
            part, field = key.split("__")
            config[part][field] = value
        if name == "bc":
            config.algo.rnn.enabled = True
    with contextlib.redirect_stdout(io.StringIO()):
        ObsUtils.initialize_obs_utils_with_config(config)
        algorithm = algo_factory(name, config, OrderedDict(state=[1]), 1, torch.device("cpu"))
        dataset = dataset_factory(config, obs_keys=["state"])
    assert len(dataset) == STEPS
    whole = next(iter(torch.utils.data.DataLoader(dataset, batch_size=STEPS)))
    return algorithm.process_batch_for_training(whole)


for name in ("cql", "bcq"):
    returns = batch(name, algo__n_step=3, algo__discount=0.99, train__seq_length=3)["rewards"].numpy().ravel()
    print(
        f"{name}: returns of the last three steps {' '.join(f'{number:.3f}' for number in returns[-3:])} "
        "instead of 0.980 0.990 1.000"
    )
    assert np.allclose(returns[-3:], [0.9801, 1.9701, 2.9701]) and not returns[:-3].any()
targets = batch("bc", train__seq_length=10)["actions"].numpy().ravel()
assert len(targets) == 500
values, counts = np.unique(targets, return_counts=True)
print(
    f"bc with a recurrent network: the last action is the target {counts[-1]} times, "
    f"the one before {counts[-2]} times"
)
assert len(values) == STEPS and counts[-1] == 55 and (counts[9:-1] == 10).all()
PYTHON
