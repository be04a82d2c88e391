"""How good the scripted behaviours are: chains that solve each start, and the clumsy versions of each skill.

python -m cog.experiments.tables.behaviours --out docs/results/data/behaviours.json --sheets runs/sheets
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np

import cog.envs
from cog.core.bounds import refuse_below
from cog.core.console import console, table
from cog.core.files import write_bytes, write_json
from cog.core.videos import write_sheet
from cog.core.workers import cores, processes
from cog.envs.behaviours import make_behaviour
from cog.envs.make import any_version
from cog.evaluation.intervals import wilson
from cog.experiments.script import script
from cog.signals.predicates import PREDICATES

SMALL, LARGE = 48, 256  # pixels of the contact sheets: what the policy sees, and what people see
SHEET_SEEDS = 3


@dataclass(frozen=True)
class Trial:
    """One row: a chain of behaviours from a start, and what is counted."""

    env: str
    """Gymnasium id."""
    start: str
    """Start of every episode."""
    chain: tuple[str, ...]
    """Behaviours, one after the other."""
    counted: str
    """Predicate of the last frame, or `success` of the scene at any step."""
    steps: int
    """Horizon."""
    suboptimal: bool = False
    """Whether the clumsy versions act, with the collector's noise of 0.1."""
    reference: float | None = None
    """Rate of the paper's code for the same clumsy behaviour in its own simulator."""


DRAWERS, TRAY = cog.envs.DOUBLE_DRAWER, cog.envs.PICK_PLACE
SOLUTIONS = {
    "open": ("grasp",),
    "closed": ("open_drawer", "grasp"),
    "blocked_drawer": ("close_then_open", "grasp"),
    "blocked_object": ("move_blocker_then_open", "grasp"),
}
TRIALS = (
    *(
        Trial(DRAWERS, start + variant, chain, "success", 80)
        for variant in ("", "_shifted")
        for start, chain in SOLUTIONS.items()
    ),
    *(
        Trial(TRAY, start + variant, chain, "success", 40)
        for variant in ("", "_shifted")
        for start, chain in (("held", ("place",)), ("table", ("pick_and_place",)))
    ),
    Trial(TRAY, "table", ("grasp",), "grasp_success", 40, True, 0.48),
    Trial(TRAY, "held", ("place",), "placed", 40, True),
    Trial(TRAY, "table", ("pick_and_place",), "placed", 40, True),
    Trial(DRAWERS, "open", ("grasp",), "grasp_success", 80, True),
    Trial(DRAWERS, "closed", ("open_drawer",), "drawer_opened", 80, True, 0.67),
    Trial(DRAWERS, "blocked_drawer", ("close_top_drawer",), "top_drawer_closed", 80, True),
    Trial(DRAWERS, "blocked_drawer", ("close_then_open",), "drawer_opened", 80, True, 0.70),
    Trial(DRAWERS, "blocked_object", ("move_blocker",), "blocker_moved", 80, True),
    Trial(DRAWERS, "blocked_object", ("move_blocker_then_open",), "drawer_opened", 80, True, 0.25),
)
NOISE = 0.1


