"""Several cameras of a source come in by name, each as the rules of pictures say, whatever the format."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cog.datasets.importers.foreign.cameras import name_cameras
from cog.datasets.robot_interface import KEY
from cog.errors import UsageError
from cog.signals.pictures import is_camera_name
from tests.helpers.foreign import minari_arrays, robomimic_arrays, write_minari, write_robomimic
from tests.importers.conftest import Import
from tests.importers.conftest import bring as bring  # a fixture
from tests.importers.stores import buffer, write_folder
from tests.importers.test_held import FORMATS

FRONT, HAND = "agentview_image", "robot0_eye_in_hand_image"
KEEP = ("--image-size", "0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A robomimic file of two cameras, of 8x8 and 4x4."""
    return write_robomimic(tmp_path / "source.hdf5", robomimic_arrays())


def test_the_first_key_is_the_image_and_the_others_go_by_their_keys(bring: Import, source: Path) -> None:
    result = bring("robomimic", source, "--image", HAND, FRONT, "--proprio", "object", *KEEP)
    for episode, wanted in zip(result.episodes, robomimic_arrays(), strict=True):
        assert list(episode.pictures()) == ["image", FRONT]
        np.testing.assert_array_equal(episode.images, wanted[HAND])
        np.testing.assert_array_equal(episode.cameras[FRONT], wanted[FRONT])
    assert result.dataset.environment[KEY]["cameras"] == [HAND, FRONT]
    assert result.dataset.spec["origin"]["image"] == [HAND, FRONT]
    assert f"cameras: image ({HAND}), {FRONT} ({FRONT})" in result.said


def test_cameras_may_be_named_and_the_interface_keeps_the_robot_s_names(bring: Import, source: Path) -> None:
    given = ("wrist=" + HAND, "image=" + FRONT)
    result = bring("robomimic", source, "--image", *given, "--proprio", "none", *KEEP)
    for episode, wanted in zip(result.episodes, robomimic_arrays(), strict=True):
        np.testing.assert_array_equal(episode.images, wanted[FRONT])
        np.testing.assert_array_equal(episode.cameras["wrist"], wanted[HAND])
    assert result.dataset.environment[KEY]["cameras"] == [FRONT, HAND]


def test_all_takes_every_camera_but_none_that_may_be_a_mask(bring: Import, tmp_path: Path) -> None:
    given = robomimic_arrays()
    for one in given:
        one["depth"] = np.zeros((len(one["actions"]) + 1, 4, 4, 1), np.float32)
        one["plane"] = np.zeros((len(one["actions"]) + 1, 4, 4, 1), np.uint8)
        one["unit"] = one[HAND] / 255
    source = write_robomimic(tmp_path / "a.hdf5", given)
    result = bring("robomimic", source, "--image", "all", "--proprio", "none", *KEEP)
    assert list(result.episodes[0].pictures()) == ["image", HAND, "unit"]
    np.testing.assert_array_equal(result.episodes[2].cameras["unit"], given[2][HAND])
    assert "plane is no colour picture" in result.said and "depth is no colour picture" in result.said
    assert "unit: multiples of 1/255 in [0, 1] of float64 were multiplied by 255" in result.said
    named = bring("robomimic", source, "--image", FRONT, "plane", "--proprio", "none", *KEEP)
    assert named.episodes[0].cameras["plane"].shape[1:] == (4, 4, 1), "further cameras stay grey"
    alone = bring("robomimic", source, "--image", "plane", "--proprio", "none", *KEEP)
    assert alone.episodes[0].pictures()["image"].shape[1:] == (4, 4, 3)


