"""How far an episode got, for signals made up by hand and for scripted episodes of the real scene."""

import gymnasium
import numpy as np
import pytest

import cog.envs
from cog.envs import drawer_grasp
from cog.envs.behaviours import make_behaviour
from cog.envs.cabinet import DRAWER_FLOOR
from cog.envs.make import scene_class
from cog.envs.objects import CUBE, HELD_OUT, TRAIN
from cog.envs.pick_place import PickPlace
from cog.errors import CogError
from cog.evaluation.result import STAGES_BEFORE
from cog.signals import predicates
from cog.signals.stages import FAILURE, always, furthest_stage

STAGES = [name for name, _ in drawer_grasp.DrawerGrasp.stages]
PLACING = [name for name, _ in PickPlace.stages]


def signals(**changes: list[float]) -> dict[str, np.ndarray]:
    """Three frames of a gripper far from everything before a closed drawer, with changes."""
    values = {
        "object_height": [0.026] * 3,
        "object_gripper_distance": [0.2] * 3,
        "drawer_opening": [0.0] * 3,
        "handle_gripper_distance": [0.2] * 3,
    }
    return {name: np.array(changes.get(name, value)) for name, value in values.items()}


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({}, 0),
        ({"handle_gripper_distance": [0.2, 0.01, 0.2]}, 1),
        ({"handle_gripper_distance": [0.2, 0.01, 0.2], "drawer_opening": [0.0, 0.3, 0.6]}, 1),
        ({"drawer_opening": [0.0, 0.5, 0.95]}, 2),
        ({"object_gripper_distance": [0.2, 0.01, 0.2]}, 0),  # above the closed drawer
        (
            {"object_gripper_distance": [0.2, 0.01, 0.2], "drawer_opening": [0.0, 0.2, 0.95]},
            2,
        ),  # before it opened
        ({"object_gripper_distance": [0.2, 0.2, 0.01], "drawer_opening": [0.0, 0.95, 0.95]}, 3),
        ({"object_height": [0.026, 0.08, 0.026], "object_gripper_distance": [0.01, 0.01, 0.2]}, 4),
        ({"object_height": [0.026, 0.2, 0.2]}, 0),  # flung, not held
    ],
)
def test_stage_follows_from_the_signals(changes: dict[str, list[float]], stage: int) -> None:
    stages = drawer_grasp.DrawerGrasp.stages
    assert furthest_stage(signals(**changes), False, stages) == STAGES[stage]


def test_success_is_the_last_stage_whatever_the_signals_say() -> None:
    assert furthest_stage(signals(), True, drawer_grasp.DrawerGrasp.stages) == "success"


def test_a_scene_without_stages_only_fails() -> None:
    assert furthest_stage({"fuel": np.ones(3)}, False, ()) == FAILURE
    assert furthest_stage({"fuel": np.ones(3)}, True, ()) == "success"


def test_the_drawer_scenes_name_their_failures_as_every_evaluation_so_far_did() -> None:
    assert tuple(STAGES) == STAGES_BEFORE
    assert [name for name, _ in scene_class(cog.envs.DOUBLE_DRAWER).stages] == STAGES


def placing(**changes: list[float]) -> dict[str, np.ndarray]:
    """Three frames of an open gripper far from an object on the table, with changes."""
    values = {
        "object_height": [0.018] * 3,
        "object_gripper_distance": [0.2] * 3,
        "object_tray_distance": [0.15] * 3,
        "gripper_opening": [1.0] * 3,
    }
    return {name: np.array(changes.get(name, value)) for name, value in values.items()}


