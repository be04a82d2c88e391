#!/usr/bin/env bash
# minari 0.5.4: `combine_datasets` copies episodes that were filtered or split away.
#
# One would guess: the combined dataset holds the episodes of the datasets that go in. Those that `filter_episodes`
# keeps stay the only ones, and the parts from `split_dataset` make the whole again.
#
# What happens: a filtered dataset or a part of a split is a view of the stored file, and `combine_datasets` copies the
# whole file behind each view. Episodes that a filter had removed come back; two halves of a dataset give every episode
# twice. Minari's repository has an open pull request on it, number 350.
#
# Output seen:
#     kept by the filter: returns [2.0, 3.0]; combined: [0.0, 1.0, 2.0, 3.0]
#     two halves of 2 episodes each; combined: [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install minari==0.5.4 gymnasium==1.0.0 h5py==3.16.0 numpy==2.4.6 pillow==13.0.0
venv/bin/python -W ignore - <<'PYTHON'
import os

os.environ["MINARI_DATASETS_PATH"] = os.path.abspath("datasets")

import gymnasium
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

about = {
    "algorithm_name": "none",
    "author": "nobody",
    "author_email": "nobody@example.com",
    "code_permalink": "https://example.com",
}

episodes = [
    EpisodeBuffer(
        observations=np.zeros((2, 1), "float32"),
        actions=np.zeros((1, 1), "float32"),
        rewards=[float(number)],
        terminations=[True],
        truncations=[False],
        infos={},
    )
    for number in range(4)
]
space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
whole = minari.create_dataset_from_buffers("whole-v0", episodes, observation_space=space, action_space=space, **about)


def returns(dataset):
    return [float(episode.rewards.sum()) for episode in dataset]


kept = whole.filter_episodes(lambda episode: episode.rewards.sum() >= 2)
combined = minari.combine_datasets([kept], "kept-v0")
print(f"kept by the filter: returns {returns(kept)}; combined: {returns(combined)}")
assert returns(kept) == [2.0, 3.0]
assert returns(combined) == [0.0, 1.0, 2.0, 3.0]

halves = minari.split_dataset(whole, [2, 2], seed=0)
combined = minari.combine_datasets(halves, "halves-v0")
print(f"two halves of {len(halves[0])} episodes each; combined: {returns(combined)}")
assert [len(half) for half in halves] == [2, 2]
assert returns(combined) == 2 * returns(whole)
PYTHON
