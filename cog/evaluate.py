"""Evaluate: roll a checkpoint out from named starts and say how often it succeeds and how the rest fails.

out/
  evaluation.json            everything below, written last
  videos/<start>_<success|failure>_<number>.mp4
  sheet_<start>.png          the same episodes as a contact sheet
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import torch

from cog import checkpoint as checkpoints
from cog.config import differences, to_json
from cog.errors import CogError, missing_extra
from cog.evaluate_config import EvaluateConfig
from cog.evaluation import FORMAT, RESULT, Evaluation, open_evaluation, results_table
from cog.files import code_version, hash_file, read_json, write_json
from cog.intervals import CONFIDENCE, wilson
from cog.rollout import (
    Fleet,
    Group,
    Outcome,
    Scene,
    check_scene,
    episode_seeds,
    replay,
    roll_in_worker,
)
from cog.videos import can_encode, write_sheet, write_video
from cog.workers import cores, processes

VIDEO_SIZE = 256  # pixels
# Fields that say where an evaluation lives and who computes it, not what comes out.
NOT_IDENTITY = ("checkpoint", "out", "workers")

__all__ = ["Evaluation", "evaluate", "open_evaluation", "results_table"]

OnProgress = Callable[[int, str], None]
"""Called with episodes done and a note on the success so far."""


def evaluate(config: EvaluateConfig, on_progress: OnProgress | None = None) -> Evaluation:
    """Run an evaluation, write it and return it; one that is finished already is read instead.

    Raises:
        UsageError: no such environment or start.
        CogError: no usable checkpoint, one trained on other observations, a folder that holds something else,
            or videos asked for without the encoder.
    """
    if config.videos and not can_encode():
        raise missing_extra("imageio-ffmpeg", "report")
    checkpoint = checkpoints.load(config.checkpoint)
    scene = Scene(config.env, checkpoint.shape.image, config.max_episode_steps)
    check_scene(scene, checkpoint.shape, checkpoint.action_dimensions, config.starts)
    identity = {
        "config": {name: value for name, value in to_json(config).items() if name not in NOT_IDENTITY},
        "checkpoint_hash": hash_file(checkpoint.folder / checkpoints.TENSOR_FILES[0]),
        "code_version": code_version(),
    }
    if (config.out / RESULT).exists():
        return _existing(config.out, identity)
    if config.out.exists() and (not config.out.is_dir() or any(_foreign(config.out))):
        raise CogError(f"{config.out} is not empty and holds no evaluation; choose another folder")

    groups = _groups(config)
    outcomes: list[Outcome] = []
    total = sum(len(group.numbers) for group in groups)
    for part in _rolled(config, checkpoint.folder, scene, groups):
        outcomes += part
        if on_progress is not None:
            on_progress(len(outcomes), f"success {_share(outcomes)} of {total}")
    order = {start: place for place, start in enumerate(config.starts)}
    outcomes.sort(key=lambda outcome: (order[outcome.start], outcome.number))
    pictures = {start: _pictures(config, scene, start, outcomes) for start in config.starts}
    write_json(
        config.out / RESULT,
        {
            "format": FORMAT,
            "kind": "evaluation",
            **identity,
            "checkpoint": str(config.checkpoint),
            "update": checkpoint.update,
            "torch": torch.__version__,
            "confidence": CONFIDENCE,
            "results": [_summary(start, outcomes) for start in config.starts],
            "pictures": pictures,
            "episodes": [_record(outcome) for outcome in outcomes],
        },
    )
    return open_evaluation(config.out)


def _groups(config: EvaluateConfig) -> list[Group]:
    """The episodes, cut into groups by number: neither `only` nor `workers` moves one to another row."""
    seeds = episode_seeds(config.seed, config.episodes)
    wanted = sorted(config.only) if config.only else list(range(config.episodes))
    rows = config.envs_per_worker
    blocks: dict[int, list[int]] = {}
    for number in wanted:
        blocks.setdefault(number // rows, []).append(number)
    return [
        Group(start, tuple(numbers), tuple(seeds[number] for number in numbers))
        for start in config.starts
        for numbers in blocks.values()
    ]


def _rolled(
    config: EvaluateConfig, folder: Path, scene: Scene, groups: Sequence[Group]
) -> Iterator[list[Outcome]]:
    """The outcomes of groups as they are finished."""
    count = min(config.workers or cores(), len(groups))
    if count == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a worker, for the same rounding
        try:
            with Fleet(folder, scene, config.envs_per_worker) as fleet:
                yield from map(fleet.roll, groups)
        finally:
            torch.set_num_threads(threads)
        return
    with processes(count) as pool:
        submitted = [
            pool.submit(roll_in_worker, folder, scene, config.envs_per_worker, group) for group in groups
        ]
        for future in as_completed(submitted):
            yield future.result()


def _pictures(config: EvaluateConfig, scene: Scene, start: str, outcomes: Sequence[Outcome]) -> list[str]:
    """Replay the first successes and failures of a start for people; paths within the folder."""
    shown = 1 if config.videos is None else config.videos
    here = [outcome for outcome in outcomes if outcome.start == start]
    chosen = [outcome for outcome in here if outcome.success][:shown]
    chosen += [outcome for outcome in here if not outcome.success][:shown]
    if not chosen:
        return []
    files: list[str] = []
    rows = []
    for outcome in chosen:
        frames = replay(scene, outcome, VIDEO_SIZE)
        ending = "success" if outcome.success else "failure"
        rows.append((f"{start}, episode {outcome.number}, seed {outcome.seed}: {outcome.furthest}", frames))
        if can_encode():
            files.append(f"videos/{start}_{ending}_{outcome.number:03d}.mp4")
            write_video(config.out / files[-1], frames)
    files.append(f"sheet_{start}.png")
    write_sheet(config.out / files[-1], rows)
    return files


def _summary(start: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The entry of one start in evaluation.json."""
    here = [outcome for outcome in outcomes if outcome.start == start]
    rate = wilson(sum(outcome.success for outcome in here), len(here))
    failures = Counter(outcome.furthest for outcome in here if not outcome.success)
    return {
        "start": start,
        **dataclasses.asdict(rate),
        "rate": rate.value,
        "mean_steps": sum(outcome.steps for outcome in here) / len(here),
        "failures": dict(failures),
    }


def _record(outcome: Outcome) -> dict[str, Any]:
    """One episode in evaluation.json."""
    return {
        "number": outcome.number,
        "seed": outcome.seed,
        "start": outcome.start,
        "success": outcome.success,
        "steps": outcome.steps,
        "return": outcome.total,
        "furthest": outcome.furthest,
    }


def _existing(out: Path, identity: Mapping[str, Any]) -> Evaluation:
    """The evaluation that is there already, if it is the one asked for."""
    held = read_json(out / RESULT, "an evaluation")
    differing = differences({name: held.get(name) for name in identity}, identity)
    if differing:
        raise CogError(
            f"{out} already holds another evaluation; differing: {', '.join(differing)}. "
            "Nothing was written; choose another folder."
        )
    return open_evaluation(out)


def _foreign(out: Path) -> Iterator[Path]:
    """What an evaluation that was interrupted does not leave behind."""
    for path in out.iterdir():
        if path.name != "videos" and not path.match("sheet_*.png") and not path.name.startswith("."):
            yield path


def _share(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(outcome.success for outcome in outcomes) / len(outcomes):.0%}"
