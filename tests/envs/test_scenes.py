"""The paper's two scenes: starts, obstacles, held objects, object sets, randomisation and shifted poses."""

import re

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import cog.envs
from cog.envs import double_drawer
from cog.envs.make import scene_class
from cog.envs.objects import HELD_OUT, TRAIN
from cog.errors import UsageError
from cog.signals import predicates as rewards
from tests.helpers.rollouts import digest_in_new_process, random_rollout_digest

EXPECTED = re.compile("infinity|out of date")  # a space without bounds; version 0 beside version 1
SCENES = [(cog.envs.DOUBLE_DRAWER, "blocked_object"), (cog.envs.PICK_PLACE, "held")]
EVERY_START = [(env_id, start) for env_id in cog.envs.SCENES for start in scene_class(env_id).starts]


def make(env_id, **options):
    return gymnasium.make(env_id, **options)


@pytest.mark.parametrize("env_id, start", SCENES)
@pytest.mark.parametrize("observation", ["image", "state"])
def test_gymnasium_checker_finds_nothing(env_id, start, observation, recwarn):
    env = make(env_id, start=start, observation=observation)
    check_env(env.unwrapped, skip_render_check=False)
    env.close()
    assert [str(w.message) for w in recwarn if not EXPECTED.search(str(w.message))] == []


@pytest.mark.parametrize("env_id, start", SCENES)
def test_rollouts_are_bit_identical_in_two_processes(env_id, start):
    here = random_rollout_digest(3, env_id=env_id, start=start)
    assert here == digest_in_new_process(3, env_id=env_id, start=start)
    assert here != random_rollout_digest(4, env_id=env_id, start=start)


@pytest.mark.parametrize("env_id, start", EVERY_START)
def test_nothing_moves_by_itself_and_no_start_is_a_success(env_id, start):
    env = make(env_id, start=start)
    idle = np.zeros(8, np.float32)
    for seed in range(5):
        _, first = env.reset(seed=seed)
        for _ in range(3):
            info = env.step(idle)[4]
        assert not first["success"] and not info["success"]
        for name in ("object_height", "drawer_opening", "top_drawer_opening", "blocker_gap_distance"):
            if name in info["signals"]:
                assert abs(info["signals"][name] - first["signals"][name]) < 0.01, (start, seed, name)
    env.close()


@pytest.mark.parametrize(
    "start, solved",
    [
        ("closed", {"top_drawer_closed", "blocker_moved"}),
        ("blocked_drawer", {"blocker_moved"}),
        ("blocked_object", {"top_drawer_closed"}),
        ("open", {"top_drawer_closed", "blocker_moved", "drawer_opened"}),
    ],
)
def test_a_start_has_the_obstacles_that_it_is_named_after(start, solved):
    env = make(cog.envs.DOUBLE_DRAWER, start=start)
    names = ("top_drawer_closed", "blocker_moved", "drawer_opened")
    for seed in range(5):
        signals = env.reset(seed=seed)[1]["signals"]
        if start == "open" and signals["drawer_opening"] <= rewards.OPEN_FRACTION:
            continue
        assert {name for name in names if rewards.PREDICATES[name](signals)} == solved
    env.close()


@pytest.mark.parametrize("start", ["blocked_drawer", "blocked_object"])
def test_the_handle_cannot_be_reached_past_an_obstacle(start):
    opened = sum(_open_directly(start, seed) for seed in range(10))
    assert opened <= 1
    assert sum(_open_directly("closed", seed) for seed in range(10)) >= 9


def test_a_held_object_stays_held_while_the_arm_moves_and_returns_to_neutral():
    env = make(cog.envs.PICK_PLACE, start="held")
    for seed in range(10):
        env.reset(seed=seed)
        for action in ([0.6, 0, 0.6, 0, 0, 0, 0, 0], [0, 0.8, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]):
            signals = env.step(np.array(action, np.float32))[4]["signals"]
            assert signals["object_gripper_distance"] < 0.03, seed
        assert not env.unwrapped.arm.is_open
    env.close()


def test_an_object_in_the_closed_gripper_above_the_tray_is_not_placed():
    signals = {"object_tray_distance": 0.0, "object_height": 0.03, "gripper_opening": 0.4}
    assert not rewards.placed(signals)
    assert rewards.placed(signals | {"gripper_opening": 1.0})
    assert not rewards.placed(signals | {"gripper_opening": 1.0, "object_height": 0.15})
    assert not rewards.placed(signals | {"gripper_opening": 1.0, "object_tray_distance": 0.1})


