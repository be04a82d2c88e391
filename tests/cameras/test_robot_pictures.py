"""A robot's pictures reach a policy of several cameras by their names, or it is told which are wanted."""

import numpy as np
import pytest

from cog.datasets.robot_interface import RobotInterface
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
