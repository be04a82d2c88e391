"""The drawer environment keeps Gymnasium's contract, its seeds and its own promises."""

import copy
import pickle

import gymnasium
import numpy as np
import psutil
import pytest
from gymnasium.utils.env_checker import check_env

import cog.envs
from cog.envs import drawer_grasp, scene
from cog.envs.drawer_grasp import DrawerGrasp
from cog.errors import UsageError
from tests.helpers.rollouts import digest_in_new_process, random_rollout_digest


@pytest.fixture
def env():
    environment = gymnasium.make(cog.envs.DRAWER_GRASP)
    yield environment
    environment.close()


@pytest.mark.parametrize("observation", ["image", "state"])
@pytest.mark.parametrize("start", ["open", "closed"])
def test_gymnasium_checker_finds_nothing(start, observation, recwarn):
    environment = gymnasium.make(cog.envs.DRAWER_GRASP, start=start, observation=observation)
    check_env(environment.unwrapped, skip_render_check=False)
    environment.close()
    complaints = [str(w.message) for w in recwarn if "infinity" not in str(w.message)]
    assert complaints == []


def test_rollouts_are_bit_identical_in_two_processes():
    assert random_rollout_digest(seed=3) == digest_in_new_process(seed=3)
    assert random_rollout_digest(seed=3) != random_rollout_digest(seed=4)


def test_a_seed_fixes_the_episode_whatever_came_before(env):
    fresh = _signals_of_episode(env, seed=5)
    for seed in (6, 7):
        _signals_of_episode(env, seed)
    env.reset(options={"start": "closed"})
    env.step(env.action_space.sample())
    assert _signals_of_episode(env, seed=5) == fresh


def test_every_start_varies_arm_cabinet_and_object(env):
    for name, start in drawer_grasp.STARTS.items():
        layouts = [drawer_grasp.draw_layout(start, np.random.default_rng(i)) for i in range(50)]
        for field in ("gripper", "cabinet", "object"):
            spread = np.std([getattr(layout, field) for layout in layouts], axis=0)
            assert (spread[:2] > 0.005).all(), (name, field, spread)
        env.reset(seed=1, options={"start": name})
        opening = env.unwrapped.signals()["drawer_opening"]
        assert start.opening[0] - 0.01 <= opening <= start.opening[1] + 0.01


def test_the_object_is_hidden_in_a_closed_drawer_and_visible_in_an_open_one(env):
    def red_pixels(start: str) -> int:
        image = env.reset(seed=2, options={"start": start})[0]["image"].astype(int)
        return int(((image[..., 0] > 120) & (image[..., 1] < 60)).sum())

    assert red_pixels("closed") == 0
    assert red_pixels("open") >= 4


@pytest.mark.parametrize(
    "action", [np.full(8, np.nan), np.full(8, np.inf), np.zeros(7), np.zeros((1, 8))], ids=str
)
def test_a_bad_action_is_refused_before_the_simulator_moves(env, action):
    env.reset(seed=0)
    before = env.unwrapped.signals()
    with pytest.raises(UsageError, match="action"):
        env.unwrapped.step(action)
    assert env.unwrapped.signals() == before


def test_out_of_range_components_are_clipped_and_counted():
    wild, tame = (gymnasium.make(cog.envs.DRAWER_GRASP) for _ in range(2))
    wild.reset(seed=0)
    tame.reset(seed=0)
    action = np.zeros(8)
    action[:2] = (5.0, -3.0)
    info = wild.unwrapped.step(action)[4]
    assert info["clipped"] == 2
    expected = tame.unwrapped.step(np.clip(action, -1, 1))[4]
    assert info["signals"] == expected["signals"] and expected["clipped"] == 0
    wild.close()
    tame.close()


def test_an_unknown_start_is_refused_with_the_known_ones(env):
    with pytest.raises(UsageError, match=r"'ajar'.*open, closed"):
        gymnasium.make(cog.envs.DRAWER_GRASP, start="ajar")
    with pytest.raises(UsageError, match="'ajar'"):
        env.reset(options={"start": "ajar"})


def test_a_unit_of_action_moves_about_the_documented_distance(env):
    env.reset(seed=0)
    arm = env.unwrapped.arm
    before, _ = arm.pose()
    env.step(np.array([0.5, 0, 0, 0, 0, 0, 0, 0], dtype=np.float32))
    moved = arm.pose()[0] - before
    assert 0.6 * 0.5 * scene.POSITION_SCALE < moved[0] < 1.1 * 0.5 * scene.POSITION_SCALE
    assert np.abs(moved[1:]).max() < 0.005


def test_the_pose_read_once_a_step_is_the_simulators_own(env):
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(10):
        for read, asked in zip(env.unwrapped.gripper_pose(), env.unwrapped.arm.pose(), strict=True):
            np.testing.assert_array_equal(read, asked)
        before = env.unwrapped.gripper_position()
        env.step(rng.uniform(-1, 1, 8).astype(np.float32))
        assert not np.array_equal(env.unwrapped.gripper_position(), before)


def test_returning_to_neutral_keeps_the_gripper_as_it_is(env):
    env.reset(seed=0)
    env.step(np.array([0, 0, 0, 0, 0, 0, -1, 0], dtype=np.float32))
    env.step(np.array([0, 0, 0, 0, 0, 0, 0, 1], dtype=np.float32))
    position, rotation = env.unwrapped.arm.pose()
    assert np.allclose(position, DrawerGrasp.workspace.neutral, atol=0.01)
    assert np.abs(rotation).max() < 0.05
    assert not env.unwrapped.arm.is_open and env.unwrapped.arm.opening() < 0.1


def test_a_hundred_environments_leave_no_client_and_little_memory():
    process = psutil.Process()

    def cycle() -> None:
        environment = gymnasium.make(cog.envs.DRAWER_GRASP)
        environment.reset(seed=0)
        environment.step(environment.action_space.sample())
        environment.close()
        environment.close()

    for _ in range(20):
        cycle()
    before = process.memory_info().rss
    for _ in range(100):  # PyBullet itself holds at most a few dozen connections at once
        cycle()
    assert process.memory_info().rss - before < 20e6


def test_a_world_is_not_copied_for_a_copy_would_close_it(env):
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="Build the environment again"):
            copied(env.unwrapped)


def test_render_serves_people_at_another_size(env):
    env.reset(seed=0)
    assert env.render().shape == (384, 384, 3)
    assert env.observation_space["image"].shape == (48, 48, 3)


def _signals_of_episode(env: gymnasium.Env, seed: int) -> list[dict[str, float]]:
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    return [env.step(rng.uniform(-1, 1, 8).astype(np.float32))[4]["signals"] for _ in range(5)]
