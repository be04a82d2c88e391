"""Whether the scenes do what they say: overlaps at the start, actions, held objects, and scripted success.

python -m cog.experiments.tables.scenes --out scenes.json
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import gymnasium
import numpy as np

import cog.envs
from cog.core.bounds import refuse_below
from cog.core.console import console, table
from cog.core.files import write_json
from cog.core.workers import cores, processes
from cog.envs import scene
from cog.envs.behaviours import make_behaviour
from cog.envs.make import any_version, registered_steps, starts_of
from cog.envs.objects import OBJECT_SETS
from cog.errors import UsageError
from cog.experiments.script import script
from cog.experiments.tables.behaviours import SOLUTIONS

Section = Literal["starts", "actions", "holding", "oracles"]
CHAINS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "DrawerGrasp": {"open": SOLUTIONS["open"], "closed": SOLUTIONS["closed"]},
    "DoubleDrawer": SOLUTIONS,
    "PickPlace": {"held": ("place",), "table": ("pick_and_place",)},
}
"""Behaviours that solve each start of each scene, without noise."""
OVERLAP = 0.0005  # m, deeper contacts at the first observation are counted
IDLE = 39  # steps for which a held object is watched
CHUNK = 25  # seeds in one unit of work


@dataclass(frozen=True)
class MeasureScenes:
    """Measure what the scenes promise, from every start with every set of objects."""

    envs: tuple[str, ...] = (
        cog.envs.DRAWER_GRASP_V1,
        cog.envs.DOUBLE_DRAWER_V1,
        cog.envs.PICK_PLACE_V1,
    )
    """Gymnasium ids of the scenes."""
    sections: tuple[Section, ...] = get_args(Section)
    """What is measured."""
    starts: tuple[str, ...] = ()
    """Starts from which it is measured; none: every start."""
    episodes: int = 200
    """Episodes of each start with each set of objects."""
    first: int = 10_000
    """Seed of the first of them; others follow."""
    workers: int = 0
    """Processes, 0 for one per core."""
    out: Path | None = None
    """JSON file for the figures; none writes none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "episodes")
        refuse_below(self, 0, "first", "workers")
        for env in self.envs:
            if env not in cog.envs.SCENES:
                raise UsageError(
                    f"scene {env!r} is unknown", remedy=f"choose from: {', '.join(cog.envs.SCENES)}"
                )
        known = {start for env in self.envs for start in starts_of(env)}
        for start in self.starts:
            if start not in known:
                raise UsageError(
                    f"start {start!r} is unknown", remedy=f"choose from: {', '.join(sorted(known))}"
                )


def build(env: str, start: str, objects: str) -> Any:
    """A scene that shows its state."""
    steps = registered_steps(env)
    with any_version():
        return gymnasium.make(env, start=start, objects=objects, observation="state", max_episode_steps=steps)


def overlaps(env: Any, seed: int) -> float:
    """Deepest overlap (m) at the first observation."""
    env.reset(seed=seed)
    return float(env.unwrapped.overlap())


def misses(env: Any, seed: int) -> float:
    """How far one unit along, or about, an axis ends from where it says, as a share of it."""
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    place, turned = env.unwrapped.gripper_pose()
    axis, action = int(rng.integers(6)), np.zeros(8, np.float32)
    # Towards the middle, where the arm reaches everything and nothing is in the way.
    inward = env.unwrapped.workspace.neutral[axis] - place[axis] if axis < 3 else rng.normal()
    action[axis] = 1.0 if inward > 0 else -1.0
    env.step(action)
    moved, after = env.unwrapped.gripper_pose()
    error = np.abs(np.concatenate([moved - place, after - turned]) - action[:6] * SCALES) / SCALES
    return float(error.max())


SCALES = np.repeat([scene.POSITION_SCALE, scene.ROTATION_SCALE], 3)


