"""Pictures are turned over and stretched as asked, whatever the format, and the import says both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cog import cli
from cog.datasets.importers.pictures import Preparation, resizing
from cog.datasets.robot_interface import KEY, RobotInterface
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.writer import DatasetWriter
from tests.helpers.foreign import minari_arrays, robomimic_arrays, write_minari, write_robomimic

TURNS = {
    "none": lambda row, column, height, width: (row, column),
    "vertical": lambda row, column, height, width: (height - 1 - row, column),
    "horizontal": lambda row, column, height, width: (row, width - 1 - column),
    "both": lambda row, column, height, width: (height - 1 - row, width - 1 - column),
}
"""From the place of a pixel to its place in the turned picture."""

sizes = st.integers(1, 7)
pictures = st.tuples(st.just(2), sizes, sizes, st.just(3)).flatmap(
    lambda shape: arrays.arrays(np.uint8, shape)
)


@settings(max_examples=100, deadline=None)
@given(pictures, st.sampled_from(sorted(TURNS)))
def test_every_pixel_moves_where_the_word_says(shown, flip):
    _, height, width, _ = shown.shape
    for picture, found in zip(shown, Preparation(flip, None)(shown), strict=True):
        for row in range(height):
            for column in range(width):
                np.testing.assert_array_equal(
                    found[TURNS[flip](row, column, height, width)], picture[row, column]
                )


@pytest.mark.parametrize("flip", sorted(TURNS))
@pytest.mark.parametrize("form", ["robomimic", "minari"])
def test_an_import_turns_pictures_over_and_records_it(form, flip, tmp_path, capsys):
    if form == "robomimic":
        given_arrays, key = robomimic_arrays(), "agentview_image"
        source, pose = write_robomimic(tmp_path / "source.hdf5", given_arrays), "object"
    else:
        given_arrays, key = minari_arrays(), "camera"
        source, pose = write_minari(tmp_path / "arm-v0", given_arrays), "arm/joints"
    arguments = [str(source), "--out", str(tmp_path / "data"), "--image", key, "--proprio", pose]
    flips = [] if flip == "none" else ["--flip", flip]
    assert cli.run(["import", form, *arguments, "--image-size", "0", *flips]) == 0
    axes = {"none": (), "vertical": (1,), "horizontal": (2,), "both": (1, 2)}[flip]
    dataset = open_dataset(tmp_path / "data")
    for episode, wanted in zip(dataset.episodes(), given_arrays, strict=True):
        np.testing.assert_array_equal(episode.images, np.flip(wanted[key], axes))
    said = f"pictures were turned over (--flip {flip})" in " ".join(capsys.readouterr().out.split())
    assert said == (flip != "none") == ("flip" in dataset.spec["origin"])
    assert dataset.environment[KEY].get("flip", "none") == flip


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((48, 48, 3), 48, ()),
        ((9, 7, 3), None, ()),
        ((480, 640, 3), 48, ("480x640", "48x48", "averaging", "proportions")),
        ((96, 96, 3), 48, ("96x96", "48x48", "averaging")),
        ((8, 8, 3), 48, ("8x8", "48x48", "interpolating")),
        ((40, 96, 3), 48, ("40x96", "interpolating", "proportions")),
    ],
)
def test_how_pictures_are_stretched_is_said_by_size(shape, size, words):
    said = resizing(shape, size)
    assert bool(said) == bool(words)
    assert all(word in said for word in words)
    assert ("proportions" in said) == ("proportions" in words)


def test_an_import_says_how_it_stretched_pictures_of_every_size(tmp_path, capsys):
    source = write_robomimic(tmp_path / "source.hdf5", robomimic_arrays())
    arguments = [str(source), "--out", str(tmp_path / "data"), "--image", "agentview_image"]
    assert cli.run(["import", "robomimic", *arguments, "--proprio", "object"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "pictures of 8x8 (height x width) were stretched to 48x48, interpolating linearly" in said


@pytest.mark.parametrize("flip", sorted(TURNS))
def test_the_writer_turns_the_pictures_of_all_cameras_over_by_its_interface_and_by_no_recorded_fact(
    flip, tmp_path
):
    front, wrist = (
        np.random.default_rng(3).integers(0, 256, (3, size, size + 2, channels)).astype(np.uint8)
        for size, channels in ((8, 3), (5, 1))
    )
    known = RobotInterface(flip=flip)
    given = {"interface": known}, {"environment": {KEY: known.to_json()}}
    axes = {"none": (), "vertical": (1,), "horizontal": (2,), "both": (1, 2)}[flip]
    for name, options, turn in (("robot", given[0], axes), ("facts", given[1], ())):
        with DatasetWriter(tmp_path / name, image_size=None, **options) as writer:
            writer.add_episode(np.zeros((2, 2)), images=front, cameras={"wrist": wrist})
        dataset = open_dataset(tmp_path / name)
        (episode,) = dataset.episodes()
        np.testing.assert_array_equal(episode.images, np.flip(front, turn))
        np.testing.assert_array_equal(episode.cameras["wrist"], np.flip(wrist, turn))
        assert dataset.environment[KEY].get("flip", "none") == flip


@pytest.mark.parametrize("flip", sorted(TURNS))
@pytest.mark.parametrize("size", [None, 6, 3])
def test_a_camera_may_fill_one_buffer_again_and_again(size, flip, tmp_path):
    shown = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)

    def camera():
        buffer = np.empty(shown.shape[1:], np.uint8)
        for picture in shown:
            buffer[:] = picture
            yield buffer

    found = []
    for name, given_pictures in (("array", shown), ("buffer", camera())):
        interface = RobotInterface(flip=flip)
        with DatasetWriter(tmp_path / name, image_size=size, interface=interface) as writer:
            writer.add_episode(np.zeros((4, 2)), images=given_pictures, proprio=np.zeros((5, 1)))
        found += [episode.images for episode in open_dataset(tmp_path / name).episodes()]
    np.testing.assert_array_equal(*found)
