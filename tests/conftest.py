"""Synthetic episodes and datasets that need no simulator."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cog.core.files import hash_json, json_text
from cog.datasets.episode import Episode
from cog.datasets.storage.dataset import Dataset, write_dataset

if importlib.util.find_spec("hypothesis") is not None:  # the packages' environments do without it
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
    settings.load_profile("untimed")


def make_episode(
    rng: np.random.Generator, steps: int, *, rewarded: int | None = None, state: bool = False
) -> Episode:
    """A random episode whose object is lifted and held from step `rewarded` on, if at all."""
    frames = steps + 1
    height = np.full(frames, 0.02, np.float32)
    if rewarded is not None:
        height[rewarded + 1 :] = 0.2
    pose = rng.normal(size=(frames, 6)).astype(np.float32)
    return Episode(
        actions=rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
        signals={"object_height": height, "object_gripper_distance": np.full(frames, 0.01, np.float32)},
        images=None if state else rng.integers(0, 256, (frames, 8, 8, 3)).astype(np.uint8),
        proprio=None if state else pose,
        state=pose if state else None,
        seed=int(rng.integers(2**32)),
        start="open",
        behaviour="made up",
        noise=0.5,
        options={"aim_error": 0.25, "names": ["a", "é"]},
        success=rewarded is not None,
        terminated=bool(rng.integers(2)),
        truncated=bool(rng.integers(2)),
    )


def assert_same_episode(one: Episode, other: Episode) -> None:
    """Both episodes are equal to the bit."""
    for name, value in vars(one).items():
        found = getattr(other, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value, err_msg=name)
            assert found.dtype == value.dtype, name
        elif name == "signals":
            assert list(found) == list(value)
            for signal in value:
                np.testing.assert_array_equal(found[signal], value[signal])
        else:
            assert found == value, name


def forge(path: Path, **changes: Any) -> None:
    """Change fields of a sealed file and seal it again, so that only a rule can refuse it; None removes."""
    value = {**json.loads(path.read_text()), **changes, "seal": None}
    kept = {name: entry for name, entry in value.items() if entry is not None}
    path.write_text(json_text(kept | {"seal": hash_json(kept)}))


MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Write a dataset of synthetic episodes: every second one is rewarded from its third step on."""

    def make(name: str = "data", episodes: int = 7, seed: int = 0, task: bool = True, state: bool = False):
        rng = np.random.default_rng(seed)
        made = [
            make_episode(rng, 4 + number % 3, rewarded=2 if task and number % 2 == 0 else None, state=state)
            for number in range(episodes)
        ]
        return write_dataset(tmp_path / name, made, {"kind": "synthetic", "seed": seed}, episodes_per_shard=3)

    return make


@pytest.fixture
def frozen() -> Callable[[Path], dict[str, bytes]]:
    """Content of every file below a folder, to show that nothing was overwritten."""

    def snapshot(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return snapshot
