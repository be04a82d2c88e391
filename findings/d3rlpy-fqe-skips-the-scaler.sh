#!/usr/bin/env bash
# d3rlpy 2.8.1: FQE evaluates another policy than the one it was given, where that policy scales its observations.
#
# One would guess: fitted Q evaluation bootstraps from the actions that the policy under evaluation takes, that is, from
# `algorithm.predict(next_observations)`. FQE's own `predict` does return those.
#
# What happens: FQE asks the policy's network directly, on observations that went through the scaler in FQE's own
# configuration alone; that is none by default. The network sees raw observations where it was trained on scaled ones.
# For observations around 1000, the actions in the targets are saturated, whereas the policy's own lie around 0, and the
# estimated values belong to a policy that nobody runs. Nothing warns. It takes the same scaler in FQEConfig to get the
# right actions.
#
# Output seen:
#     fqe.predict agrees with the policy: True
#     mean difference of the targets' actions from the policy's: 0.825, largest size of each: 1.000 and 0.397
#     the same with the policy's scaler in FQEConfig: 0.000

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
    observations=(1000 + rng.normal(size=(steps, 3))).astype("float32"),
    actions=rng.uniform(-1, 1, (steps, 1)).astype("float32"),
    rewards=rng.normal(size=steps).astype("float32"),
    terminals=(np.arange(steps) % 50 == 49).astype("float32"),
)
quiet = {"logger_adapter": d3rlpy.logging.NoopAdapterFactory(), "show_progress": False}
d3rlpy.seed(1)
policy = d3rlpy.algos.TD3Config(
    batch_size=32, observation_scaler=d3rlpy.preprocessing.StandardObservationScaler()
).create()
policy.fit(dataset, n_steps=5, n_steps_per_epoch=5, **quiet)
batch = dataset.sample_transition_batch(64)
own = policy.predict(batch.next_observations)
goes_on = batch.terminals[:, 0] == 0


def target_actions(config):
    fqe = d3rlpy.ope.FQE(algo=policy, config=config)
    fqe.build_with_dataset(dataset)
    seen = []
    compute_target = fqe.impl.compute_target

    def watched(batch, next_actions):
        seen.append(next_actions.detach().numpy())
        return compute_target(batch, next_actions)

    fqe.impl.compute_target = watched
    fqe.update(batch)
    return seen[0], fqe.predict(batch.next_observations)


used, claimed = target_actions(d3rlpy.ope.FQEConfig())
print(f"fqe.predict agrees with the policy: {np.allclose(claimed, own)}")
assert np.allclose(claimed, own)
difference = np.abs(used - own)[goes_on].mean()
sizes = [np.abs(actions[goes_on]).max() for actions in (used, own)]
print(
    f"mean difference of the targets' actions from the policy's: {difference:.3f}, "
    f"largest size of each: {sizes[0]:.3f} and {sizes[1]:.3f}"
)
assert difference > 0.1

used, _ = target_actions(d3rlpy.ope.FQEConfig(observation_scaler=policy.observation_scaler))
difference = np.abs(used - own)[goes_on].mean()
print(f"the same with the policy's scaler in FQEConfig: {difference:.3f}")
assert difference < 1e-5
PYTHON
