#!/usr/bin/env bash
# d3rlpy 2.8.1: the switch `with_squash` of the VAE's decoder in BCQ and BEAR works the wrong way round.
#
# One would guess: the decoder ends in tanh where `with_squash` is True, its default, and before the tanh where it is
# False. BEAR, which asks for False to compare actions before their tanh, would clone actions of 0.9 as 0.9 in its
# warm-up.
#
# What happens: True gives the plain linear output, False the tanh of it. So the decoder is trained and sampled without
# bounds, and an action it proposes may lie outside [-1, 1]. BEAR, in turn, compares the policy's actions before their
# tanh with the data's actions after one tanh too many: for actions of 0.9 the policy's mean heads for tanh(0.9) = 0.72
# before its tanh, so it acts with about tanh(0.72) = 0.61, though the decoder itself has learnt 0.9.
#
# Output seen:
#     BCQ: largest output 4.206 with squash, 0.9996 without; tanh of the first is the second: True
#     BEAR: largest output 3.993 with squash, 0.9993 without; tanh of the first is the second: True
#     BEAR's warm-up on actions of 0.9: decoder 0.901, policy's mean 0.614

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
steps = 1000
ends = (np.arange(steps) % 50 == 49).astype("float32")
states = rng.normal(size=(steps, 3)).astype("float32")


def dataset(actions):
    return d3rlpy.dataset.MDPDataset(
        observations=states,
        actions=actions.astype("float32"),
        rewards=np.zeros(steps, "float32"),
        terminals=ends,
        action_space=d3rlpy.ActionSpace.CONTINUOUS,
    )


uniform = dataset(rng.uniform(-1, 1, (steps, 2)))
for config in d3rlpy.algos.BCQConfig(), d3rlpy.algos.BEARConfig():
    d3rlpy.seed(1)
    algorithm = config.create()
    algorithm.build_with_dataset(uniform)
    decoder = algorithm.impl.modules.vae_decoder
    state, latent = torch.randn(50, 3), 30 * torch.randn(50, 4)
    with torch.no_grad():
        squashed = decoder(state, latent, with_squash=True)
        plain = decoder(state, latent, with_squash=False)
        default = decoder(state, latent)
    inverted = torch.equal(torch.tanh(squashed), plain)
    print(
        f"{type(algorithm).__name__}: largest output {squashed.abs().max():.4g} with squash, "
        f"{plain.abs().max():.4g} without; tanh of the first is the second: {inverted}"
    )
    assert inverted
    assert torch.equal(default, squashed)
    assert squashed.abs().max() > 1.0 >= plain.abs().max()

d3rlpy.seed(1)
encoder = d3rlpy.models.VectorEncoderFactory([32, 32])
bear = d3rlpy.algos.BEARConfig(
    batch_size=32,
    warmup_steps=10_000,
    initial_alpha=1.0,
    actor_learning_rate=1e-3,
    imitator_learning_rate=1e-3,
    actor_encoder_factory=encoder,
    critic_encoder_factory=encoder,
    imitator_encoder_factory=encoder,
).create()
bear.fit(
    dataset(np.full((steps, 1), 0.9)),
    n_steps=1500,
    n_steps_per_epoch=1500,
    logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    show_progress=False,
)
with torch.no_grad():
    state = torch.tensor(states[:200])
    decoded = bear.impl.modules.vae_decoder(state, torch.randn(200, 2).clamp(-0.5, 0.5)).mean()
    action = bear.impl.policy(state).squashed_mu.mean()
print(f"BEAR's warm-up on actions of 0.9: decoder {decoded:.3f}, policy's mean {action:.3f}")
assert abs(decoded - 0.9) < 0.05
assert abs(action - np.tanh(np.tanh(0.9))) < 0.05
PYTHON
