#!/usr/bin/env bash
# d3rlpy 2.8.1 with minari 0.5.4: `get_minari` pairs actions with the wrong observations from the second episode on.
#
# One would guess: each episode of the loaded dataset holds Minari's observations, actions and rewards of that episode,
# perhaps without the observation after the last step.
#
# What happens: Minari keeps one more observation than actions in an episode. `get_minari` joins all observations, the
# surplus ones included, into one array and cuts it at the ends of the actions. In episode k, counted from 0, every
# observation is the one from k steps before, and the first k come from the end of the episode before. In a dataset of
# 1,000 episodes the last action is paired with what was seen 999 steps earlier. Nothing warns.
#
# Output seen:
#     episode 0: actions as recorded True, observations as recorded True
#     episode 1: actions as recorded True, observations as recorded False, late by 1 steps
#     episode 2: actions as recorded True, observations as recorded False, late by 2 steps
#     episode 3: actions as recorded True, observations as recorded False, late by 3 steps

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install torch==2.13.0
install --no-deps d3rlpy==2.8.1 minari==0.5.4
install click==8.5.1 colorama==0.4.6 dataclasses-json==0.6.7 gym==0.26.2 gymnasium==1.0.0 h5py==3.16.0 \
    numpy==2.4.6 scikit-learn==1.9.1 structlog==26.1.0 tqdm==4.70.1 packaging==26.4 pillow==13.0.0 typer==0.29.2
venv/bin/python -W ignore - <<'PYTHON'
import logging
import os

os.environ["MINARI_DATASETS_PATH"] = os.path.abspath("datasets")

import d3rlpy
import gymnasium
import minari
import numpy as np
import structlog
from minari.data_collector import EpisodeBuffer

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
env = gymnasium.make("Pendulum-v1")
episodes = []
for seed in range(4):
    observations = [env.reset(seed=seed)[0]]
    actions, rewards, terminations, truncations = [], [], [], []
    for step in range(200):
        actions.append(np.array([np.sin(step + seed)], "float32"))
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
        terminations.append(terminated)
        truncations.append(truncated)
    episodes.append(
        EpisodeBuffer(
            observations=np.array(observations),
            actions=np.array(actions),
            rewards=rewards,
            terminations=terminations,
            truncations=truncations,
            infos={},
        )
    )
recorded = minari.create_dataset_from_buffers(
    "pendulum-v0",
    episodes,
    env="Pendulum-v1",
    algorithm_name="sine",
    author="nobody",
    author_email="nobody@example.com",
    code_permalink="https://example.com",
)
loaded, _ = d3rlpy.datasets.get_minari("pendulum-v0")
assert len(loaded.episodes) == len(recorded) == 4
for number, (ours, theirs) in enumerate(zip(recorded, loaded.episodes)):
    assert len(ours.observations) == len(ours.actions) + 1
    same_actions = np.array_equal(theirs.actions, ours.actions)
    same_observations = np.array_equal(theirs.observations, ours.observations[:-1])
    line = f"episode {number}: actions as recorded {same_actions}, observations as recorded {same_observations}"
    print(line + (f", late by {number} steps" if number else ""))
    assert same_actions
    assert same_observations == (number == 0)
    assert np.array_equal(theirs.observations[number:], ours.observations[: 200 - number])
    if number:
        assert np.array_equal(theirs.observations[:number], recorded[number - 1].observations[-number:])
PYTHON
