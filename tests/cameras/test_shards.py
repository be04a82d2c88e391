"""Episodes of several cameras are stored and read as they were, each with its own size."""

import io
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cog.datasets.episode import Episode
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.datasets.storage.problem import DataError
from cog.datasets.storage.shard import decode_shard, encode_shard
from cog.signals.pictures import is_camera_name

SIZES = {"wrist": (6, 10, 3), "grey-2": (4, 4, 1)}


def made(steps: int, seed: int) -> Episode:
    """An episode of random pictures from three cameras."""
    draw = np.random.default_rng(seed)
    return Episode(
        actions=draw.uniform(-1, 1, (steps, 2)).astype(np.float32),
        signals={"reached": np.zeros(steps + 1, np.float32)},
        images=draw.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
        cameras={
            name: draw.integers(0, 256, (steps + 1, *size), dtype=np.uint8) for name, size in SIZES.items()
        },
        proprio=draw.normal(size=(steps + 1, 3)).astype(np.float32),
    )


EPISODES = [made(3, 0), made(5, 1), made(1, 2)]


def test_pictures_of_every_camera_come_back_as_they_were_written() -> None:
    data = encode_shard(EPISODES, "spec", 0, Path("shard"))
    assert data == encode_shard(EPISODES, "spec", 0, Path("shard"))
    for before, after in zip(EPISODES, decode_shard(data, Path("shard")), strict=True):
        assert list(after.pictures()) == ["image", "grey-2", "wrist"]
        for name, pictures in before.pictures().items():
            np.testing.assert_array_equal(after.pictures()[name], pictures)


def test_the_first_steps_of_an_episode_have_their_frames_of_every_camera() -> None:
    first = EPISODES[1].first(2)
    for name, pictures in EPISODES[1].pictures().items():
        np.testing.assert_array_equal(first.pictures()[name], pictures[:3])


def test_a_dataset_says_what_each_camera_shows_and_leaves_all_out_where_pictures_are_not_read(
    tmp_path: Path,
) -> None:
    dataset = write_dataset(tmp_path / "data", EPISODES, {"kind": "test"})
    shapes = {name: tuple(shape) for name, shape in dataset.environment["observations"].items()}
    assert shapes == {"image": (8, 8, 3), "proprio": (3,), **SIZES}
    again = open_dataset(tmp_path / "data")
    assert all(not episode.pictures() for episode in again.episodes(pictures=False))
    assert all(len(episode.pictures()) == 3 for episode in again.episodes())


def test_a_shard_of_one_camera_keeps_the_format_that_earlier_versions_read() -> None:
    def stored(episodes: list[Episode]) -> int:
        with h5py.File(io.BytesIO(encode_shard(episodes, "spec", 0, Path("s")))) as file:
            return int(file.attrs["format"])

    assert stored([replace(one, cameras={}) for one in EPISODES]) == 2
    assert stored(EPISODES) == 3


@pytest.mark.parametrize(
    ("cameras", "field", "rule"),
    [
        ({"wrist": np.zeros((3, 6, 10, 3), np.uint8)}, "cameras[wrist]", "must have 4 rows for 3 actions"),
        ({"wrist": np.zeros((4, 6, 10, 2), np.uint8)}, "cameras/wrist", "3 colour channels, or 1 of grey"),
        ({"wrist": np.zeros((4, 6, 10, 3), np.float32)}, "cameras[wrist]", "must be of type uint8"),
        ({"state": np.zeros((4, 6, 10, 3), np.uint8)}, "cameras[state]", "must be named by letters"),
        ({"a/b": np.zeros((4, 6, 10, 3), np.uint8)}, "cameras[a/b]", "must be named by letters"),
    ],
)
def test_a_camera_that_breaks_a_rule_is_named(cameras: dict[str, np.ndarray], field: str, rule: str) -> None:
    with pytest.raises(DataError) as error:
        encode_shard([replace(EPISODES[0], cameras=cameras)], "spec", 0, Path("shard"))
    assert field in str(error.value)
    assert rule in str(error.value)


def test_a_camera_that_only_some_episodes_have_is_refused() -> None:
    with pytest.raises(DataError, match=r"cameras/wrist.*found in 1 of 2"):
        encode_shard(
            [EPISODES[0], replace(EPISODES[1], cameras={"grey-2": EPISODES[1].cameras["grey-2"]})],
            "spec",
            0,
            Path("shard"),
        )


def test_names_of_cameras_hold_nothing_that_a_path_or_an_observation_has() -> None:
    assert all(map(is_camera_name, ["wrist", "agentview_left", "0", "top-2", "a.b"]))
    assert not any(
        map(is_camera_name, ["", "image", "proprio", "pose", "noise", "a/b", "..", ".", "é", "a" * 64, 3])
    )
    assert is_camera_name("pose", stored=True) and not is_camera_name("proprio", stored=True)
