"""The wrist camera moves with the gripper, sees what it holds, and leaves all else as it is without it."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import cog.envs
from cog.envs.behaviours import make_behaviour
from cog.envs.bullet import LIGHT, pybullet
from cog.envs.make import Scene, make_environment
from cog.errors import UsageError

MOVES = {
    "along": [0.6, 0, 0, 0, 0, 0, 0, 0],
    "across": [0, -0.8, 0, 0, 0, 0, 0, 0],
    "up": [0, 0, 0.5, 0, 0, 0, 0, 0],
    "yaw": [0, 0, 0, 0, 0, 0.9, 0, 0],
    "tilt": [0, 0, 0, 0.9, -0.6, 0, 0, 0],
}


def make(env_id: str, **options: Any) -> Any:
    return gymnasium.make(env_id, **{"wrist": True, **options}).unwrapped


def red(image: np.ndarray) -> np.ndarray:
    """The pixels of the red cube."""
    found = image.astype(int)
    return (found[..., 0] > 120) & (found[..., 1] < 60) & (found[..., 2] < 60)


def fingers(image: np.ndarray) -> np.ndarray:
    """The pixels of the black fingers, which hang down into the upper half of the picture."""
    return image[:24, 4:-4].max(axis=-1) < 40


@pytest.mark.parametrize("env_id", cog.envs.SCENES)
def test_everything_else_is_the_same_bits_with_a_wrist_camera_and_without(env_id: str) -> None:
    options = {"randomise": ("lighting", "camera", "friction"), "objects": "train"}
    without, having = make(env_id, wrist=False, **options), make(env_id, **options)
    assert set(without.observation_space.spaces) == {"image", "proprio"}
    assert set(having.observation_space.spaces) == {"image", "proprio", "wrist"}
    rng = np.random.default_rng(0)
    frames = [env.reset(seed=7) for env in (without, having)]
    for _ in range(5):
        plain, other = frames
        wrist = other[0].pop("wrist")
        assert wrist.shape == (48, 48, 3) and wrist.dtype == np.uint8 and plain[0].keys() == other[0].keys()
        for name, value in plain[0].items():
            np.testing.assert_array_equal(value, other[0][name])
        assert plain[1:] == other[1:]
        action = rng.uniform(-1, 1, 8).astype(np.float32)
        frames = [env.step(action) for env in (without, having)]
    np.testing.assert_array_equal(without.render(), having.render())
    without.close()
    having.close()


@pytest.mark.parametrize("env_id", [cog.envs.DRAWER_GRASP, cog.envs.DOUBLE_DRAWER_V1])
def test_the_scenes_own_picture_is_that_of_the_one_camera_which_scenes_have_always_had(env_id: str) -> None:
    env = make(env_id)
    seen, _ = env.reset(seed=1)
    api, camera = env._client.api, env.camera
    pixels = api.getCameraImage(
        48,
        48,
        api.computeViewMatrix(camera.eye, camera.target, (0, 0, 1)),
        api.computeProjectionMatrixFOV(camera.field, 1.0, 0.05, 2.0),
        shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
        flags=pybullet.ER_NO_SEGMENTATION_MASK,
        **LIGHT,
    )[2]
    np.testing.assert_array_equal(seen["image"], np.reshape(pixels, (48, 48, 4))[..., :3])
    env.close()


@pytest.mark.parametrize("env_id", cog.envs.SCENES)
def test_gymnasiums_checker_finds_nothing(env_id: str) -> None:
    env = make(env_id, image_size=16)
    check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("env_id", [cog.envs.DRAWER_GRASP, cog.envs.DOUBLE_DRAWER_V1])
def test_the_open_fingers_stay_where_they_are_in_it_while_the_world_moves(env_id: str, move: str) -> None:
    env = make(env_id, start="closed")
    first = env.reset(seed=0)[0]["wrist"]
    for _ in range(3):
        later = env.step(np.array(MOVES[move], np.float32))[0]["wrist"]
    before, after = fingers(first), fingers(later)
    left, right = before[:, :20].sum(), before[:, 20:].sum()
    assert min(left, right) > 40, "both fingers are in it"
    assert (before != after).sum() <= 0.1 * before.sum()
    assert (first[24:] != later[24:]).any(axis=-1).mean() > 0.15
    env.close()


@pytest.mark.parametrize("env_id", [cog.envs.PICK_PLACE, cog.envs.PICK_PLACE_V1])
def test_a_held_object_is_seen_between_the_fingers_and_goes_where_they_go(env_id: str) -> None:
    env = make(env_id, start="held")
    seen, _ = env.reset(seed=3)
    for action in (np.zeros(8), *([MOVES["along"]] * 2), *([MOVES["across"]] * 2)):
        seen = env.step(np.array(action, np.float32))[0]["wrist"]
        rows, columns = np.nonzero(red(seen))
        assert len(rows) > 40
        middle = columns.mean()
        _, finger_columns = np.nonzero(fingers(seen))
        apart = finger_columns + 4 - middle
        assert (apart < -3).sum() > 20 and (apart > 3).sum() > 20, "one finger on either side of it"
        assert abs(middle - 23.5) < 7 and 8 < rows.mean() < 28  # in version 0 it slides in the grip
    env.close()


def test_the_object_that_a_grasp_approaches_grows_in_it() -> None:
    env = make(cog.envs.DOUBLE_DRAWER_V1, start="open", terminate_on_success=False)
    seen, _ = env.reset(seed=2)
    grasp = make_behaviour("grasp", env, np.random.default_rng(0))
    areas = [int(red(seen["wrist"]).sum())]
    while not grasp.done:
        areas.append(int(red(env.step(grasp.act())[0]["wrist"]).sum()))
    assert 4 <= areas[0] < 60 < areas[-1]
    env.close()


def test_it_has_the_light_of_the_scene_and_no_jitter() -> None:
    first, again, light, camera = (
        make(cog.envs.PICK_PLACE_V1, randomise=randomise).reset(seed=5)[0]
        for randomise in ((), (), "lighting", "camera")
    )
    np.testing.assert_array_equal(first["wrist"], again["wrist"])
    assert not np.array_equal(first["wrist"], light["wrist"])
    assert not np.array_equal(first["image"], camera["image"])
    np.testing.assert_array_equal(first["wrist"], camera["wrist"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wrist": "yes"}, r"wrist is 'yes'\. Make it true or false"),
        ({"wrist": 1}, r"wrist is 1\. Make it true or false"),
        ({"observation": "state"}, r"wrist is true, but observation='state' shows no pictures"),
    ],
)
def test_a_wrist_camera_that_cannot_be_is_refused_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(cog.envs.PICK_PLACE_V1, **options)


def test_a_scene_is_built_with_it_by_its_options() -> None:
    scene = Scene(cog.envs.PICK_PLACE_V1, (16, 16, 3), 5, (("wrist", True),))
    env = make_environment(scene)
    assert env.reset(seed=0)[0]["wrist"].shape == (16, 16, 3)
    env.close()
