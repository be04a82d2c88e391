"""Version 1 of the scenes: what starts, actions, grips and presses say is what PyBullet measures."""

import itertools
import math
from xml.etree import ElementTree

import gymnasium
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import cog.envs
from cog.envs import double_drawer, drawer_grasp, pick_place, scene
from cog.envs.arm import ARM_JOINTS, FINGER_JOINTS, POINTING_DOWN, TIP_LINK
from cog.envs.behaviours import make_behaviour
from cog.envs.bullet import Client, pybullet
from cog.envs.cabinet import STOP, leftmost
from cog.envs.make import any_version
from cog.envs.objects import HELD_OUT, OBJECT_SETS, TRAIN, Thing
from cog.envs.physics.kinematics import FOREARM, HAND, SHOULDER, UPPER_ARM, joint_angles
from cog.envs.physics.motion import shares
from cog.envs.physics.placement import APART, beside, half_extents, squeezed, turned_extents, within
from cog.experiments.tables.scenes import CHAINS
from cog.signals.stages import LOST, furthest_stage

VERSION_1 = (cog.envs.DRAWER_GRASP_V1, cog.envs.DOUBLE_DRAWER_V1, cog.envs.PICK_PLACE_V1)
WORKSPACE, IDLE = double_drawer.DoubleDrawer.workspace, np.zeros(8, np.float32)


def build(env_id, **options):
    with any_version():
        return gymnasium.make(env_id, observation="state", max_episode_steps=10**6, **options)


def contacts(env):
    """Depth (m) and bodies of every contact, by PyBullet's own collision detection."""
    api = env.unwrapped._client.api
    api.performCollisionDetection()
    return [(-contact[8], *contact[1:5]) for contact in api.getContactPoints()]


def joints(env, which):
    return env.unwrapped._client.api.getJointStates(0, which)


# --- Kinematics and motion -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arm():
    """The arm alone, and a function that sets its angles and reads the gripper's link."""
    client = Client(double_drawer.DoubleDrawer.camera)
    client.rebuild()
    body = client.load(scene.ASSETS / "widowx250.urdf", fixed=True)

    def read(angles):
        for joint, angle in zip(ARM_JOINTS, angles, strict=True):
            client.api.resetJointState(body, joint, angle)
        state = client.api.getLinkState(body, TIP_LINK, computeForwardKinematics=1)
        return np.array(state[4]), np.array(client.api.getMatrixFromQuaternion(state[5])).reshape(3, 3)

    limits = np.array([client.api.getJointInfo(body, joint)[8:10] for joint in ARM_JOINTS])
    yield read, limits
    client.close()


unit = st.floats(0, 1)
places = st.tuples(unit, unit, unit).map(
    lambda shares: WORKSPACE.low + np.array(shares) * (WORKSPACE.high - WORKSPACE.low)
)
turns = st.tuples(*(st.floats(-limit, limit) for limit in scene.ROTATION_LIMIT))


def axes_of(turn):
    down = pybullet.getQuaternionFromEuler(POINTING_DOWN)
    _, orientation = pybullet.multiplyTransforms(
        (0, 0, 0), pybullet.getQuaternionFromEuler(turn), (0, 0, 0), down
    )
    return np.array(pybullet.getMatrixFromQuaternion(orientation)).reshape(3, 3)


def reachable(place, axes):
    x, y, z = place - HAND * axes[:, 0] - [0, 0, SHOULDER]
    return math.hypot(math.hypot(x, y), z) < UPPER_ARM + FOREARM - 0.001


@given(places, turns)
@settings(deadline=None)
def test_the_arm_is_where_its_inverse_kinematics_puts_it(arm, place, turn):
    read, _ = arm
    axes = axes_of(turn)
    assume(reachable(place, axes))
    position, seen = read(joint_angles(place, axes))
    assert np.abs(position - place).max() < 1e-6
    assert np.abs(seen - axes).max() < 1e-6


@given(places)
@settings(deadline=None)
def test_pointing_down_needs_no_joint_beyond_its_limits_unless_the_arm_is_stretched(arm, place):
    _, limits = arm
    axes = axes_of((0.0, 0.0, 0.0))
    x, y, z = place - HAND * axes[:, 0] - [0, 0, SHOULDER]
    assume(math.hypot(math.hypot(x, y), z) < UPPER_ARM + FOREARM - 0.02)
    angles = np.array(joint_angles(place, axes))
    assert (angles > limits[:, 0]).all() and (angles < limits[:, 1]).all()


