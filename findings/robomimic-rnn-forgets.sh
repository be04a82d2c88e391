#!/usr/bin/env bash
# robomimic 0.3.0: a recurrent policy forgets everything every ten steps when it acts.
#
# One would guess: `algo.rnn.horizon` is the length of the sequences that the policy is trained on; when it acts, its
# hidden state is kept until `start_episode` or `reset`.
#
# What happens: each `horizon` steps, 10 by default, the hidden state is set back to zeros in the middle of the
# episode. What was seen before has no influence from then on, the policy acts as at a first step, and a cue cannot be
# remembered for more than 9 steps, though an LSTM could. The networks of two copies here are the same; one saw 5 at
# the first step and the other -5, and both see zeros from then on.
#
# Output seen:
#     step  1: actions differ by 0.0011
#     step  9: actions differ by 0.0001
#     step 10: actions differ by 0
#     step 10 is as a first step would be: True

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

import torch

with contextlib.redirect_stdout(io.StringIO()):
    import robomimic.utils.obs_utils as ObsUtils
    from robomimic.algo import RolloutPolicy, algo_factory
    from robomimic.config import config_factory

config = config_factory("bc")
with config.values_unlocked():
    config.observation.modalities.obs.low_dim = ["state"]
    config.observation.modalities.obs.rgb = []
    config.algo.rnn.enabled = True
assert config.algo.rnn.horizon == 10
with contextlib.redirect_stdout(io.StringIO()):
    ObsUtils.initialize_obs_utils_with_config(config)
    torch.manual_seed(0)
    policy = RolloutPolicy(algo_factory("bc", config, OrderedDict(state=[1]), 2, torch.device("cpu")))


def act(first, steps):
    policy.start_episode()
    seen = [[first]] + [[0.0]] * (steps - 1)
    with torch.no_grad():
        return torch.stack([torch.as_tensor(policy({"state": torch.tensor(one).numpy()})) for one in seen])


one, other = act(5.0, 20), act(-5.0, 20)
difference = (one - other).abs().amax(1).tolist()
for step in (1, 9, 10):
    print(f"step {step:2}: actions differ by {f'{difference[step]:.4f}' if difference[step] else 0}")
assert min(difference[:10]) > 2e-5 and max(difference[10:]) == 0
anew = torch.equal(one[10:], act(0.0, 10))
print(f"step 10 is as a first step would be: {anew}")
assert anew
PYTHON