def test_one_camera_is_the_same_dataset_however_it_is_asked_for(bring: Import, source: Path) -> None:
    keys = ("--proprio", "object", *KEEP)
    first = bring("robomimic", source, "--image", FRONT, *keys).dataset
    assert first.spec["origin"]["image"] == FRONT and "camera_sizes" not in first.spec
    named = bring("robomimic", source, "--image", f"image={FRONT}", *keys).dataset
    shards = [[np.asarray(one.images) for one in dataset.episodes()] for dataset in (first, named)]
    for one, other in zip(*shards, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), f"Choose images with --image: one or several of {FRONT}, {HAND}, or all"),
        (("--image", FRONT, "side"), "there are no images 'side'; it has images"),
        (("--image", FRONT, FRONT), f"the images '{FRONT}' are named twice"),
        (
            ("--image", f"a={FRONT}", f"b={HAND}"),
            f"no camera is called image, which every dataset with images has. "
            f"Call one so: --image image={FRONT}",
        ),
        (("--image", f"image={FRONT}", f"image={HAND}"), "two cameras are called 'image'"),
        (("--image", FRONT, f"state={HAND}"), "the camera 'state' must be named by letters"),
        (("--image", FRONT, f"a/b={HAND}"), "the camera 'a/b' must be named by letters"),
        (("--image", "all", FRONT), "--image names 'all' beside others"),
        (("--image", FRONT, "none"), "--image names 'none' beside others"),
        (("--image", FRONT, "object"), "'object' is no camera but float64 of shape (T, 10)"),
        (
            ("--image", FRONT, HAND, "--camera-sizes", "hand=8"),
            "--camera-sizes names hand, but the cameras that are "
            f"taken are: image, {HAND}. Name one of these",
        ),
        (("--image", FRONT, "--camera-sizes", "image"), "camera_sizes must be NAME=SIZE"),
        (("--image", FRONT, "--camera-sizes", "image=8", "image=9"), "each once, got 'image=9'"),
        (("--image", FRONT, "--camera-sizes", "image=-8"), "a whole number of pixels"),
    ],
)
def test_a_choice_that_cannot_be_is_wrong_usage_and_says_what_can(
    bring: Import, source: Path, options: tuple[str, ...], words: str
) -> None:
    result = bring("robomimic", source, *options, "--proprio", "none")
    assert (result.code, result.out.exists()) == (2, False)
    assert words in result.said


def test_the_size_holds_for_all_cameras_and_one_may_have_its_own(bring: Import, source: Path) -> None:
    sizes = ("--image-size", "6", "--camera-sizes", "wrist=0")
    cameras = ("--image", FRONT, f"wrist={HAND}")
    result = bring("robomimic", source, *cameras, "--proprio", "none", *sizes, "--flip", "vertical")
    shapes = {name: shown.shape[1:] for name, shown in result.episodes[0].pictures().items()}
    assert shapes == {"image": (6, 6, 3), "wrist": (4, 4, 3)}
    assert f"{FRONT}: pictures of 8x8" in result.said and f"{HAND}: pictures" not in result.said
    for episode, wanted in zip(result.episodes, robomimic_arrays(), strict=True):
        np.testing.assert_array_equal(episode.cameras["wrist"], wanted[HAND][:, ::-1])
    assert result.dataset.spec["camera_sizes"] == {"wrist": None}


def test_a_picture_that_breaks_a_rule_is_named_by_its_camera(bring: Import, tmp_path: Path) -> None:
    given = robomimic_arrays()
    for one in given:
        one["sixteen"] = one[HAND].astype(np.uint16)
        one["between"] = one[HAND] + 0.5
    source = write_robomimic(tmp_path / "a.hdf5", given)
    result = bring("robomimic", source, "--image", FRONT, "sixteen", "--proprio", "none")
    assert (
        result.code == 2
        and "'sixteen' must be colour pictures (H, W, 3), found 3 channels of uint16" in result.said
    )
    result = bring("robomimic", source, "--image", FRONT, "between", "--proprio", "none")
    assert result.code == 1 and "obs/between" in result.said and "multiples of 1/255" in result.said


def test_channels_that_come_first_are_moved_for_each_camera(bring: Import, tmp_path: Path) -> None:
    given = robomimic_arrays()
    for one in given:
        one["first"] = np.moveaxis(one[HAND], 3, 1)
    source = write_robomimic(tmp_path / "a.hdf5", [{**one, "first": one["first"]} for one in given])
    result = bring(
        "robomimic", source, "--image", FRONT, "first", "--proprio", "none", *KEEP, "--colour", "bgr"
    )
    np.testing.assert_array_equal(result.episodes[0].cameras["first"], given[0][HAND][..., ::-1])
    assert "first: channels were moved from the first axis to the last" in result.said


