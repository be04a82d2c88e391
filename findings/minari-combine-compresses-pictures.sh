#!/usr/bin/env bash
# minari 0.5.4: `combine_datasets` turns pictures that were stored exactly into lossy JPEG.
#
# One would guess: episodes are copied bit for bit, and a dataset created with `jpeg_encoding=False`, so that pictures
# stay as they were recorded, stays so.
#
# What happens: the new dataset is created with the default, `jpeg_encoding=True`, whatever the datasets that go in were
# created with. Pictures of type uint8 and values 0 to 255, height and width first, are compressed from 32 by 32 pixels
# on; shape and type stay the same, only values change. Combining a single dataset is enough. At 31 by 31 pixels the
# copy is exact.
#
# Output seen:
#     32 x 32 pixels: stored exactly True, combined exactly False, largest difference 120
#     31 x 31 pixels: stored exactly True, combined exactly True, largest difference 0

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


def copy(size):
    pictures = np.full((2, size, size, 3), 128, np.uint8)
    pictures[:, 9:20, 9:20] = (255, 0, 0)
    episode = EpisodeBuffer(
        observations=pictures,
        actions=np.zeros((1, 1), "float32"),
        rewards=[0.0],
        terminations=[True],
        truncations=[False],
        infos={},
    )
    stored = minari.create_dataset_from_buffers(
        f"exact{size}-v0",
        [episode],
        observation_space=gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8),
        action_space=gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32),
        jpeg_encoding=False,
        **about,
    )
    combined = minari.combine_datasets([stored], f"combined{size}-v0")
    before, after = stored[0].observations, combined[0].observations
    assert after.shape == pictures.shape and after.dtype == np.uint8
    difference = int(np.abs(after.astype(int) - pictures).max())
    exact = np.array_equal(before, pictures), np.array_equal(after, pictures)
    print(
        f"{size} x {size} pixels: stored exactly {exact[0]}, combined exactly {exact[1]}, "
        f"largest difference {difference}"
    )
    return exact


assert copy(32) == (True, False)
assert copy(31) == (True, True)
PYTHON
