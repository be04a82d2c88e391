#!/usr/bin/env bash
# lerobot 0.4.4 with av 15.1.0: in a video, what moves slowly moves in every second frame only.
#
# One would guess: the video's compression blurs pictures and adds noise, but every frame shows the moment it was
# recorded at, as an arm or an object moves on from frame to frame.
#
# What happens: the default encoder (AV1, crf 30, a key frame every two frames) leaves out what changed since the key
# frame where it deems it too small. A block of 10 by 10 pixels that moves one pixel a frame in a picture of 128 by
# 128 stands still and then jumps by two: each odd frame is the key frame before it once more, bit for bit, so that
# its action is paired with the picture of the step before, and a policy that stacks frames sees an object at rest in
# half of its samples. A block of 32 pixels moves in every frame.
#
# Output seen:
#     block of  4 pixels: 30 of 30 odd frames repeat the frame before, seen at 0.0 0.0 2.0 2.0 4.0 4.0
#     block of 10 pixels: 30 of 30 odd frames repeat the frame before, seen at 0.0 0.0 2.0 2.0 4.0 4.0
#     block of 32 pixels:  0 of 30 odd frames repeat the frame before, seen at -0.2 0.7 1.9 2.8 3.9 4.8

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

logging.disable(logging.WARNING)
from lerobot.datasets.lerobot_dataset import LeRobotDataset

CAMERA = "observation.images.front"
FEATURES = {
    CAMERA: {"dtype": "video", "shape": (128, 128, 3), "names": ["height", "width", "channels"]},
    "action": {"dtype": "float32", "shape": (2,), "names": None},
}
rows, columns = np.mgrid[:128, :128]
background = np.stack([100 + columns // 4, 110 + rows // 4, np.full_like(rows, 120)], -1).astype("uint8")


def replay(size):
    written = LeRobotDataset.create(f"me/block{size}", 10, FEATURES, root=f"block{size}")
    for step in range(60):
        picture = background.copy()
        picture[60 : 60 + size, 20 + step : 20 + step + size] = (200, 60, 60)
        written.add_frame({CAMERA: picture, "action": np.zeros(2, np.float32), "task": "push"})
    written.save_episode()
    written.finalize()
    dataset = LeRobotDataset(f"me/block{size}", root=f"block{size}", video_backend="pyav")
    return np.stack([dataset[step][CAMERA].permute(1, 2, 0).numpy() for step in range(60)])


def place(picture, size):
    weight = np.clip(np.abs(picture * 255 - background).sum(-1) - 60, 0, None)
    return (weight * columns).sum() / weight.sum() - (size - 1) / 2 - 20


for size in (4, 10, 32):
    seen = replay(size)
    repeated = sum(np.array_equal(seen[step], seen[step - 1]) for step in range(1, 60, 2))
    places = [place(picture, size) for picture in seen[:6]]
    print(
        f"block of {size:2} pixels: {repeated:2} of 30 odd frames repeat the frame before, "
        f"seen at {' '.join(f'{abs(x) if abs(x) < 0.05 else x:.1f}' for x in places)}"
    )
    assert repeated == (0 if size == 32 else 30)
    true = np.arange(6) if size == 32 else np.arange(6) // 2 * 2
    assert np.abs(places - true).max() < 0.4
PYTHON
