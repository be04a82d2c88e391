#!/usr/bin/env bash
# d3rlpy 2.8.1: a replay buffer joins episodes of one step to the episode that follows them.
#
# One would guess: `append` for the step and `clip_episode(terminated=True)` make an episode of one step; six of them
# make six episodes, each with one terminal transition.
#
# What happens: `clip_episode` returns early, and leaves the episode open, when it counts no transition yet. It counts
# one fewer than there are steps until it knows that the episode has terminated, hence none after one step. The next
# episode is then appended to the open one. Of six terminated episodes, three of two steps remain; in half of the
# transitions the first state of the next episode is the successor and the end is not marked. Ended by a time limit
# (terminated=False), all that remains are three transitions across the boundary between two episodes. `fit_online`
# fills its buffer in this way, so an environment whose episodes can end after one step is learnt wrongly, without an
# error.
#
# Output seen (state -> next state, reward, terminal):
#     terminated: 3 episodes of lengths [2, 2, 2]
#         0 -> 1, 0.0, 0    1 -> end, 1.0, 1    2 -> 3, 2.0, 0    3 -> end, 3.0, 1    4 -> 5, 4.0, 0    5 -> end, 5.0, 1
#     cut off: 3 episodes of lengths [2, 2, 2]
#         0 -> 1, 0.0, 0    2 -> 3, 2.0, 0    4 -> 5, 4.0, 0

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
import d3rlpy
import numpy as np
from d3rlpy.dataset import InfiniteBuffer, ReplayBuffer, Signature


def collect(terminated):
    signature = Signature(dtype=[np.dtype("float32")], shape=[(1,)])
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=signature,
        action_signature=signature,
        reward_signature=signature,
        action_space=d3rlpy.ActionSpace.CONTINUOUS,
        action_size=1,
    )
    for episode in range(6):
        buffer.append(np.array([episode], "float32"), np.zeros(1, "float32"), float(episode))
        buffer.clip_episode(terminated)
    lengths = [episode.size() for episode in buffer.episodes]
    transitions = []
    for index in range(buffer.transition_count):
        transition = buffer.transition_picker(*buffer.buffer[index])
        successor = "end" if transition.terminal else int(transition.next_observation[0])
        transitions.append(
            (int(transition.observation[0]), successor, float(transition.reward[0]), int(transition.terminal))
        )
    return lengths, transitions


def show(name, lengths, transitions):
    print(f"{name}: {len(lengths)} episodes of lengths {lengths}")
    print("    " + "    ".join(f"{s} -> {n}, {r}, {t}" for s, n, r, t in transitions))


lengths, transitions = collect(terminated=True)
show("terminated", lengths, transitions)
assert lengths == [2, 2, 2]
assert transitions[:2] == [(0, 1, 0.0, 0), (1, "end", 1.0, 1)]

lengths, transitions = collect(terminated=False)
show("cut off", lengths, transitions)
assert lengths == [2, 2, 2]
assert transitions == [(0, 1, 0.0, 0), (2, 3, 2.0, 0), (4, 5, 4.0, 0)]
PYTHON
