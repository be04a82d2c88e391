"""Run an import: pass every episode of a source to the writer, and report what was left out."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cog.core.bounds import refuse_below
from cog.core.files import hash_file
from cog.core.inputs import Input
from cog.core.options import usable_path
from cog.datasets.action_map import ActionMap, Survey, map_actions, measured_map
from cog.datasets.action_scale import FACT, ActionScale
from cog.datasets.importers.detect import open_source
from cog.datasets.importers.foreign.marks import Judge, refuse_unknown, success_rule
from cog.datasets.importers.held import Alike
from cog.datasets.importers.left_out import LeftOut
from cog.datasets.importers.pictures import Preparation
from cog.datasets.importers.source import NONE, ImportOptions, LastFrame, Recording, Source, followed
from cog.datasets.robot_interface import KEY, Colour, Flip
from cog.datasets.storage.dataset import Dataset
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.writer import DatasetWriter
from cog.datasets.writing.checks import MERGED
from cog.errors import UsageError
from cog.signals.success import FACT as SUCCESS_BY
from cog.signals.success import SuccessBy

OnProgress = Callable[[int, int], None]

# A dataset records all of these, whether its format has the option or not, since its hash depends on them.
NOT_TAKEN: Mapping[str, Any] = {
    "image": None,
    "proprio": (),
    "success": None,
    "last_frame": "next",
    "mask": None,
    "episode_steps": None,
}


@dataclass(frozen=True)
class ImportConfig:
    """How an import is written, for every format."""

    action_bounds: Literal["unit", "measured"] = "unit"
    """Whether actions already lie in [-1, 1], or are scaled from the bounds measured over all actions."""
    action_low: tuple[float, ...] = ()
    """Lower bounds of the source's actions, one per component or one for all; they become -1."""
    action_high: tuple[float, ...] = ()
    """Upper bounds of the source's actions, one per component or one for all; they become 1."""
    switches: int = 0
    """Number of last components that are switches: their two values become -1 and 1; 0 between them stays."""
    switch_start: Literal[-1, 1] | None = None
    """Side of such a switch before an episode's first command. Default: the other one than that command's."""
    image_size: int = 48
    """Height and width to which images are stretched, in pixels; 0 keeps theirs."""
    camera_sizes: tuple[str, ...] = ()
    """Other sizes of some cameras, as NAME=SIZE; the first camera's name is image."""
    colour: Colour = "rgb"
    """Channel order of the source's images."""
    flip: Flip = "none"
    """How images are turned over: vertical for upside-down ones, as robosuite's; both is half a turn."""
    success_by: SuccessBy = "any"
    """Whether an episode counts as a success by any of its frames, or by its last."""
    episodes_per_shard: int = 50
    """Episodes in one shard, the unit of possible loss."""

    def __post_init__(self) -> None:
        """Refuse a negative number of switches, and sizes of cameras that are none.

        Raises:
            UsageError: naming it.
        """
        refuse_below(self, 0, "switches")
        self.sizes()

    def sizes(self) -> dict[str, int | None]:
        """The sizes of `camera_sizes` by camera; None keeps theirs.

        Raises:
            UsageError: one is no NAME=SIZE, or a camera is named twice.
        """
        found: dict[str, int | None] = {}
        for text in self.camera_sizes:
            name, _, size = text.rpartition("=")
            if not name or not size.isdecimal() or name in found:
                what = f"camera_sizes must be NAME=SIZE, a whole number of pixels, each once, got {text!r}"
                raise UsageError(
                    what, remedy="write it as in --camera-sizes wrist=64; 0 keeps the camera's size"
                )
            found[name] = int(size) or None
        return found

    def action_map(self, source: Source) -> ActionMap:
        """How the source's actions become those of the dataset.

        Raises:
            UsageError: bounds are both given and to be measured, their number is wrong, or a component that
                should be a switch is none.
        """
        measured = self.action_bounds == "measured"
        if (self.action_low or self.action_high) and measured:
            raise UsageError(
                "action bounds are both given and to be measured", remedy="choose one of the two"
            )
        given = self._given(source)
        every = (source.actions(episode) for episode in range(len(source)))
        if self.switches:
            return map_actions(every, self.switches, given, measured, self.switch_start)
        return measured_map(every) if measured else ActionMap(given)

    def _given(self, source: Source) -> ActionScale | None:
        """The bounds that the options give, one for each component."""
        if not self.action_low and not self.action_high:
            return None
        parts = _first_actions(source).shape[-1]
        low, high = (
            bounds * parts if len(bounds) == 1 else bounds for bounds in (self.action_low, self.action_high)
        )
        return ActionScale(low, high)


