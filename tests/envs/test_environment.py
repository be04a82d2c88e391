"""The drawer environment keeps Gymnasium's contract, its seeds and its own promises."""

import copy
import pickle
import re
import subprocess
import sys

import gymnasium
import numpy as np
import psutil
import pytest
from gymnasium.utils.env_checker import check_env

import cog.envs
from cog.envs import drawer_grasp, scene
from cog.envs.bullet import Client
from cog.envs.drawer_grasp import DrawerGrasp
from cog.errors import UsageError
from tests.helpers.rollouts import digest_in_new_process, random_rollout_digest

EXPECTED = re.compile("infinity|out of date")  # a space without bounds; version 0 beside version 1


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
    complaints = [str(w.message) for w in recwarn if not EXPECTED.search(str(w.message))]
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
    env.reset(seed=0)
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        for part in (env.unwrapped, env.unwrapped._client, env.unwrapped._client.api):
            with pytest.raises(TypeError, match="Build the environment again"):
                copied(part)
    env.step(env.action_space.sample())


@pytest.mark.parametrize("name", cog.envs.SCENES)
def test_a_refused_reset_leaves_an_environment_as_it_was(name):
    environment, other = gymnasium.make(name), gymnasium.make(name)
    for options in ({"start": "ajar"}, {"begin": "open"}, ["open"], {"start": None}):
        with pytest.raises(UsageError, match=r"Choose one of|The only one is|Pass a dict"):
            environment.reset(options=options)
    first, again = (made.reset(seed=4)[1]["signals"] for made in (environment, other))
    assert first == again
    environment.step(np.zeros(8, np.float32))
    with pytest.raises(UsageError, match="'ajar'"):
        environment.reset(seed=5, options={"start": "ajar"})
    drawn, usual = (made.reset()[1]["signals"] for made in (environment, other))
    assert drawn == usual, "its random numbers go on as if nothing had been asked"
    environment.close()
    other.close()


@pytest.mark.parametrize("observation", ["image", "state"])
@pytest.mark.parametrize("name", cog.envs.SCENES)
def test_whatever_an_environment_hands_out_may_be_written_into(name, observation):
    def episode(spoil):
        environment = gymnasium.make(name, observation=observation)
        frames = [environment.reset(seed=2)]
        frames += [environment.step(np.full(8, 0.4, np.float32)) for _ in range(2)]
        copies = copy.deepcopy(frames)
        scene = environment.unwrapped
        if spoil:
            handed = [array for frame in frames for array in frame[0].values()]
            handed += [scene.gripper_position(), *scene.gripper_pose(), scene.object_position()]
            handed += [scene.render(), *scene.object_range()]
            for array in handed:
                if array.flags.writeable:
                    array[...] = 77
            for frame in frames:
                frame[-1]["signals"].clear()
        copies += [copy.deepcopy(environment.step(np.full(8, -0.3, np.float32))) for _ in range(3)]
        copies.append(copy.deepcopy(environment.reset(seed=3)))
        environment.close()
        return copies

    for usual, spoilt in zip(episode(False), episode(True), strict=True):
        for word, array in usual[0].items():
            np.testing.assert_array_equal(array, spoilt[0][word])
        assert usual[-1] == spoilt[-1]


def test_an_environment_says_what_is_wrong_before_its_first_reset_and_after_its_end():
    environment = DrawerGrasp(image_size=8)
    for act in (lambda: environment.step(np.zeros(8)), environment.render):
        with pytest.raises(UsageError, match=r"after a reset\. Call reset first"):
            act()
    environment.reset(seed=0)
    environment.close()
    for act in (lambda: environment.step(np.zeros(8)), environment.render, environment.reset):
        with pytest.raises(UsageError, match=r"is closed\. Build it again"):
            act()
    environment.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_size": 48.0}, r"image_size is 48\.0; it must be a whole number"),
        ({"image_size": "48"}, "image_size is '48'"),
        ({"render_size": 7}, "render_size is 7"),
        ({"render_mode": "nope"}, "render_mode 'nope' is unknown"),
        ({"observation": "depth"}, "observation 'depth' is unknown"),
    ],
)
def test_an_argument_of_another_kind_is_refused_by_its_name(options, said):
    with pytest.raises(UsageError, match=said):
        DrawerGrasp(**options)


def test_an_environment_without_render_mode_draws_nothing():
    environment = DrawerGrasp(image_size=8, render_mode=None)
    environment.reset(seed=0)
    with pytest.raises(UsageError, match="render_mode=None"):
        environment.render()
    environment.close()


def test_an_emptied_world_has_the_light_of_a_new_one():
    def picture(client):
        client.rebuild()
        client.load(scene.ASSETS / "table.urdf", fixed=True)
        return client.image(24, 24)

    new, used = Client(DrawerGrasp.camera), Client(DrawerGrasp.camera)
    lit = picture_lit(used)
    expected = picture(new)
    assert not np.array_equal(lit, expected)
    np.testing.assert_array_equal(picture(used), expected)
    new.close()
    used.close()


def test_the_light_is_the_renderers_own():
    ours, its = Client(DrawerGrasp.camera), Client(DrawerGrasp.camera)
    its._light = {}
    for client in (ours, its):
        client.load(scene.ASSETS / "table.urdf", fixed=True)
        client.load(scene.ASSETS / "widowx250.urdf", fixed=True)
    np.testing.assert_array_equal(ours.image(48, 48), its.image(48, 48))
    ours.close()
    its.close()


def picture_lit(client):
    """A picture of the table under another light."""
    client.load(scene.ASSETS / "table.urdf", fixed=True)
    client.light(np.array([0.2, 0.9, 0.3]), np.array([0.4, 0.9, 1.0]))
    return client.image(24, 24)


def test_render_serves_people_at_another_size(env):
    env.reset(seed=0)
    assert env.render().shape == (384, 384, 3)
    assert env.observation_space["image"].shape == (48, 48, 3)


def _signals_of_episode(env: gymnasium.Env, seed: int) -> list[dict[str, float]]:
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    return [env.step(rng.uniform(-1, 1, 8).astype(np.float32))[4]["signals"] for _ in range(5)]


def test_loading_the_simulator_says_nothing() -> None:
    run = subprocess.run([sys.executable, "-c", "import cog.envs.bullet"], capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")
