"""The writer takes several cameras, each of its own size, and says what is wrong with which."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cog.datasets.resize import stretched
from cog.datasets.robot_interface import KEY, RobotInterface
from cog.datasets.storage.dataset import Dataset
from cog.datasets.storage.problem import DataError
from cog.datasets.storage.verify import verify
from cog.datasets.writer import DatasetWriter
from cog.errors import UsageError
from tests.exchange.test_writer import refused_second

STEPS = 4
SHAPES = {"wrist": (7, 9, 3), "grey": (6, 6, 1)}


def arrays(seed: int = 0) -> dict[str, Any]:
    """Arrays of an episode of three cameras, by the names of `add_episode`."""
    rng = np.random.default_rng(seed)

    def pictures(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, (STEPS + 1, *shape), dtype=np.uint8)

    return {
        "actions": rng.uniform(-1, 1, (STEPS, 3)),
        "images": pictures(8, 10, 3),
        "cameras": {name: pictures(*shape) for name, shape in SHAPES.items()},
        "proprio": rng.normal(size=(STEPS + 1, 5)),
    }


def written(folder: Path, *episodes: dict[str, Any], **options: Any) -> Dataset:
    with DatasetWriter(folder, **options) as writer:
        for episode in episodes:
            writer.add_episode(**episode)
    assert writer.dataset is not None
    assert verify(folder) == []
    return writer.dataset


def test_pictures_of_every_camera_come_back_as_they_were_given(tmp_path: Path) -> None:
    given = [arrays(seed) for seed in range(3)]
    dataset = written(tmp_path / "data", *given, image_size=None, episodes_per_shard=2)
    assert list(next(dataset.episodes()).pictures()) == ["image", "grey", "wrist"]
    for episode, wanted in zip(dataset.episodes(), given, strict=True):
        np.testing.assert_array_equal(episode.images, wanted["images"])
        for name in SHAPES:
            np.testing.assert_array_equal(episode.cameras[name], wanted["cameras"][name])


def test_the_size_holds_for_every_camera_unless_one_has_its_own(tmp_path: Path) -> None:
    given = arrays()
    sizes = {"grey": None, "wrist": 3}
    dataset = written(tmp_path / "data", given, image_size=4, camera_sizes=sizes)
    (episode,) = dataset.episodes()
    assert {name: shown.shape[1:] for name, shown in episode.pictures().items()} == {
        "image": (4, 4, 3),
        "grey": (6, 6, 1),
        "wrist": (3, 3, 3),
    }
    wanted = [cv2.resize(one, (3, 3), interpolation=cv2.INTER_AREA) for one in given["cameras"]["wrist"]]
    np.testing.assert_array_equal(episode.cameras["wrist"], wanted)
    np.testing.assert_array_equal(episode.cameras["grey"], given["cameras"]["grey"])
    assert dataset.spec["camera_sizes"] == sizes
    own = written(tmp_path / "own", given, image_size=None, camera_sizes={"image": 5}).environment
    assert own["observations"]["image"] == [5, 5, 3] and own["observations"]["wrist"] == [7, 9, 3]
    assert own[KEY]["resize"] == "stretch"


def test_grey_pictures_are_stretched_in_grey(tmp_path: Path) -> None:
    given = arrays()
    (episode,) = written(tmp_path / "data", given, image_size=12).episodes()
    wanted = [
        cv2.resize(one[:, :, 0], (12, 12), interpolation=cv2.INTER_LINEAR) for one in given["cameras"]["grey"]
    ]
    np.testing.assert_array_equal(episode.cameras["grey"][..., 0], wanted)


@pytest.mark.parametrize(("height", "width", "size"), [(6, 6, 12), (40, 31, 12), (24, 24, 12), (9, 30, 12)])
def test_a_robot_s_computer_stretches_grey_pictures_to_the_same_bytes(
    height: int, width: int, size: int, tmp_path: Path
) -> None:
    given = arrays()
    grey = np.random.default_rng(1).integers(0, 256, (STEPS + 1, height, width, 1), dtype=np.uint8)
    dataset = written(tmp_path / "data", given | {"cameras": {"grey": grey}}, image_size=size)
    found = next(dataset.episodes()).cameras["grey"]
    np.testing.assert_array_equal(found, [stretched(one, size, size) for one in grey])


def test_colours_are_put_red_first_for_every_camera(tmp_path: Path) -> None:
    given = arrays()
    (episode,) = written(tmp_path / "data", given, image_size=None, colour="bgr").episodes()
    np.testing.assert_array_equal(episode.images, given["images"][..., ::-1])
    np.testing.assert_array_equal(episode.cameras["wrist"], given["cameras"]["wrist"][..., ::-1])
    np.testing.assert_array_equal(episode.cameras["grey"], given["cameras"]["grey"])


def test_frames_of_a_camera_may_come_one_by_one(tmp_path: Path) -> None:
    given = arrays()
    one_by_one = given | {"cameras": {name: iter(shown) for name, shown in given["cameras"].items()}}
    first = written(tmp_path / "a", given)
    assert written(tmp_path / "b", one_by_one).hash == first.hash


def test_a_dataset_of_one_camera_is_what_it_was(tmp_path: Path) -> None:
    alone = {name: values for name, values in arrays().items() if name != "cameras"}
    first = written(tmp_path / "a", alone)
    assert written(tmp_path / "b", alone | {"cameras": {}}, camera_sizes={}).hash == first.hash
    assert "camera_sizes" not in first.spec


def shown(*shape: int, kind: Any = np.uint8) -> np.ndarray:
    return np.zeros(shape, kind)


WRONG = {
    "camera gone": ({"cameras": {"grey": shown(5, 6, 6, 1)}}, "cameras[wrist]", "the first has one", "every"),
    "camera new": (
        {"cameras": {**arrays()["cameras"], "top": shown(5, 6, 6, 3)}},
        "cameras[top]",
        "with all episodes or with none; the first has none",
        "with none",
    ),
    "all gone": ({"cameras": None}, "cameras[grey]", "the first has one", "another dataset"),
    "too few": ({"cameras": {"wrist": shown(4, 7, 9, 3)}}, "cameras[wrist]", "5 rows for 4", "drop"),
    "floats": (
        {"cameras": {"wrist": shown(5, 7, 9, 3, kind=float)}},
        "cameras[wrist]",
        "be uint8",
        "0 to 255",
    ),
    "two channels": (
        {"cameras": {"wrist": shown(5, 7, 9, 2)}},
        "cameras[wrist]",
        "(H, W, 3) or (H, W, 1)",
        "grey",
    ),
    "a plane": ({"cameras": {"grey": shown(5, 6, 6)}}, "cameras[grey]", "found (6, 6)", "one channel"),
    "none": ({"cameras": {"wrist": []}}, "cameras[wrist]", "found none", "leave out the camera"),
    "a number": ({"cameras": {"wrist": 5}}, "cameras[wrist]", "(T + 1, H, W, 3 or 1), found int", "iterable"),
    "sizes differ": (
        {"cameras": {"wrist": [shown(7, 9, 3), shown(8, 9, 3), *shown(3, 7, 9, 3)]}},
        "cameras[wrist]",
        "one size",
        "image_size",
    ),
    "some grey": (
        {"cameras": {"wrist": [shown(7, 9, 3), shown(7, 9, 1), *shown(3, 7, 9, 3)]}},
        "cameras[wrist]",
        "the same channels",
        "in grey, or all in colour",
    ),
    "named image": ({"cameras": {"image": shown(5, 6, 6, 3)}}, "cameras[image]", "be named by", "images="),
    "named state": (
        {"cameras": {"state": shown(5, 6, 6, 3)}},
        "cameras[state]",
        "be named by",
        "another name",
    ),
    "named by a path": ({"cameras": {"a/b": shown(5, 6, 6, 3)}}, "cameras[a/b]", "letters", "another name"),
    "no mapping": ({"cameras": shown(5, 6, 6, 3)}, "cameras", "by the name of their camera", "mapping"),
    "beside a state": (
        {"images": None, "proprio": None, "state": shown(5, 2)},
        "cameras[wrist]",
        "come with images",
        "images=",
    ),
    "another size": (
        {"cameras": {**arrays()["cameras"], "wrist": shown(5, 9, 9, 3)}},
        "observations",
        "same in all",
        "one size",
    ),
    "grey before, now colour": (
        {"cameras": {**arrays()["cameras"], "grey": shown(5, 6, 6, 3)}},
        "observations",
        "same in all",
        "another dataset",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_camera_is_said_by_its_name(case: str, tmp_path: Path) -> None:
    dataset = refused_second(tmp_path / "data", arrays, *WRONG[case])
    assert dataset is not None and dataset.episode_count == 2


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"wrist": 0}, r"camera_sizes\[wrist\]: image size must be one whole number of pixels"),
        ({"wrist": (4, 4)}, r"camera_sizes\[wrist\]"),
        ({"a/b": 4}, "camera_sizes must be named by letters"),
        ([("wrist", 4)], "camera_sizes must map"),
    ],
)
def test_sizes_that_cannot_be_are_wrong_usage(sizes: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        DatasetWriter(tmp_path / "data", camera_sizes=sizes)


def test_a_size_of_a_camera_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"camera_sizes\[top\].*it has: grey, image, wrist"):
        written(tmp_path / "data", arrays(), camera_sizes={"top": 8})
    assert not (tmp_path / "data").exists()


def test_the_interface_names_every_camera_in_the_order_of_the_pictures_or_none(tmp_path: Path) -> None:
    named = RobotInterface(cameras=("front", "floor", "hand"))
    held = written(tmp_path / "a", arrays(), interface=named).environment[KEY]
    assert held == {"cameras": ["front", "floor", "hand"], "resize": "stretch"}
    assert "cameras" not in written(tmp_path / "b", arrays()).environment[KEY]
    for wrong, words in (
        (("front",), r"1 camera is named \(front\), but the data have 3 \(image \+ grey \+ wrist\)"),
        (("a", "b", "c", "d"), "4 cameras are named"),
    ):
        with pytest.raises(UsageError, match=words):
            written(tmp_path / "c", arrays(), interface=RobotInterface(cameras=wrong))
        assert not (tmp_path / "c").exists()