DEFAULTS = ImportConfig()


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    dataset: Dataset
    """The new dataset."""
    notes: tuple[str, ...]
    """What was not taken, and what replaces missing data."""


def run_import(
    path: Path,
    out: Path,
    options: ImportOptions,
    config: ImportConfig = DEFAULTS,
    on_progress: OnProgress = lambda done, total: None,
) -> Imported:
    """Write the episodes of a source as the dataset `out`.

    Args:
        path: file or folder of the source.
        out: folder of the dataset, new or empty.
        options: its format and what to take from it.
        config: how it is written.
        on_progress: called with the number of episodes done and in total.

    Raises:
        UsageError: an option names what the source does not have, or the success rule is invalid.
        CogError: the source breaks a rule, or `out` is not empty; nothing is written.
    """
    path, out = usable_path(path), usable_path(out)
    if options.success == NONE:
        options = replace(options, success=None)
    with contextlib.closing(open_source(path, options)) as source:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise UsageError(
                f"the dataset would lie in the source {path}, which must not change",
                where=out,
                remedy="choose a folder outside of it with --out",
            )
        return _import(source, out, options, config, on_progress)


def _import(
    source: Source, out: Path, options: ImportOptions, config: ImportConfig, on_progress: OnProgress
) -> Imported:
    """Write the episodes of an open source."""
    judge = success_rule(options.success, source.path)
    mapped = config.action_map(source)
    inputs = [Input.of("file", file, hash_file(file), out) for file in source.files]
    taken = {**NOT_TAKEN, **vars(options)}
    taken["image"] = _as_given(taken["image"])
    if taken.get("terminated", "") is None:  # data imported before it could be named keep their hash
        del taken["terminated"]
    if mapped.stays:  # else the scale says it all
        taken |= {"stays": [stay.part for stay in mapped.stays], "switch_start": mapped.start}
    tally, survey = LeftOut(source.path, config.success_by), Survey()
    alike = Alike(source.path, hasattr(options, "mask"))
    sizes = config.sizes()
    if unknown := [name for name in sizes if name not in source.cameras]:
        have = ", ".join(source.cameras) or "none"
        what = f"--camera-sizes names {', '.join(unknown)}, but the cameras that are taken are: {have}"
        raise UsageError(what, where=source.path, remedy="name one of these, or take it with --image")
    prepare = Preparation(config.flip, config.image_size or None, sizes, source.cameras)
    turned = {} if config.flip == "none" else {"flip": config.flip}
    environment = dict(source.environment)
    environment[KEY] = {**environment.get(KEY, {}), **turned}
    writer = DatasetWriter(
        out,
        image_size=config.image_size or None,
        camera_sizes=sizes,
        colour=config.colour,
        action_scale=mapped.scale,
        environment=environment,
        origin={
            "kind": "import",
            "format": options.format,
            "files": [entry.hash for entry in inputs],
            **taken,
            **turned,
        },
        inputs=inputs,
        episodes_per_shard=config.episodes_per_shard,
        success_by=config.success_by,
    )
    with writer:
        for episode in range(len(source)):
            prepared = None
            try:
                prepared = _prepare(source, episode, judge, taken["last_frame"], tally, alike)
                if prepared is not None and not tally.refused:
                    recording, success = prepared
                    commands = mapped.commands(recording.actions, recording.name)
                    survey.add(mapped.unit(commands))
                    recording = replace(recording, actions=commands)
                    _add(writer, recording, success, options.format, prepare)
            except DataError as error:
                problem = error.problem
                if problem.file == out:  # from the writer; lazily read pictures name their own file
                    problem = _renamed(problem, source, prepared[0].name if prepared else "")
                if problem.episode is None or error.problem.file == out:
                    problem = replace(problem, episode=episode)
                raise DataError(problem) from error
            on_progress(episode + 1, len(source))
        tally.refuse()
        if len(writer) == 0:
            raise tally.nothing()
    assert writer.dataset is not None
    named = [f"{name} ({key})" for name, key in source.cameras.items()]
    told = [f"cameras: {', '.join(named)}"] if len(named) > 1 else []
    notes = [
        *source.notes,
        *told,
        *prepare.notes(),
        *tally.notes(),
        *_facts(writer.dataset, options, writer.rules_differ),
        *mapped.notes,
    ]
    if mapped.scale is None:
        notes.append(survey.range_note())
    return Imported(writer.dataset, (*notes, *survey.switch_notes()))