@given(places, turns, turns)
@settings(deadline=None)
def test_a_little_further_on_the_angles_differ_a_little(place, turn, direction):
    axes, near = axes_of(turn), place + 0.001 * np.array(direction)
    assume(reachable(place, axes) and reachable(near, axes))
    assume(math.hypot(*(place - HAND * axes[:, 0])[:2]) > 0.05)  # above the waist its angle is any
    moved = np.abs(np.subtract(joint_angles(place, axes), joint_angles(near, axes)))
    assert moved.max() < 0.15


def test_out_of_reach_the_arm_is_stretched_towards_the_place(arm):
    read, _ = arm
    angles = joint_angles(np.array([2.0, 0.0, 0.3]), axes_of((0.0, 0.0, 0.0)))
    assert np.isfinite(angles).all() and abs(angles[2] + math.atan2(0.25, 0.04975)) < 1e-6
    assert read(angles)[0][0] > 0.45


@given(st.integers(1, 60))
def test_a_movement_covers_the_whole_way_once_and_begins_and_ends_slowly(substeps):
    parts = list(shares(substeps))
    assert len(parts) == substeps
    assert math.isclose(sum(more for _, more in parts), 1.0)
    assert all(more > 0 for _, more in parts)
    assert np.allclose([here for here, _ in parts], np.cumsum([0.0, *(more for _, more in parts[:-1])]))
    if substeps >= 6:
        fastest = max(more for _, more in parts)
        assert parts[0][1] < 0.6 * fastest and parts[-1][1] < 0.6 * fastest


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_one_unit_moves_5_cm_or_turns_a_tenth_of_a_radian_along_its_own_axis(axis, sign):
    env = build(cog.envs.DRAWER_GRASP_V1, start="closed")
    unwrapped, action = env.unwrapped, IDLE.copy()
    action[axis] = sign
    scales = np.repeat([0.05, 0.1], 3)
    for seed in range(3):
        env.reset(seed=seed)
        if axis < 3:  # from the other side of the neutral place
            back = IDLE.copy()
            back[axis] = -0.8 * sign
            env.step(back)
        before = np.concatenate(unwrapped.gripper_pose())
        env.step(action)
        moved = np.concatenate(unwrapped.gripper_pose()) - before
        assert np.abs(moved - action[:6] * scales)[axis] < 0.05 * scales[axis], (seed, moved)
        assert np.abs(moved - action[:6] * scales).max() < 0.05 * 0.05, (seed, moved)
        assert max(abs(state[1]) for state in joints(env, ARM_JOINTS)) < 0.05  # rad/s: it stands
    env.close()


def test_version_0_moves_less_than_it_says_and_still_does():
    env = build(cog.envs.DRAWER_GRASP, start="closed")
    env.reset(seed=0)
    before = env.unwrapped.gripper_position()
    env.step(np.array([0, 0, 1, 0, 0, 0, 0, 0], np.float32))
    assert 0.03 < (env.unwrapped.gripper_position() - before)[2] < 0.04
    env.close()


# --- Starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", VERSION_1)
@pytest.mark.parametrize("objects", list(OBJECT_SETS))
def test_nothing_lies_inside_anything_else_at_the_first_observation(env_id, objects):
    env = build(env_id, objects=objects)
    for start, seed in itertools.product(env.unwrapped.starts, (0, 93, 119)):
        env.reset(seed=seed, options={"start": start})
        deepest = max(contacts(env), default=(0.0,))
        assert deepest[0] < 0.0005, (start, seed, deepest)
        assert env.unwrapped.overlap() == pytest.approx(deepest[0])
    env.close()


def test_version_0_begins_with_bodies_inside_each_other():
    env = build(cog.envs.DOUBLE_DRAWER, start="open")
    depths = []
    for seed in range(6):
        env.reset(seed=seed)
        depths.append(max(contacts(env))[0])
    assert max(depths) > 0.001
    env.close()


def test_an_object_that_once_was_shot_off_the_table_stays_in_its_drawer():
    env = build(cog.envs.DOUBLE_DRAWER_V1, start="open")
    env.reset(seed=93)
    place = env.unwrapped.object_position()
    for _ in range(10):
        env.step(IDLE)
    assert np.linalg.norm(env.unwrapped.object_position() - place) < 0.001
    env.close()


things = st.sampled_from((*TRAIN, *HELD_OUT))


def corners(thing: Thing, turn: float) -> np.ndarray:
    """Outline (N, 2) of a thing seen from above, turned."""
    length, width = thing.size[:2]
    if thing.shape == "box":
        points = np.array(list(itertools.product((-length / 2, length / 2), (-width / 2, width / 2))))
    else:
        angles = np.linspace(0, 2 * np.pi, 721)
        points = length / 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    cos, sin = math.cos(turn), math.sin(turn)
    return points @ np.array([[cos, sin], [-sin, cos]])


