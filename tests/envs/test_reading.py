"""A plain environment is shown to a policy as its data were read: names, order, sizes, turned pictures."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cog.datasets.resize import stretched
from cog.datasets.robot_interface import FLIPS, KEY, RobotInterface
from cog.envs.make import Scene, make_environment
from cog.envs.plain import Plain
from cog.envs.reading import UNKNOWN, Reading
from cog.errors import CogError, UsageError
from cog.evaluation.check import check_scene, reading
from cog.networks.encoder import ObservationShape

PARTS = {"grip": 1, "joint": 3, "lift": 2}
CAMERAS = {"front": (6, 4, 3), "side": (6, 4, 3), "wrist": (5, 7, 3), "ir": (5, 7, 1)}


class Arm(gymnasium.Env[Any, Any]):
    """It observes parts of a pose and pictures, each of numbers that say what it is."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __init__(self, parts: list[str], cameras: list[str]) -> None:
        rng = np.random.default_rng(0)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.held: dict[str, np.ndarray] = {}
        boxes: list[tuple[str, spaces.Space[Any]]] = []
        for name in parts:
            self.held[name] = rng.normal(size=PARTS[name]).astype(np.float32)
            boxes.append((name, spaces.Box(-9, 9, (PARTS[name],), np.float32)))
        for name in cameras:
            self.held[name] = rng.integers(0, 256, CAMERAS[name], dtype=np.uint8)
            boxes.append((name, spaces.Box(0, 255, CAMERAS[name], np.uint8)))
        self.observation_space = spaces.Dict(boxes)
        self.render_mode = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.held, {}

    def step(self, action: Any) -> Any:
        return self.held, 0.0, False, False, {}


@given(st.permutations(list(PARTS)), st.integers(1, 3), st.permutations(list(PARTS)))
def test_the_pose_has_the_parts_of_the_data_in_their_order(
    observed: list[str], count: int, recorded: list[str]
) -> None:
    arm, wanted = Arm(observed, []), recorded[:count]
    shown = Plain(arm, "an arm", reading=Reading(pose=tuple((name, PARTS[name]) for name in wanted)))
    own = np.concatenate([arm.held[name] for name in wanted])
    np.testing.assert_array_equal(shown.reset()[0]["state"], own)
    assert shown.observation_space["state"].shape == own.shape
    if wanted == observed:
        assert shown.notes == ()
    else:
        assert all(f"{name} ({PARTS[name]})" in shown.notes[0] for name in wanted)


@given(
    st.permutations(["front", "side", "wrist", "ir"]),
    st.sampled_from(["image", "front", "left"]),
    st.sampled_from(["front", "obs/front", "observation.images.front"]),
    st.sampled_from(["none", "vertical", "horizontal", "both"]),
)
def test_pictures_go_by_the_recorders_names_each_turned_over_as_in_the_data(
    observed: list[str], camera: str, recorded: str, flip: Any
) -> None:
    arm = Arm(["grip"], observed)
    known = RobotInterface(cameras=(recorded, "ir"), flip=flip, resize="keep", pose=(("grip", 1),))
    shape = ObservationShape((6, 4, 3), 1, (("heat", (5, 7, 1)),), first=camera)
    shown = Plain(arm, "an arm", 6, reading=reading(shape, {KEY: known.to_json()}))
    seen = shown.reset()[0]
    assert list(seen) == [camera, "heat", "proprio"]
    np.testing.assert_array_equal(seen[camera], np.flip(arm.held["front"], FLIPS[flip]))
    np.testing.assert_array_equal(seen["heat"], np.flip(arm.held["ir"], FLIPS[flip]))
    assert shown.observation_space["heat"].shape == (5, 7, 1)
    assert [f"turned over ({flip})" in note for note in shown.notes] == ([] if flip == "none" else [True])