def slips(env: Any, seed: int) -> float:
    """How far (m) a held object moves in the gripper while nothing is commanded."""
    env.reset(seed=seed)
    unwrapped = env.unwrapped

    def place() -> np.ndarray:
        held: np.ndarray = unwrapped.object_position() - unwrapped.gripper_position()
        return held

    before = place()
    for _ in range(IDLE):
        env.step(np.zeros(8, np.float32))
    return float(np.linalg.norm(place() - before))


def fails(env: Any, seed: int) -> float:
    """1 if the scripted solution fails, else 0."""
    _, info = env.reset(seed=seed)
    name, start = env.spec.id.split("/")[1][:-3], info["start"].removesuffix("_shifted")
    over = False
    for behaviour in CHAINS[name][start]:
        acting = make_behaviour(behaviour, env.unwrapped, np.random.default_rng(seed))
        while not (over or acting.done):
            *_, terminated, truncated, info = env.step(acting.act())
            over = terminated or truncated
    return float(not info["success"])


@dataclass(frozen=True)
class Measure:
    """How one section is measured and counted."""

    value: Callable[[Any, int], float]
    """Of an episode, from its environment and seed."""
    bad: float
    """Values above it are counted as bad."""
    scale: float
    """From the value to the unit of the table."""
    unit: str
    """That unit."""


MEASURES: dict[Section, Measure] = {
    "starts": Measure(overlaps, OVERLAP, 1000, "mm"),
    "actions": Measure(misses, 0.05, 100, "%"),
    "holding": Measure(slips, 0.001, 1000, "mm"),
    "oracles": Measure(fails, 0.5, 1, ""),
}


def cases(config: MeasureScenes) -> Iterator[tuple[Section, str, str, str]]:
    """Section, scene, start and set of objects of every row."""
    for section in config.sections:
        for env in config.envs:
            for start in starts_of(env):
                if config.starts and start not in config.starts:
                    continue
                if section == "holding" and not start.startswith("held"):
                    continue
                yield from ((section, env, start, objects) for objects in OBJECT_SETS)


def values(section: Section, env: str, start: str, objects: str, seeds: range) -> list[float]:
    """The values of some episodes of a row."""
    built = build(env, start, objects)
    found = [MEASURES[section].value(built, seed) for seed in seeds]
    built.close()
    return found


def measure(config: MeasureScenes, pool: Executor) -> list[dict[str, Any]]:
    """One record per row: how many episodes, how many of them bad, mean and worst value."""
    last = config.first + config.episodes
    chunks = [range(seed, min(seed + CHUNK, last)) for seed in range(config.first, last, CHUNK)]
    rows = list(cases(config))
    asked = [[pool.submit(values, *row, chunk) for chunk in chunks] for row in rows]
    records = []
    for (section, env, start, objects), futures in zip(rows, asked, strict=True):
        found = np.array([value for future in futures for value in future.result()])
        records.append(
            {
                "section": section,
                "env": env,
                "start": start,
                "objects": objects,
                "episodes": config.episodes,
                "bad": int((found > MEASURES[section].bad).sum()),
                "mean": float(found.mean()),
                "worst": float(found.max()),
            }
        )
    return records


def row(record: dict[str, Any]) -> list[str]:
    """A record as people read it."""
    how = MEASURES[record["section"]]
    figures = [f"{how.scale * record[word]:.3g} {how.unit}" for word in ("mean", "worst")]
    words = [record[word] for word in ("section", "env", "start", "objects")]
    return [*words, f"{record['bad']}/{record['episodes']}", *(figures if how.unit else ["", ""])]


def report(config: MeasureScenes) -> None:
    """Print the figures, and write them where asked."""
    with processes(config.workers or cores()) as pool:
        records = measure(config, pool)
    columns = ["section", "scene", "start", "objects", "bad", "mean", "worst"]
    console().print(table("What scenes promise", columns, [row(record) for record in records]))
    if config.out is not None:
        write_json(config.out, {"kind": "scenes", "first": config.first, "rows": records})


if __name__ == "__main__":
    script(MeasureScenes, report)
