"""Evaluate: run a checkpoint from named starts; report success rates and how far the failures got.

out/
  evaluation.json            the result, written last
  videos/<start>_<success|failure>_<number>.mp4
  sheet_<start>.png          the same episodes as a contact sheet
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cog.core.configs import differences
from cog.core.configs import identity as identity_of
from cog.core.files import code_version, hash_file, make_folder, read_json, write_json
from cog.core.inputs import Input, inputs_to_json
from cog.core.lock import content, locked
from cog.core.options import option_texts, parse_options
from cog.core.videos import can_encode, write_sheet, write_video
from cog.core.workers import cores, processes
from cog.datasets.environment import act_in
from cog.datasets.episode import further
from cog.envs.make import Scene, is_registered, starts_of
from cog.errors import CogError, missing_extra
from cog.evaluation.check import check_scene, reading
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.intervals import CONFIDENCE, wilson
from cog.evaluation.prediction import Payment, payment
from cog.evaluation.result import (
    FORMAT,
    RESULT,
    Evaluation,
    open_evaluation,
    outcome_text,
    results_table,
)
from cog.evaluation.rollout import Fleet, Group, Outcome, episode_seeds, replay, roll_in_worker
from cog.networks.encoder import ObservationShape
from cog.networks.precision import one_thread
from cog.training import checkpoint as checkpoints

VIDEO_SIZE = 256  # pixels

__all__ = ["Evaluation", "evaluate", "open_evaluation", "results_table"]

OnProgress = Callable[[int, str], None]
"""Called with episodes done and a note on the success so far."""


def evaluate(
    config: EvaluateConfig,
    on_progress: OnProgress | None = None,
    on_message: Callable[[str], None] | None = None,
    on_total: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run an evaluation, write it and return it; if it is already finished, read it.

    `on_message` is told what is done to an environment's observations so that they are as in the data, and
    `on_total` the number of episodes before the first of them runs.

    Raises:
        UsageError: the environment or a start does not exist.
        CogError: the checkpoint cannot be used or was trained on other observations, the folder holds
            something else, or videos are requested without the encoder.
    """
    if config.videos and not can_encode():
        raise missing_extra("imageio-ffmpeg", "report")
    checkpoint = checkpoints.load(config.checkpoint)
    config, scene = _in_its_scene(config, checkpoint.scene, str(checkpoint.folder), checkpoint.shape)
    stages = check_scene(
        scene,
        checkpoint.shape,
        checkpoint.action_dimensions,
        config.starts,
        checkpoint.scene,
        films=config.videos != 0,
        on_message=on_message,
    )
    identity = {
        "config": identity_of(config),
        "checkpoint_hash": hash_file(checkpoint.folder / checkpoints.TENSOR_FILES[0]),
        "code_version": code_version(),
    }
    if (config.out / RESULT).exists():
        return _existing(config.out, identity)
    _refuse_foreign(config.out)
    make_folder(config.out)  # so that an unwritable folder is reported before the episodes run
    with locked(config.out, needed=False):
        if (config.out / RESULT).exists():  # by now
            return _existing(config.out, identity)
        if on_total is not None:
            on_total(sum(len(group.numbers) for group in _groups(config)))
        return _run(config, scene, stages, checkpoint, identity, on_progress)


def _run(
    config: EvaluateConfig,
    scene: Scene,
    stages: Sequence[str],
    checkpoint: checkpoints.Checkpoint,
    identity: Mapping[str, Any],
    on_progress: OnProgress | None,
) -> Evaluation:
    """Run the episodes, film some, and publish the result."""
    groups = _groups(config)
    paid = payment(checkpoint)
    with _crew(config, checkpoint.folder, scene, len(groups), paid) as crew:
        outcomes: list[Outcome] = []
        for part in crew.roll(groups):
            outcomes += part
            if on_progress is not None:
                on_progress(len(outcomes), f"success {_share(outcomes)}")
        order = {start: place for place, start in enumerate(config.starts)}
        outcomes.sort(key=lambda outcome: (order[outcome.start], outcome.number))
        shown = _shown(config, outcomes)
        pictures = _pictures(config, shown, crew.replay(shown))
    write_json(
        config.out / RESULT,
        {
            "format": FORMAT,
            "kind": "evaluation",
            **identity,
            "checkpoint": str(config.checkpoint),
            "inputs": inputs_to_json(
                [Input.of("checkpoint", checkpoint.folder, checkpoint.hash, config.out)]
            ),
            "update": checkpoint.update,
            "torch": torch.__version__,
            "confidence": CONFIDENCE,
            "stages": list(stages),
            **({} if paid is None else {"payment": paid._asdict()}),
            "results": [_summary(start, outcomes) for start in config.starts],
            "pictures": pictures,
            "episodes": [_record(outcome) for outcome in outcomes],
        },
        new=True,
    )
    return open_evaluation(config.out)


