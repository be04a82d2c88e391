#!/usr/bin/env bash
# lerobot 0.4.4: quantiles of a dataset of several episodes are averages of the episodes' quantiles.
#
# One would guess: `q01` and `q99` of an action, which some policies are normalised by, are about the values that 1 %
# and 99 % of all recorded frames stay below.
#
# What happens: quantiles are taken within each episode, and then averaged, weighted by the number of frames. Where an
# action differs more between episodes than within them, as a target or an object's place does, the range from q01 to
# q99 shrinks to that of one episode. Here an action is about -1, 0 or 1, one of them in each of three episodes: its
# q01 is -0.03 instead of -1.02, and normalising by quantiles, which ought to map most of the data to -1 to 1, maps
# two thirds of the frames beyond 35. Minimum, maximum, mean and standard deviation are right.
#
# Output seen:
#     q01: recorded -0.026, of all frames -1.021
#     q99: recorded 0.020, of all frames 1.018
#     normalised by quantiles: 67 % of the frames beyond 35, 98 % would be within 1

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

import numpy as np
import torch

logging.disable(logging.WARNING)
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.processor import NormalizerProcessorStep, TransitionKey

features = {"action": {"dtype": "float32", "shape": (2,), "names": None}}
written = LeRobotDataset.create("me/places", 10, features, root="places", use_videos=False)
rng = np.random.default_rng(0)
actions = rng.normal((-1.0, 0.0), (0.01, 1.0), (3, 120, 2)).astype("float32")
actions[..., 0] += np.arange(3)[:, None]
for episode in actions:
    for action in episode:
        written.add_frame({"action": action, "task": "go"})
    written.save_episode()
written.finalize()
statistics = LeRobotDataset("me/places", root="places").meta.stats["action"]
frames = actions.reshape(-1, 2)
assert np.allclose(statistics["min"], frames.min(0)) and np.allclose(statistics["max"], frames.max(0))
assert np.allclose(statistics["mean"], frames.mean(0), atol=1e-5)
assert np.allclose(statistics["std"], frames.std(0), atol=1e-5)
for name, part in (("q01", 0.01), ("q99", 0.99)):
    recorded, truth = statistics[name], np.quantile(frames, part, axis=0)
    print(f"{name}: recorded {recorded[0]:.3f}, of all frames {truth[0]:.3f}")
    assert abs(recorded[0]) < 0.04 and abs(abs(truth[0]) - 1.02) < 0.02
    means = np.mean([np.quantile(episode, part, axis=0) for episode in actions], axis=0)
    assert np.allclose(recorded[0], means[0], atol=0.005)
normalise = NormalizerProcessorStep(
    features={"action": PolicyFeature(FeatureType.ACTION, (2,))},
    norm_map={FeatureType.ACTION: NormalizationMode.QUANTILES},
    stats={"action": statistics},
)
normalised = normalise({TransitionKey.ACTION: torch.from_numpy(frames)})[TransitionKey.ACTION].numpy()[:, 0]
low, high = np.quantile(frames[:, 0], (0.01, 0.99))
within = np.mean((frames[:, 0] >= low) & (frames[:, 0] <= high))
beyond = np.mean(np.abs(normalised) > 35)
print(f"normalised by quantiles: {100 * beyond:.0f} % of the frames beyond 35, {100 * within:.0f} % would be within 1")
assert abs(beyond - 2 / 3) < 1e-6 and within > 0.97
PYTHON