@dataclass(frozen=True)
class MeasureBehaviours:
    """Measure every chain and every clumsy behaviour, and draw what the starts look like."""

    episodes: int = 100
    """Episodes of each row."""
    out: Path | None = None
    """JSON file for the figures; none writes none."""
    sheets: Path | None = None
    """Folder for contact sheets of every scene's starts and behaviours; none draws none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "episodes")


def play(trial: Trial, env: gymnasium.Env, seed: int) -> Iterator[dict[str, Any]]:
    """Act out one episode; yields what the environment tells at the start and after every step."""
    _, info = env.reset(seed=seed)
    yield info
    rng = np.random.default_rng(seed)
    over = False
    for name in trial.chain:
        options = {"suboptimal": True} if trial.suboptimal else {}
        behaviour = make_behaviour(name, env.unwrapped, rng, options)
        while not (over or behaviour.done):
            action = behaviour.act() + (NOISE if trial.suboptimal else 0.0) * rng.standard_normal(8)
            _, _, terminated, truncated, info = env.step(np.clip(action, -1, 1).astype(np.float32))
            over = terminated or truncated
            yield info


def attempt(trial: Trial, seed: int) -> tuple[bool, int]:
    """One episode: whether what is counted came about, and its number of steps."""
    with any_version():
        env = gymnasium.make(trial.env, start=trial.start, observation="state", max_episode_steps=trial.steps)
    _, *told = play(trial, env, seed)
    env.close()
    if trial.counted == "success":
        return any(info["success"] for info in told), len(told)
    return bool(PREDICATES[trial.counted](told[-1]["signals"])), len(told)


def measure(trials: tuple[Trial, ...], episodes: int, pool: Executor) -> list[dict[str, Any]]:
    """One record per trial, with its Wilson interval."""
    asked = [[pool.submit(attempt, trial, seed) for seed in range(episodes)] for trial in trials]
    records = []
    for trial, futures in zip(trials, asked, strict=True):
        outcomes = [future.result() for future in futures]
        rate = wilson(sum(good for good, _ in outcomes), episodes)
        records.append(
            {
                "env": trial.env,
                "start": trial.start,
                "chain": list(trial.chain),
                "suboptimal": trial.suboptimal,
                "counted": trial.counted,
                "reference": trial.reference,
                "successes": rate.successes,
                "episodes": rate.episodes,
                "low": rate.low,
                "high": rate.high,
                "mean_steps": sum(steps for _, steps in outcomes) / episodes,
            }
        )
    return records


def start_sheet(env_id: str) -> np.ndarray:
    """Every start of a scene, a row each: pairs of a large render and the policy's own image, enlarged."""
    with any_version():
        env = gymnasium.make(env_id, render_size=LARGE, image_size=SMALL)
    rows = []
    for start in env.unwrapped.starts:  # type: ignore[attr-defined]
        cells = []
        for seed in range(SHEET_SEEDS):
            observation, _ = env.reset(seed=seed, options={"start": start})
            seen = cv2.resize(observation["image"], (LARGE, LARGE), interpolation=cv2.INTER_NEAREST)
            cells += [np.asarray(env.render()), seen]
        row = np.concatenate(cells, 1)
        cv2.putText(row, start, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (200, 0, 0), 1)
        rows.append(row)
    env.close()
    return np.concatenate(rows)


def behaviour_strips(env_id: str) -> list[tuple[str, np.ndarray]]:
    """One episode of every row of a scene whose start is not shifted: a caption and frames (T, H, W, 3)."""
    strips = []
    for trial in TRIALS:
        if trial.env == env_id and not trial.start.endswith("_shifted"):
            with any_version():
                env = gymnasium.make(
                    env_id,
                    start=trial.start,
                    observation="state",
                    max_episode_steps=trial.steps,
                    render_size=LARGE,
                )
            frames = np.stack([np.asarray(env.render()) for _ in play(trial, env, seed=0)])
            env.close()
            strips.append((f"{trial.start}: {described(trial.chain, trial.suboptimal)}", frames))
    return strips


def described(chain: Sequence[str], suboptimal: bool) -> str:
    """A chain as people read it."""
    return " + ".join(chain) + (" (clumsy)" if suboptimal else "")


def row(record: Mapping[str, Any]) -> list[str]:
    """A record as people read it."""
    rate = f"{record['successes']}/{record['episodes']} [{record['low']:.2f}, {record['high']:.2f}]"
    reference = "" if record["reference"] is None else f"{record['reference']:.2f}"
    chain = described(record["chain"], record["suboptimal"])
    return [record["env"], record["start"], chain, record["counted"], rate, reference]


def report(config: MeasureBehaviours) -> None:
    """Print the rates, and write figures and sheets where asked."""
    with processes(cores()) as pool:
        records = measure(TRIALS, config.episodes, pool)
    columns = ["scene", "start", "behaviours", "counted", "rate", "paper's code"]
    console().print(table("Scripted behaviours", columns, [row(record) for record in records]))
    if config.out is not None:
        write_json(config.out, {"kind": "behaviour rates", "noise": NOISE, "rates": records})
    if config.sheets is not None:
        config.sheets.mkdir(parents=True, exist_ok=True)
        for env_id in cog.envs.SCENES:
            name = env_id.split("/")[1]
            encoded = cv2.imencode(".png", start_sheet(env_id)[..., ::-1])[1].tobytes()
            write_bytes(config.sheets / f"{name}.png", encoded)
            if strips := behaviour_strips(env_id):
                write_sheet(config.sheets / f"{name}_behaviours.png", strips)


if __name__ == "__main__":
    script(MeasureBehaviours, report)