def check_evaluation(
    config: EvaluateConfig,
    environment: Mapping[str, Any],
    data: Path,
    on_message: Callable[[str], None] | None = None,
) -> None:
    """Refuse, before a policy is trained on `data` of an `environment`, an evaluation that could not run.

    `on_message` is told what `evaluate` would tell it.

    Raises:
        UsageError: the data do not record their environment, or it lacks a start.
    """
    shapes = environment["observations"]
    image = tuple(shapes["image"]) if "image" in shapes else None
    cameras = tuple((name, tuple(shapes[name])) for name in further(shapes))
    poses = shapes.get("proprio" if image else "state", [0])[0]
    shape = ObservationShape(image, poses, cameras)
    config, scene = _in_its_scene(config, environment, str(data), shape)
    films, actions = config.videos != 0, environment["action"][0]
    check_scene(scene, shape, actions, config.starts, environment, films, on_message)


def _in_its_scene(
    config: EvaluateConfig, recorded: Mapping[str, Any], where: str, shape: ObservationShape
) -> tuple[EvaluateConfig, Scene]:
    """The settings completed with the `recorded` scene of the policy's data, and that scene.

    Raises:
        UsageError: neither the settings nor `where` name an environment.
    """
    env, options, steps = act_in(
        recorded,
        where,
        config.env,
        parse_options(config.env_options),
        config.max_episode_steps,
        is_registered,
    )
    given = parse_options(config.env_options)
    kept = {name: value for name, value in options.items() if name not in given}
    texts = (*config.env_options, *option_texts(kept))
    starts = config.starts
    if starts == EvaluateConfig.starts and not set(starts) <= set(starts_of(env)):
        starts = starts_of(env)[:1]
    config = dataclasses.replace(config, starts=starts, env=env, env_options=texts, max_episode_steps=steps)
    scene_options = tuple(parse_options(texts).items())
    image, ends = shape.single().image, config.terminate_on_success
    return config, Scene(env, image, steps, scene_options, ends, reading(shape, recorded))


