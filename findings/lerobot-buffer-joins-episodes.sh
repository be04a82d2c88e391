#!/usr/bin/env bash
# lerobot 0.4.4: with `optimize_memory=True` the replay buffer joins an episode that was cut off to the next one.
#
# One would guess: saving memory changes nothing but memory: the next state of a transition is looked up among the
# states where it is there, and the end of an episode, which the buffer is told of, is where it is not.
#
# What happens: the next state is the state stored in the next place, whatever lies there. For an episode that ended
# by its time limit (`truncated`, so that learning goes on from its last state) that is the first state of the next
# episode; the last state itself is in no sample. In a full buffer the newest transition leads to the oldest state.
# `episode_ends` is allocated and never used. LeRobot's own learner (SAC, HIL-SERL) builds its buffers so, and
# bootstraps from that state, for its targets look at `done` only. Here each state is 100 times its episode plus its
# step, and each episode is cut off after three steps.
#
# Output seen:
#     optimize_memory=False: 0 to 1, 1 to 2, 2 to 3, 100 to 101, 101 to 102, 102 to 103
#     optimize_memory=True: 0 to 1, 1 to 2, 2 to 100, 100 to 101, 101 to 102, 102 to 0

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install torch==2.13.0
install accelerate==1.15.0 av==15.1.0 datasets==4.8.5 deepdiff==8.6.2 draccus==0.10.0 einops==0.8.2 \
    huggingface-hub==0.35.3 imageio==2.38.1 imageio-ffmpeg==0.8.1 jsonlines==4.0.0 numpy==2.2.6 \
    opencv-python-headless==5.0.0.93 packaging==25.0 pandas==2.3.3 pyarrow==26.0.1 safetensors==0.8.0 \
    pyserial==3.5 termcolor==3.3.0
install --no-deps lerobot==0.4.4 torchvision==0.16.2
export HF_HUB_OFFLINE=1 HF_HOME="$folder/home" HF_DATASETS_DISABLE_PROGRESS_BARS=1 SVT_LOG=1
venv/bin/python -W ignore - <<'PYTHON'
import logging

import torch

logging.disable(logging.WARNING)
from lerobot.rl.buffer import ReplayBuffer

STATE = "observation.state"


def transitions(optimize_memory):
    buffer = ReplayBuffer(
        6, device="cpu", state_keys=[STATE], use_drq=False, optimize_memory=optimize_memory
    )
    for episode in range(2):
        for step in range(3):
            buffer.add(
                state={STATE: torch.tensor([[100.0 * episode + step]])},
                action=torch.zeros(1, 1),
                reward=0.0,
                next_state={STATE: torch.tensor([[100.0 * episode + step + 1]])},
                done=False,
                truncated=step == 2,
            )
    torch.manual_seed(0)
    pairs = set()
    for _ in range(100):
        batch = buffer.sample(6)
        states, nexts = batch["state"][STATE].ravel(), batch["next_state"][STATE].ravel()
        pairs |= set(zip(states.int().tolist(), nexts.int().tolist()))
    assert not batch["done"].any()
    return sorted(pairs)


for optimize_memory in (False, True):
    pairs = transitions(optimize_memory)
    print(f"optimize_memory={optimize_memory}: " + ", ".join(f"{one} to {two}" for one, two in pairs))
    ends = {2: 100, 102: 0} if optimize_memory else {}
    assert pairs == [(state, ends.get(state, state + 1)) for state in (0, 1, 2, 100, 101, 102)]
PYTHON