def test_a_camera_that_an_episode_lacks_is_refused_with_those_that_all_have(
    bring: Import, source: Path
) -> None:
    with h5py.File(source, "r+") as file:
        del file[f"data/demo_1/obs/{HAND}"], file[f"data/demo_1/next_obs/{HAND}"]
    result = bring("robomimic", source, "--image", FRONT, HAND, "--proprio", "object")
    assert result.code == 1 and f"has no 'obs/{HAND}', which 2 others hold" in result.said
    assert f"Import with --image {FRONT} --proprio object, or leave out" in result.said
    given = ("--image", f"wrist={HAND}", f"image={FRONT}", f"again={FRONT}2")
    with h5py.File(source, "r+") as file:
        for demo in file["data"].values():
            for group in ("obs", "next_obs"):
                demo[f"{group}/{FRONT}2"] = demo[f"{group}/{FRONT}"][()]
    result = bring("robomimic", source, *given, "--proprio", "object")
    words = f"Import with --image image={FRONT} again={FRONT}2 --proprio object"
    assert words in result.said


def seen(number: int, key: str) -> np.ndarray:
    rng = np.random.default_rng([number, len(key)])
    return rng.integers(0, 256, (3, 6, 6 + len(key), 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_with_named_observations_takes_several(kind: str, bring: Import, tmp_path: Path) -> None:
    write = FORMATS[kind][0]
    keys = ("front", "wrist")
    given = [{key: seen(number, key) for key in keys} | {"joint": np.zeros((3, 2))} for number in range(2)]
    options = ("--last-frame", "next") if kind in ("robomimic", "reference") else ()
    for choice in (("front", "wrist"), ("all",), ("wrist=wrist", "front")):
        result = bring(
            kind, write(tmp_path, given), "--image", *choice, "--proprio", "joint", *KEEP, *options
        )
        for episode, wanted in zip(result.episodes, given, strict=True):
            np.testing.assert_array_equal(episode.images, wanted["front"])
            np.testing.assert_array_equal(episode.cameras["wrist"], wanted["wrist"])


def test_a_replay_buffer_of_diffusion_policy_has_several(bring: Import, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    front, wrist = np.concatenate([seen(0, "front")] * 3), np.concatenate([seen(1, "wrist")] * 3)
    columns = {"action": np.zeros((9, 2), np.float32), "front": front, "wrist": wrist}
    store = write_folder(tmp_path / "a.zarr", buffer(columns, np.array([4, 9]), 4))
    choice = ("--image", "front", "wrist", "--proprio", "none", "--last-frame", "repeat")
    first, second = bring("diffusion_policy", store, *choice, *KEEP).episodes
    np.testing.assert_array_equal(first.cameras["wrist"], [*wrist[:4], wrist[3]])
    np.testing.assert_array_equal(second.images, [*front[4:], front[8]])


def test_maniskill_s_cameras_go_by_their_own_names(bring: Import, tmp_path: Path) -> None:
    front, hand = seen(0, "front"), seen(1, "hand")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["traj_0/actions"] = np.zeros((2, 2), np.float32)
        file["traj_0/obs/sensor_data/base_camera/rgb"] = front
        file["traj_0/obs/sensor_data/hand_camera/rgb"] = hand
        file["traj_0/obs/sensor_data/hand_camera/depth"] = np.zeros((3, 6, 6, 1), np.int16)
    result = bring("maniskill", tmp_path / "a.h5", "--image", "all", *KEEP)
    (episode,) = result.episodes
    assert list(episode.pictures()) == ["image", "hand_camera"]
    np.testing.assert_array_equal(episode.cameras["hand_camera"], hand)
    robots = ["sensor_data/base_camera/rgb", "sensor_data/hand_camera/rgb"]
    assert result.dataset.environment[KEY]["cameras"] == robots


def test_minari_s_cameras_may_be_jpegs_and_arrays_side_by_side(bring: Import, tmp_path: Path) -> None:
    given = minari_arrays()
    source = write_minari(tmp_path / "arm-v0", given, jpeg_encoding=True)
    with h5py.File(source / "data/main_data.hdf5", "r+") as file:
        for number, one in enumerate(given):
            file[f"episode_{number}/observations/wrist"] = one["camera"][:, ::-1]
    result = bring("minari", source, "--image", "wrist", "camera", "--proprio", "none", *KEEP)
    for episode, wanted in zip(result.episodes, given, strict=True):
        np.testing.assert_array_equal(episode.images, wanted["camera"][:, ::-1])
        assert np.abs(episode.cameras["camera"].astype(int) - wanted["camera"]).mean() < 80
    assert "camera: decoded from JPEG" in result.said


@pytest.mark.parametrize("videos", [True, False, ("observation.images.wrist",)])
@pytest.mark.parametrize("version", [2, 3])
def test_each_camera_of_lerobot_has_its_own_video_or_pictures(
    videos: Any, version: int, bring: Import, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    from tests.helpers.lerobot import CAMERA, as_version_2, episodes, write_lerobot

    rng = np.random.default_rng(1)
    wrist = "observation.images.wrist"
    given: list[dict[str, Any]] = [
        {**one, wrist: rng.integers(0, 256, (len(one["action"]), 24, 32, 3), dtype=np.uint8)}
        for one in episodes()
    ]
    files = ((0,), (1,), (2,)) if version == 2 else ((0, 1), (2,))
    source = write_lerobot(tmp_path / "source", given, video=videos, files=files)
    if version == 2:
        as_version_2(source, len(given))
    options = ("--proprio", "observation.state", "--last-frame", "repeat", *KEEP)
    refused = bring("lerobot", source, *options)
    assert refused.code == 2 and f"one or several of {CAMERA}, {wrist}, or all" in refused.said
    result = bring("lerobot", source, "--image", CAMERA, wrist, *options)
    for episode, wanted in zip(result.episodes, given, strict=True):
        np.testing.assert_array_equal(episode.images, [*wanted[CAMERA], wanted[CAMERA][-1]])
        np.testing.assert_array_equal(episode.cameras["wrist"], [*wanted[wrist], wanted[wrist][-1]])
    assert (f"{wrist}: decoded from video" in result.said) == bool(videos)
    assert (f"{CAMERA}: decoded from video" in result.said) == (videos is True)
    films = [entry for entry in result.dataset.inputs if entry.path.endswith(".mp4")]
    assert len(films) == len(files) * (2 if videos is True else 1 if videos else 0)


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (("observation.images.front", "observation.images.wrist"), ("wrist",)),
        (("observation.images.front", "observation.images.arm.left"), ("arm.left",)),
        (("agentview_image", "robot0_eye_in_hand_image"), ("robot0_eye_in_hand_image",)),
        (("a/base/rgb", "a/hand/rgb", "a/floor/rgb"), ("hand", "floor")),
        (("top", "left/cam", "right/cam"), ("left_cam", "right_cam")),
        (("top", "camera 2"), ("camera_2",)),
        (("top", "left.state", "right"), ("left_state", "right")),
        (
            ("observation.images.front", "observation.images.image", "observation.images.wrist"),
            ("observation.images.image", "wrist"),
        ),
    ],
)
def test_names_of_further_cameras_read_as_their_keys(
    keys: tuple[str, ...], names: tuple[str, ...], tmp_path: Path
) -> None:
    found = name_cameras(tmp_path, keys, keys, "")
    assert found == {"image": keys[0], **dict(zip(names, keys[1:], strict=True))}
    assert list(found) == ["image", *sorted(names)] and all(map(is_camera_name, names))


def test_all_calls_the_camera_image_that_is_called_so_already(tmp_path: Path) -> None:
    keys = ("obs/front", "obs/image", "obs/wrist")
    assert name_cameras(tmp_path, ("all",), keys, "") == {
        "image": keys[1],
        "front": keys[0],
        "wrist": keys[2],
    }


def test_all_of_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no images; it has vectors"):
        name_cameras(tmp_path, ("all",), (), "it has vectors")


def test_keys_without_names_of_their_own_are_refused_with_the_way_to_name_them(tmp_path: Path) -> None:
    for keys in (("top", "a b", "a_b"), ("top", "image")):
        with pytest.raises(UsageError, match="Name them as NAME=KEY, such as --image wrist="):
            name_cameras(tmp_path, keys, keys, "")
    assert name_cameras(tmp_path, ("a=b",), ("a=b", "c"), "") == {"image": "a=b"}, "a key may hold a sign"