@given(things, st.floats(-7, 7))
def test_half_extents_are_those_of_the_turned_outline(thing, turn):
    assert np.allclose(half_extents(thing, turn), np.abs(corners(thing, turn)).max(0), atol=1e-5)


def test_a_rectangle_that_is_turned_by_a_right_angle_has_its_sides_exchanged():
    assert np.allclose(turned_extents(0.14, 0.044, 0.0), [0.07, 0.022])
    assert np.allclose(turned_extents(0.14, 0.044, math.pi / 2), [0.022, 0.07])


@given(things, st.floats(-0.5, 0.5), st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)))
def test_what_is_put_between_walls_lies_between_them_and_else_where_it_was(thing, turn, spot):
    low, high, spot = np.array([-0.06, -0.059]), np.array([0.06, 0.067]), np.array(spot)
    placed = within(spot, half_extents(thing, turn), low, high)
    outline = placed + corners(thing, turn)
    assert (outline > low).all() and (outline < high).all()
    asked = spot + corners(thing, turn)
    if (asked > low + APART).all() and (asked < high - APART).all():
        assert np.allclose(placed, spot, atol=1e-5)


@given(things, st.floats(-0.5, 0.5), st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)))
def test_what_is_put_beside_a_tray_lies_beside_it(thing, turn, spot):
    half, tray = half_extents(thing, turn), np.array([0.055, 0.055])
    placed = beside(np.array(spot), half, np.zeros(2), tray)
    assert (np.abs(placed) >= tray + half).any()
    if (np.abs(spot) >= tray + half + APART).any():
        assert np.array_equal(placed, spot)
    else:
        assert (placed != spot).sum() <= 1


@given(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), st.tuples(st.floats(0.002, 3), st.floats(0.002, 3)))
def test_offsets_are_shrunk_into_the_room_there_is(share, room):
    bounds, room = np.array([0.015, 0.025]), np.array(room)
    offset = squeezed(np.array(share) * bounds, bounds, room)
    assert (np.abs(offset) <= room - APART + 1e-12).all()
    wide = room - APART >= bounds
    assert np.array_equal(offset[wide], (np.array(share) * bounds)[wide])


@pytest.mark.parametrize("yaw", [-0.08, 0.0, 0.08])
def test_an_open_drawer_reaches_as_far_to_the_left_as_its_boxes(yaw):
    client = Client(double_drawer.DoubleDrawer.camera)
    client.rebuild()
    body = client.load(double_drawer.CABINET_URDF, np.zeros(3), yaw, fixed=True)
    slide = client.api.getJointInfo(body, 0)
    assert slide[2] == pybullet.JOINT_PRISMATIC and slide[9] == double_drawer.DRAWER_TRAVEL + STOP
    client.api.resetJointState(body, 0, slide[9])
    edge = leftmost(yaw, double_drawer.DRAWER_TRAVEL)
    for gap in (0.001, -0.001):  # m, of a wall beside the drawer, where the tray is
        wall = client.solid("box", (0.02, 0.4, 0.1), (0, 0, 0), 0, np.array([edge - 0.01 - gap, 0.3, 0.05]))
        closest = client.api.getClosestPoints(body, wall, 0.01)
        assert (min(point[8] for point in closest) > 0) == (gap > 0)
        client.api.removeBody(wall)
    client.close()


# --- Forces, inertias and grips --------------------------------------------------------------------


def test_a_held_object_stays_where_it_is_and_the_fingers_move_alike():
    env = build(cog.envs.PICK_PLACE_V1, start="held")
    for seed in range(4):
        env.reset(seed=seed)
        held = env.unwrapped.object_position() - env.unwrapped.gripper_position()
        for _ in range(39):
            env.step(IDLE)
        slid = env.unwrapped.object_position() - env.unwrapped.gripper_position() - held
        assert np.linalg.norm(slid) < 0.001, (seed, slid)
        left, right = (state[0] for state in joints(env, FINGER_JOINTS))
        assert abs(left - right) < 0.001
    env.close()


def pressed(env_id):
    """Greatest share of a motor's effort that was applied, and deepest contact (m), under clumsy pressing."""
    env = build(env_id, start="open")
    api = env.unwrapped._client.api
    effort = np.array([api.getJointInfo(0, joint)[10] for joint in (*ARM_JOINTS, *FINGER_JOINTS)])
    share, deepest, rng = 0.0, 0.0, np.random.default_rng(0)
    for seed in range(3):
        env.reset(seed=seed)
        target = env.unwrapped.object_position()
        for _ in range(12):
            offset = (target - env.unwrapped.gripper_position())[:2] / 0.05
            action = np.concatenate([np.clip(offset, -1, 1), [-1.0], rng.uniform(-1, 1, 3), [-1.0, 0.0]])
            env.step(action.astype(np.float32))
            applied = np.abs([state[3] for state in joints(env, (*ARM_JOINTS, *FINGER_JOINTS))])
            share = max(share, float((applied / effort).max()))
            deepest = max(deepest, max(contacts(env))[0])
    env.close()
    return share, deepest