HELD = {"object_gripper_distance": [0.2, 0.01, 0.01], "object_height": [0.018, 0.1, 0.1]}


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({}, 0),
        ({"object_gripper_distance": [0.2, 0.01, 0.2]}, 1),
        ({"object_height": [0.018, 0.1, 0.018]}, 0),  # flung, not held
        ({"object_height": [0.018, 0.1, 0.018], "object_tray_distance": [0.15, 0.01, 0.15]}, 0),
        (HELD, 2),
        (HELD | {"object_tray_distance": [0.15, 0.06, 0.04]}, 3),
        (HELD | {"object_tray_distance": [0.15, 0.06, 0.04], "object_height": [0.018, 0.1, 0.03]}, 4),
        ({"object_gripper_distance": [0.01] * 3, "object_height": [0.15] * 3}, 2),  # from the start `held`
    ],
)
def test_a_placing_that_fails_is_put_at_its_last_step_towards_the_tray(
    changes: dict[str, list[float]], stage: int
) -> None:
    assert furthest_stage(placing(**changes), False, PickPlace.stages) == PLACING[stage]


@pytest.mark.parametrize("env", list(cog.envs.SCENES))
def test_every_scene_begins_its_stages_with_one_that_always_holds_and_names_each_once(env: str) -> None:
    stages = scene_class(env).stages
    assert stages[0][1] is always and all(predicate is not always for _, predicate in stages[1:])
    assert len({name for name, _ in stages}) == len(stages)


def test_thresholds_fit_the_scene() -> None:
    open_, closed = drawer_grasp.STARTS["open"], drawer_grasp.STARTS["closed"]
    assert open_.opening[0] > predicates.ACCESSIBLE_FRACTION > closed.opening[1]
    assert DRAWER_FLOOR + CUBE.height < predicates.OBJECT_LIFTED < predicates.GRASP_HEIGHT
    assert max(thing.height for thing in (*TRAIN, *HELD_OUT)) / 2 < predicates.OBJECT_LIFTED


def test_scripted_opening_gets_to_the_open_drawer_and_no_further() -> None:
    env = gymnasium.make(cog.envs.DRAWER_GRASP, start="closed")
    _, info = env.reset(seed=3)
    frames = [info["signals"]]
    behaviour = make_behaviour("open_drawer", env.unwrapped, np.random.default_rng(0))  # type: ignore[arg-type]
    while not behaviour.done and len(frames) < 40:
        frames.append(env.step(behaviour.act())[-1]["signals"])
    env.close()

    def stage(count: int) -> str:
        return furthest_stage(
            {name: np.array([f[name] for f in frames[:count]]) for name in frames[0]},
            False,
            drawer_grasp.DrawerGrasp.stages,
        )

    stages = [STAGES.index(stage(count)) for count in range(1, len(frames) + 1)]
    assert stages == sorted(stages), "more of an episode never takes it back"
    assert (stages[0], stages[-1]) == (0, 2)
    assert 1 in stages, "the handle is reached before the drawer is open"


def test_a_scripted_placing_goes_through_the_stages_in_their_order() -> None:
    env = gymnasium.make(cog.envs.PICK_PLACE, start="table", observation="state")
    _, info = env.reset(seed=3)
    frames = [info]
    behaviour = make_behaviour("pick_and_place", env.unwrapped, np.random.default_rng(0))
    while not info["success"] and len(frames) < 40:
        info = env.step(behaviour.act())[-1]
        frames.append(info)
    env.close()
    assert info["success"]

    def stage(count: int) -> str:
        signals = {
            name: np.array([frame["signals"][name] for frame in frames[:count]]) for name in info["signals"]
        }
        return furthest_stage(signals, False, PickPlace.stages)

    stages = [PLACING.index(stage(count)) for count in range(1, len(frames) + 1)]
    assert stages == sorted(stages), "more of an episode never takes it back"
    assert set(stages) == set(range(5)), "every stage is seen on the way"


@pytest.mark.parametrize(
    "predicate",
    [
        lambda seen: seen["fuel"][-1] > 0,
        lambda seen: seen["fuel"][1:] > 0,
        lambda seen: seen["fuel"],
        lambda seen: None,
        lambda seen: True,
    ],
)
def test_a_predicate_must_return_one_bool_for_each_frame(predicate):
    with pytest.raises(CogError, match=r"stage 'flown' must return one bool for each frame, \(3,\)"):
        furthest_stage({"fuel": np.ones(3)}, False, [("flown", predicate)])
