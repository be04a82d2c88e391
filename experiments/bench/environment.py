"""Environment speed: steps a second with image, beside the same loop over PyBullet's own Franka Panda.

Both loops do the same work a step: inverse kinematics, motor targets, as many physics substeps and
one 48x48 image by the software renderer. They run in short turns on one core, so that a busy machine slows
both.

    python -m cog.experiments.bench.environment
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pybullet_data

import cog.envs
from cog.core.bounds import refuse_below
from cog.core.console import console, table
from cog.core.files import write_json
from cog.envs import scene
from cog.envs.bullet import Client, pybullet
from cog.envs.drawer_grasp import DrawerGrasp
from cog.envs.make import any_version
from cog.envs.physics.settings import V0
from cog.errors import UsageError
from cog.experiments.script import script

PANDA_HAND = 11
PANDA_JOINTS = tuple(range(7))
PANDA_REST = (0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.8)


@dataclass(frozen=True)
class BenchEnvironment:
    """Measure environment steps a second."""

    rounds: int = 40
    """Rounds; each times both loops in turn."""
    steps: int = 10
    """Steps of the Panda loop in a round; the scene's loop takes ten times as many."""
    env: str = cog.envs.DRAWER_GRASP
    """Gymnasium id of the scene."""
    start: str = "closed"
    """Start of its episodes."""
    out: Path | None = None
    """JSON file for the figures; none writes none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "rounds", "steps")


def make_scene(config: BenchEnvironment) -> Any:
    """The registered environment, as collection runs it, in an episode that goes on for ever.

    Raises:
        UsageError: there is none of that id, or it has no such start.
    """
    try:
        with any_version():
            env = gymnasium.make(config.env, start=config.start, max_episode_steps=10**9)
    except (gymnasium.error.Error, TypeError) as error:
        raise UsageError(f"environment {config.env!r} cannot be built: {error}") from error
    env.reset(seed=0)
    return env


def panda_loop(
    substeps: int = V0.substeps,
) -> tuple[Callable[[np.ndarray], object], Callable[[], None]]:
    """A step of so many substeps with PyBullet's Panda and plane, and its end."""
    client = Client(DrawerGrasp.camera)
    client.rebuild()
    api = client.api
    data = Path(pybullet_data.getDataPath())
    client.load(data / "plane.urdf", fixed=True)
    panda = client.load(data / "franka_panda" / "panda.urdf", fixed=True)
    for joint, angle in zip(PANDA_JOINTS, PANDA_REST, strict=True):
        api.resetJointState(panda, joint, angle)

    def step(action: np.ndarray) -> np.ndarray:
        state = api.getLinkState(panda, PANDA_HAND, computeForwardKinematics=1)
        target = np.array(state[4]) + 0.2 * scene.POSITION_SCALE * action[:3]
        angles = api.calculateInverseKinematics(
            panda, PANDA_HAND, target.tolist(), state[5], maxNumIterations=20, residualThreshold=1e-4
        )
        api.setJointMotorControlArray(
            panda, PANDA_JOINTS, pybullet.POSITION_CONTROL, targetPositions=angles[: len(PANDA_JOINTS)]
        )
        client.step(substeps)
        return client.image(48, 48)

    return step, client.close


def seconds_per_step(step: Callable[[np.ndarray], object], actions: np.ndarray) -> float:
    """Mean wall time of one step over `actions` (T, 8)."""
    began = time.perf_counter()
    for action in actions:
        step(action)
    return (time.perf_counter() - began) / len(actions)


def seconds_per_reset(env: Any, resets: int) -> float:
    """Median wall time of one reset, the first image included."""
    times = []
    for seed in range(resets):
        began = time.perf_counter()
        env.reset(seed=seed)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(config: BenchEnvironment) -> dict[str, float]:
    """Median steps a second of both loops, the median ratio of the rounds, and the median time of a reset."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.4, 0.4, (10 * config.steps, 8)).astype(np.float32)
    env = make_scene(config)
    panda, close_panda = panda_loop(getattr(env.unwrapped, "physics", V0).substeps)
    seconds_per_step(env.step, actions[:20])
    seconds_per_step(panda, actions[:5])
    ours, theirs = [], []
    for _ in range(config.rounds):
        theirs.append(seconds_per_step(panda, actions[: config.steps]))
        ours.append(seconds_per_step(env.step, actions))
    reset = seconds_per_reset(env, config.rounds)
    env.close()
    close_panda()
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {
        "scene_steps_per_second": 1 / statistics.median(ours),
        "panda_steps_per_second": 1 / statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "reset_milliseconds": 1000 * reset,
    }


def report(config: BenchEnvironment) -> None:
    """Print the figures, and write them where asked."""
    figures = measure(config)
    rows = [
        [f"{config.env}, 48x48", f"{figures['scene_steps_per_second']:.0f}"],
        ["Franka Panda and plane.urdf, 48x48", f"{figures['panda_steps_per_second']:.1f}"],
    ]
    console().print(table("Environment steps on one core", ["loop", "steps/s"], rows))
    console().print(json.dumps(figures))
    if config.out is not None:
        write_json(config.out, figures)


if __name__ == "__main__":
    script(BenchEnvironment, report)
