"""A robot's pictures reach a policy of several cameras by their names, or it is told which are wanted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cog.datasets.robot_interface import RobotInterface
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.writer import DatasetWriter
from cog.errors import CogError
from cog.evaluation.robot import RobotSide
from cog.networks.encoder import ObservationShape

SIZE = (8, 8, 3)


@pytest.mark.parametrize(
    ("known", "names"), [(("grip_cam", "front"), ("grip_cam", "front")), ((), ("image", "wrist"))]
)
def test_several_cameras_without_pictures_are_told_their_names(
    known: tuple[str, ...], names: tuple[str, str]
) -> None:
    shape = ObservationShape(SIZE, 3, (("wrist", SIZE),))
    robot = RobotSide(RobotInterface(cameras=known), shape, 2, True)
    for one, found in ((None, "got no pictures"), (np.zeros((9, 9, 3), np.uint8), "got one picture")):
        with pytest.raises(CogError) as refused:
            robot.inputs(one, np.zeros(3), None)
        assert f"several cameras ({', '.join(names)}), {found}" in str(refused.value)
        assert "images={{{!r}: ..., {!r}: ...}}".format(*names) in str(refused.value)


@pytest.mark.parametrize("flip", ["none", "vertical", "horizontal", "both"])
def test_a_raw_picture_is_seen_as_the_writer_stored_it_whichever_way_it_is_turned_over(
    flip: Any, tmp_path: Path
) -> None:
    arm = RobotInterface(flip=flip)
    camera = np.random.default_rng(1).integers(0, 256, (3, 12, 20, 3), dtype=np.uint8)
    with DatasetWriter(tmp_path / "arm", image_size=8, interface=arm) as writer:
        writer.add_episode(np.zeros((2, 2)), images=camera, proprio=np.zeros((3, 3)))
    robot = RobotSide(RobotInterface(flip=flip, resize="stretch"), ObservationShape(SIZE, 3), 2, True)
    held = open_dataset(tmp_path / "arm").read(0)[0].images
    assert held is not None
    for frame, stored in zip(camera, held, strict=True):
        pictures, _ = robot.inputs(frame, np.zeros(3), "rgb")
        assert pictures is not None
        np.testing.assert_array_equal(pictures["image"], stored[None])