def test_no_object_is_both_trained_with_and_held_out():
    assert not {thing.name for thing in TRAIN} & {thing.name for thing in HELD_OUT}
    assert not {(thing.shape, thing.size) for thing in TRAIN} & {(t.shape, t.size) for t in HELD_OUT}
    assert all(min(thing.size[:2]) < 0.06 for thing in TRAIN + HELD_OUT)  # m, the fingers open to 0.07


@pytest.mark.parametrize("objects, things", [("train", TRAIN), ("held_out", HELD_OUT)])
def test_every_object_of_a_set_comes_up_and_the_seed_says_which(objects, things):
    env = make(cog.envs.PICK_PLACE, start="table", objects=objects, observation="state")
    drawn = [env.reset(seed=seed)[1]["object"] for seed in range(60)]
    assert set(drawn) == {thing.name for thing in things}
    assert [env.reset(seed=seed)[1]["object"] for seed in range(60)] == drawn
    env.close()


@pytest.mark.parametrize("option", ["lighting", "camera", "friction"])
def test_randomisation_leaves_the_layout_alone_and_follows_from_the_seed(option):
    plain, random = make(cog.envs.DOUBLE_DRAWER), make(cog.envs.DOUBLE_DRAWER, randomise=(option,))
    for seed in range(3):
        first, information = plain.reset(seed=seed)
        second, other = random.reset(seed=seed)
        again, _ = random.reset(seed=seed)
        assert information["signals"] == pytest.approx(
            other["signals"], abs=1e-3
        )  # what touches a wall settles
        assert np.array_equal(second["image"], again["image"])
        assert np.array_equal(first["image"], second["image"]) == (option == "friction")
    plain.reset(seed=0)
    before = plain.reset(seed=1)[0]["image"]
    assert np.array_equal(before, make(cog.envs.DOUBLE_DRAWER).reset(seed=1)[0]["image"])
    friction = [_friction(random, seed) for seed in range(4)]
    assert (len(set(friction)) > 1) == (option == "friction")
    plain.close()
    random.close()


def test_a_shifted_start_places_the_cabinet_outside_every_pose_of_the_start():
    env = make(cog.envs.DOUBLE_DRAWER, observation="state")
    bounds = np.array([high for _, high in double_drawer.STARTS["closed"].cabinet])
    for seed in range(20):
        env.reset(seed=seed, options={"start": "closed"})
        inside = env.unwrapped.cabinet.position - double_drawer.CABINET_POSITION
        env.reset(seed=seed, options={"start": "closed_shifted"})
        outside = env.unwrapped.cabinet.position - double_drawer.CABINET_POSITION
        assert (np.abs(inside[:2]) <= bounds).all()
        assert (np.abs(outside[:2]) >= bounds).all() and (np.abs(outside[:2]) <= 2 * bounds).all()
    env.close()


@pytest.mark.parametrize(
    "options, word",
    [
        ({"objects": "teapots"}, "teapots"),
        ({"randomise": ("gravity",)}, "gravity"),
        ({"randomise": "gravity"}, "'gravity'"),
    ],
)
def test_unknown_options_are_refused_by_name(options, word):
    with pytest.raises(UsageError, match=word):
        make(cog.envs.DOUBLE_DRAWER, **options)


def test_an_object_of_the_open_drawer_lies_where_a_clumsy_grasp_looks_for_it():
    env = make(cog.envs.DOUBLE_DRAWER, start="open", observation="state")
    for seed in range(40):
        env.reset(seed=seed)
        low, high = env.unwrapped.object_range()
        margin = 0.01  # m, since the range of a turned cabinet is spanned by two corners
        place = env.unwrapped.object_position()
        assert (place > low - margin).all() and (place < high + margin).all(), (seed, low, place, high)
    env.close()


def _open_directly(start: str, seed: int) -> bool:
    from cog.envs.behaviours import make_behaviour

    env = make(cog.envs.DOUBLE_DRAWER, start=start, observation="state", max_episode_steps=40)
    env.reset(seed=seed)
    behaviour = make_behaviour("open_drawer", env.unwrapped, np.random.default_rng(seed))
    over = False
    while not (over or behaviour.done):
        *_, over, info = env.step(behaviour.act())
    env.close()
    return bool(info["signals"]["drawer_opening"] > rewards.OPEN_FRACTION)


def _friction(env: gymnasium.Env, seed: int) -> float:
    env.reset(seed=seed)
    scene = env.unwrapped
    return float(scene._client.api.getDynamicsInfo(scene.object, -1)[1])