@pytest.mark.parametrize("size", [(3, 2), (9, 9), (4, 8)])
def test_pictures_are_resized_as_the_import_resized_those_of_the_data(size: tuple[int, int]) -> None:
    arm = Arm(["grip"], ["side"])
    seen = Plain(arm, "an arm", 3, reading=Reading((("image", "side"),), (size,))).reset()[0]
    np.testing.assert_allclose(seen["image"], stretched(arm.held["side"], *size), atol=1, rtol=0)


def test_an_only_picture_is_the_policys_only_one_whatever_its_name() -> None:
    arm, known = Arm(["grip"], ["side"]), Reading((("image", "agentview_image"),), ((3, 2),))
    seen = Plain(arm, "an arm", 3, reading=known).reset()[0]
    np.testing.assert_allclose(
        seen["image"], arm.held["side"].reshape(3, 2, 2, 2, 3).mean((1, 3)), atol=0.5, rtol=0
    )


@pytest.mark.parametrize(
    "known, said",
    [
        (
            Reading((("image", "top"),), ((6, 4),)),
            "sees the picture 'top', but an arm observes 'front', 'ir'",
        ),
        (
            Reading((("image", "front"), ("obs", "a/front")), ((6, 4), (6, 4))),
            "sees 2 pictures, of which an arm observes only 'front', 'ir'",
        ),
        (Reading(pose=(("hand", 4),)), r"pose is hand \(4\), but an arm observes grip \(1\), joint \(3\)"),
        (Reading(pose=(("joint", 2), ("grip", 1))), r"pose is joint \(2\), grip \(1\), but an arm"),
    ],
)
def test_what_the_environment_does_not_have_by_name_is_refused(known: Reading, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Plain(Arm(["grip", "joint"], ["front", "ir"]), "an arm", 6, reading=known)


def test_a_picture_of_another_size_is_refused_where_the_data_kept_theirs() -> None:
    known = Reading((("image", "front"),), ((3, 2),), keeps_size=True)
    with pytest.raises(CogError, match="front is 6x4, but the policy's data kept their size of 3x2"):
        Plain(Arm(["grip"], ["front"]), "an arm", 3, reading=known).reset()


def test_data_without_a_pose_show_none_and_data_of_one_row_take_the_environments() -> None:
    arm = Arm(["grip", "joint"], ["front"])
    assert Plain(arm, "an arm", 6, reading=Reading(pose=())).reset()[0]["proprio"].tolist() == [0]
    one = Plain(Arm(["joint"], []), "an arm", reading=Reading(pose=(("observation.state", 3),)))
    assert one.reset()[0]["state"].shape == (3,) and one.notes == ()


@pytest.mark.parametrize("flip", ["vertical", "horizontal", "both"])
def test_a_scenes_pictures_are_turned_over_as_well(flip: Any) -> None:
    known = RobotInterface(flip=flip)
    shown = reading(ObservationShape((24, 24, 3), 8), {KEY: known.to_json()})
    options = (("wrist", True),)
    plain, turned = (
        make_environment(Scene("cog/DrawerGrasp-v1", (24, 24, 3), 5, options, reading=one))
        for one in (UNKNOWN, shown)
    )
    action = np.full(8, 0.3, np.float32)
    seen = [(env.reset(seed=3)[0], env.step(action)[0]) for env in (plain, turned)]
    for as_it_is, over in zip(*seen, strict=True):
        for camera in ("image", "wrist"):
            np.testing.assert_array_equal(over[camera], np.flip(as_it_is[camera], FLIPS[flip]))
            assert not np.array_equal(over[camera], as_it_is[camera])
        np.testing.assert_array_equal(over["proprio"], as_it_is["proprio"])
    told: list[str] = []
    scene = Scene("cog/DrawerGrasp-v1", (24, 24, 3), 5, reading=shown)
    check_scene(scene, ObservationShape((24, 24, 3), 8), 8, ("open",), {}, on_message=told.append)
    assert len(told) == 1 and f"turned over ({flip})" in told[0]
    for env in (plain, turned):
        env.close()
