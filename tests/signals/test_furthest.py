"""How far an episode got, for signals made up by hand and for scripted episodes of the real scene."""

import gymnasium
import numpy as np
import pytest

import cog.envs
from cog.envs import drawer_grasp, scene
from cog.envs.behaviours import make_behaviour
from cog.envs.cabinet import DRAWER_FLOOR
from cog.envs.objects import CUBE
from cog.signals.stages import DRAWER_OPEN, FAILURE, OBJECT_LIFTED, STAGES, furthest_stage


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
    assert furthest_stage(signals(**changes), success=False) == STAGES[stage]


def test_success_is_the_last_stage_whatever_the_signals_say() -> None:
    assert furthest_stage(signals(), success=True) == "success"


def test_other_environments_get_no_stage() -> None:
    assert furthest_stage({"fuel": np.ones(3)}, success=False) == FAILURE


def test_thresholds_fit_the_scene() -> None:
    assert drawer_grasp.STARTS["open"].opening[0] > DRAWER_OPEN > drawer_grasp.STARTS["closed"].opening[1]
    assert DRAWER_FLOOR + CUBE.height < OBJECT_LIFTED < scene.GRASP_HEIGHT


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
            {name: np.array([f[name] for f in frames[:count]]) for name in frames[0]}, False
        )

    stages = [STAGES.index(stage(count)) for count in range(1, len(frames) + 1)]
    assert stages == sorted(stages), "more of an episode never takes it back"
    assert (stages[0], stages[-1]) == (0, 2)
    assert 1 in stages, "the handle is reached before the drawer is open"
