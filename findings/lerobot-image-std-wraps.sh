#!/usr/bin/env bash
# lerobot 0.4.4: the standard deviation that a dataset keeps of its pictures has nothing to do with them.
#
# One would guess: the recorded statistics of a camera are mean and standard deviation of its pixels, divided by 255.
#
# What happens: mean, minimum and maximum are right. For the standard deviation, pixels are squared as the bytes that
# they are, so that squares wrap around at 256; from their mean the square of the mean is then subtracted, which gives
# a number below zero, taken for 0. What is left for the dataset is the spread of its episodes' means. Pictures of
# noise, each pixel from 0 to 255, get 0 in one episode and about 0.0003 in three, instead of 0.29. Normalised by mean
# and standard deviation, as the policies do, they reach 50 million and 2,862 instead of 1.7. (The training script
# puts ImageNet's numbers in place of them by default; one's own script, and `--dataset.use_imagenet_stats=false`,
# take what the dataset holds.)
#
# Output seen:
#     1 episode: std 0 0 0 instead of 0.29, pictures normalised to at most 50 million
#     3 episodes: std 0.0003 0.00017 0.00029 instead of 0.29, pictures normalised to at most 2862
#
# torch and torchvision are others than LeRobot asks for; the statistics are computed by numpy.

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

CAMERA = "observation.images.front"
FEATURES = {
    CAMERA: {"dtype": "image", "shape": (64, 64, 3), "names": ["height", "width", "channels"]},
    "action": {"dtype": "float32", "shape": (2,), "names": None},
}


def measure(episodes):
    rng = np.random.default_rng(0)
    written = LeRobotDataset.create("me/noise", 10, FEATURES, root=f"noise{episodes}", use_videos=False)
    pictures = rng.integers(0, 256, (episodes, 120, 64, 64, 3), np.uint8)
    for episode in pictures:
        for picture in episode:
            written.add_frame({CAMERA: picture, "action": np.zeros(2, np.float32), "task": "look"})
        written.save_episode()
    written.finalize()
    dataset = LeRobotDataset("me/noise", root=f"noise{episodes}")
    assert np.array_equal(dataset[5][CAMERA].permute(1, 2, 0).numpy() * 255, pictures[0, 5])
    statistics = dataset.meta.stats[CAMERA]
    assert np.abs(statistics["mean"].ravel() - pictures.mean((0, 1, 2, 3)) / 255).max() < 0.001
    truth = pictures.std((0, 1, 2, 3)) / 255
    assert np.abs(truth - 0.29).max() < 0.001
    normalise = NormalizerProcessorStep.from_lerobot_dataset(
        dataset,
        {CAMERA: PolicyFeature(FeatureType.VISUAL, (3, 64, 64))},
        {FeatureType.VISUAL: NormalizationMode.MEAN_STD},
    )
    picture = dataset[5][CAMERA][None]
    largest = normalise({TransitionKey.OBSERVATION: {CAMERA: picture}})[TransitionKey.OBSERVATION][CAMERA].abs().max()
    return statistics["std"].ravel(), float(largest)


for episodes in (1, 3):
    std, largest = measure(episodes)
    reach = f"{largest / 1e6:.0f} million" if largest > 1e6 else f"{largest:.0f}"
    print(
        f"{episodes} episode{'s' * (episodes > 1)}: std {' '.join(f'{number:.2g}' for number in std)} "
        f"instead of 0.29, pictures normalised to at most {reach}"
    )
    if episodes == 1:
        assert np.array_equal(std, np.zeros(3)) and 4e7 < largest < 6e7
    else:
        assert (std > 0).all() and (std < 0.001).all() and 500 < largest < 5000
PYTHON