def test_motors_keep_to_the_efforts_of_the_robots_file_and_presses_sink_in_little():
    share, deepest = pressed(cog.envs.DOUBLE_DRAWER_V1)
    before, sunk = pressed(cog.envs.DOUBLE_DRAWER)
    assert share <= 1.001 < before
    assert deepest < 0.006 and deepest < sunk


@pytest.mark.parametrize("name", ["widowx250", "double_cabinet", "cabinet", "blocker", "cube"])
def test_every_link_has_the_inertia_of_its_file(name):
    env = build(cog.envs.DOUBLE_DRAWER_V1)
    client = env.unwrapped._client
    body = client.load(scene.ASSETS / f"{name}.urdf")
    links = {client.api.getBodyInfo(body)[0].decode(): -1}
    for joint in range(client.api.getNumJoints(body)):
        links[client.api.getJointInfo(body, joint)[12].decode()] = joint
    for link in ElementTree.parse(scene.ASSETS / f"{name}.urdf").getroot().iter("link"):
        given_ = link.find("inertial/inertia").attrib
        index = links[link.attrib["name"]]
        found = client.api.getDynamicsInfo(body, index)[2]
        assert np.allclose(found, [float(given_[word]) for word in ("ixx", "iyy", "izz")], rtol=1e-6), link
    env.close()


# --- The end of an episode -------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", VERSION_1)
@pytest.mark.parametrize("terminate", [True, False])
def test_an_object_that_leaves_the_table_ends_the_episode_at_a_stage_of_its_own(env_id, terminate):
    env = build(env_id, terminate_on_success=terminate)
    _, info = env.reset(seed=0)
    frames = [info["signals"]]
    api = env.unwrapped._client.api
    api.resetBasePositionAndOrientation(env.unwrapped.object, (0.27, 0.5, 0.1), (0, 0, 0, 1))
    for _ in range(20):
        _, reward, terminated, truncated, info = env.step(IDLE)
        frames.append(info["signals"])
        if terminated:
            break
    assert terminated and not truncated and reward == 0.0 and not info["success"]
    assert -0.5 < info["signals"]["object_height"] < 0
    signals = {name: np.array([frame[name] for frame in frames]) for name in frames[0]}
    assert furthest_stage(signals, False, env.unwrapped.stages) == LOST[0]
    env.close()


def test_version_0_lets_an_object_fall_for_ever():
    env = build(cog.envs.PICK_PLACE, start="table")
    env.reset(seed=0)
    api = env.unwrapped._client.api
    api.resetBasePositionAndOrientation(env.unwrapped.object, (0.27, 0.5, 0.1), (0, 0, 0, 1))
    assert not any(env.step(IDLE)[2] for _ in range(20))
    env.close()


@pytest.mark.parametrize("env_id", VERSION_1)
def test_scripts_solve_every_start_with_objects_that_are_held_out(env_id):
    env = build(env_id, objects="held_out")
    for start, chain in CHAINS[env_id.split("/")[1][:-3]].items():
        _, info = env.reset(seed=1, options={"start": start})
        over = False
        for name in chain:
            behaviour = make_behaviour(name, env.unwrapped, np.random.default_rng(1))
            while not (over or behaviour.done):
                _, _, over, _, info = env.step(behaviour.act())
        assert info["success"], start
    env.close()


@pytest.mark.parametrize("env_id, rate", [(cog.envs.PICK_PLACE, 24), (cog.envs.PICK_PLACE_V1, 12)])
def test_a_scene_tells_how_many_actions_it_takes_a_second(env_id, rate):
    env = build(env_id)
    assert env.metadata["render_fps"] == rate
    assert rate * env.unwrapped.physics.substeps * scene.TIME_STEP == pytest.approx(1.0)
    env.close()


def test_versions_differ_in_their_physics_and_in_the_stage_of_a_lost_object_alone():
    pairs = (
        (drawer_grasp.DrawerGrasp, drawer_grasp.DrawerGraspV1),
        (double_drawer.DoubleDrawer, double_drawer.DoubleDrawerV1),
        (pick_place.PickPlace, pick_place.PickPlaceV1),
    )
    for old, new in pairs:
        own = {name for name in vars(new) if not name.startswith("_")}
        assert own == {"physics", "stages"} and new.stages == (*old.stages, LOST)