def _groups(config: EvaluateConfig) -> list[Group]:
    """The episodes in groups by number: neither `only` nor `workers` moves an episode to another row."""
    seeds = episode_seeds(config.seed, config.episodes)
    numbers = sorted(config.only) if config.only else list(range(config.episodes))
    rows = config.envs_per_worker
    blocks: dict[int, list[int]] = {}
    for number in numbers:
        blocks.setdefault(number // rows, []).append(number)
    return [
        Group(start, tuple(block), tuple(seeds[number] for number in block))
        for start in config.starts
        for block in blocks.values()
    ]


@dataclass(frozen=True)
class _Crew:
    """Runs the episodes, in this process or in others."""

    roll: Callable[[Sequence[Group]], Iterator[list[Outcome]]]
    """Yields the outcomes of groups as they finish."""
    replay: Callable[[Sequence[Outcome]], Iterator[np.ndarray]]
    """Yields the frames of episodes, in order."""


@contextmanager
def _crew(
    config: EvaluateConfig, folder: Path, scene: Scene, tasks: int, paid: Payment | None
) -> Iterator[_Crew]:
    """Worker processes, or this process if one is enough."""
    count = min(config.workers or cores(), tasks)
    film = partial(replay, scene, size=VIDEO_SIZE)
    crew = (folder, scene, config.envs_per_worker, config.acting, config.candidates, paid)
    if count == 1:
        with one_thread(), closing(Fleet(*crew)) as fleet:
            yield _Crew(partial(map, fleet.roll), partial(map, film))
        return
    roll = partial(roll_in_worker, *crew)
    with processes(count) as pool:

        def roll_all(groups: Sequence[Group]) -> Iterator[list[Outcome]]:
            for future in as_completed([pool.submit(roll, group) for group in groups]):
                yield future.result()

        yield _Crew(roll_all, partial(pool.map, film))


def _shown(config: EvaluateConfig, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The first successes and failures of each start, by their last steps."""
    count = 1 if config.videos is None else config.videos
    return [
        outcome
        for start in config.starts
        for success in (True, False)
        for outcome in [o for o in outcomes if (o.start, o.success_last) == (start, success)][:count]
    ]


def _pictures(
    config: EvaluateConfig, shown: Sequence[Outcome], films: Iterable[np.ndarray]
) -> dict[str, list[str]]:
    """Write videos and contact sheets; their paths within the folder, by start."""
    files: dict[str, list[str]] = {start: [] for start in config.starts}
    rows: dict[str, list[tuple[str, np.ndarray]]] = {}
    for outcome, frames in zip(shown, films, strict=True):
        caption = f"{outcome.start}, episode {outcome.number}, seed {outcome.seed}: "
        caption += outcome_text(_record(outcome))
        rows.setdefault(outcome.start, []).append((caption, frames))
        if can_encode():
            ending = "success" if outcome.success_last else "failure"
            file = f"videos/{outcome.start}_{ending}_{outcome.number:03d}.mp4"
            write_video(config.out / file, frames)
            files[outcome.start].append(file)
    for start, captioned in rows.items():
        files[start].append(f"sheet_{start}.png")
        write_sheet(config.out / files[start][-1], captioned)
    return files


def _summary(start: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The entry of one start in evaluation.json."""
    group = [outcome for outcome in outcomes if outcome.start == start]
    rate = wilson(sum(outcome.success for outcome in group), len(group))
    last = wilson(sum(outcome.success_last for outcome in group), len(group))
    failures = Counter(outcome.furthest for outcome in group if not outcome.success)
    return {
        "start": start,
        **dataclasses.asdict(rate),
        "rate": rate.value,
        "last_step": {**dataclasses.asdict(last), "rate": last.value},
        "mean_steps": sum(outcome.steps for outcome in group) / len(group),
        **_returns([outcome.predicted for outcome in group], [outcome.discounted for outcome in group]),
        "failures": dict(failures),
    }


def _returns(predicted: Sequence[float | None], discounted: Sequence[float | None]) -> dict[str, float]:
    """Means of the predicted and the discounted returns of episodes; nothing where there are none."""
    found = {"predicted_return": predicted, "discounted_return": discounted}
    present = {name: [one for one in values if one is not None] for name, values in found.items()}
    return {name: sum(values) / len(values) for name, values in present.items() if values}


def _record(outcome: Outcome) -> dict[str, Any]:
    """One episode in evaluation.json."""
    return {
        "number": outcome.number,
        "seed": outcome.seed,
        "start": outcome.start,
        "success": outcome.success,
        "success_last": outcome.success_last,
        "steps": outcome.steps,
        "return": outcome.total,
        **_returns([outcome.predicted], [outcome.discounted]),
        "furthest": outcome.furthest,
    }


def _existing(out: Path, identity: Mapping[str, Any]) -> Evaluation:
    """The evaluation in the folder, if it is the one requested."""
    existing = read_json(out / RESULT, "an evaluation")
    # An evaluation of an older version lacks newer settings; it was run with what are now their defaults.
    standard = identity_of(EvaluateConfig(checkpoint=out, out=out))
    existing["config"] = standard | existing.get("config", {})
    differing = differences({name: existing.get(name) for name in identity}, identity)
    if differing:
        raise CogError(
            f"already holds another evaluation; differing: {', '.join(differing)}. Nothing was written",
            where=out,
            remedy="choose another folder",
        )
    return open_evaluation(out)


def _refuse_foreign(out: Path) -> None:
    """Refuse a folder that holds anything but what an interrupted evaluation left."""
    if not out.exists():
        return
    held = (path for path in content(out) if not path.name.startswith("."))
    if any(path.name != "videos" and not path.match("sheet_*.png") for path in held):
        raise CogError(
            "is not empty and does not hold an evaluation", where=out, remedy="choose another folder"
        )


def _share(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(outcome.success_last for outcome in outcomes) / len(outcomes):.0%}"