def _first_actions(source: Source) -> np.ndarray:
    """The actions (T, A) of the first episode that has any, or (0, A)."""
    for episode in range(len(source)):
        if len(actions := source.actions(episode)):
            return actions
    return source.actions(0)


Prepared = tuple[Recording, np.ndarray | None]


def _prepare(
    source: Source,
    episode: int,
    judge: Judge,
    last_frame: LastFrame,
    tally: LeftOut,
    alike: Alike,
) -> Prepared | None:
    """An episode with T actions and T + 1 observations, and its marks of success (T,), if any step is left.

    Raises:
        DataError: rewards or marks have another number of rows than the actions, or some episodes have none.
    """
    if len(source.actions(episode)) == 0:
        tally.empty()
        return None
    stored = source.read(episode)
    recording = followed(stored, last_frame)
    alike.see(recording, episode)
    refuse_unknown(source.path, recording)
    rewards, success, steps = recording.rewards, judge(recording), len(recording.actions)
    for field, values in {"rewards": rewards, "success": success}.items():
        if values is not None and len(values) != steps:
            rule = f"must be one number a step, {steps} in all, found {len(values)}"
            raise DataError(Problem(source.path, f"{recording.name}/{field}", rule, "choose another array"))
    tally.see(rewards)
    if recording.closed:
        tally.repeat(last_frame == "repeat" and not stored.closed)
        return recording, success
    tally.drop(rewards, success, last_frame == "drop")
    if steps == 1:
        return None
    left = replace(
        recording,
        actions=recording.actions[:-1],
        rewards=None if rewards is None else rewards[:-1],
        terminated=False,
        truncated=True,
    )
    return left, None if success is None else success[:-1]


def _add(
    writer: DatasetWriter, recording: Recording, success: np.ndarray | None, kind: str, prepare: Preparation
) -> None:
    """Write one prepared recording."""
    in_pictures = recording.images is not None
    writer.add_episode(
        recording.actions,
        images=None if recording.images is None else prepare(recording.images),
        cameras={name: prepare(pictures, name) for name, pictures in recording.cameras.items()},
        proprio=recording.vectors if in_pictures else None,
        state=None if in_pictures else recording.vectors,
        rewards=recording.rewards,
        success=None if success is None else np.concatenate([[False], success]),
        behaviour=kind,
        seed=recording.seed,
        terminated=recording.terminated,
        truncated=recording.truncated,
        options={"source_episode": recording.name, **recording.options},
    )


def _as_given(keys: tuple[str, ...] | None) -> str | list[str] | None:
    """What `--image` names, as a dataset records it: nothing, one key, or a list of several."""
    return keys[0] if keys and len(keys) == 1 else list(keys or ()) or None


def _renamed(problem: Problem, source: Source, name: str) -> Problem:
    """A problem of the writer, in terms of the import."""
    remedy = problem.remedy
    if "action scale" in remedy or "action_scale=" in remedy:
        remedy = "import with --action-bounds measured, or pass --action-low and --action-high"
    if remedy.startswith("give an image_size"):
        remedy = "import with --image-size, to which they are stretched"
    if remedy == MERGED and problem.field in ("proprio", "state"):
        remedy = (
            "subtract a start value from it in the source, or leave it out: name the others with --proprio"
        )
    return replace(problem, file=source.path, field=f"{name}/{problem.field}", remedy=remedy)


def _facts(dataset: Dataset, options: ImportOptions, rules_differ: bool) -> Iterator[str]:
    """Notes on what replaces data that the source lacks, on how successes count and actions were mapped."""
    if dataset.environment.get("proprio_absent"):
        yield "no pose was taken: one constant 0 replaces it"
    if "reward" not in dataset.signal_names:
        yield "the source has no rewards"
    if options.success is None:
        yield "no success was taken (--success); no episode counts as one"
    if rules_differ:
        others = {"any": "not all of them in their last", "last": "others are one in an earlier frame"}
        by = dataset.environment[SUCCESS_BY]
        yield f"episodes count as successes by {by} frame, {others[by]} (--success-by)"
    if FACT in dataset.environment:
        yield "actions were scaled to [-1, 1]; the map is recorded as 'action_scale' in the manifest"
