"""Run an import: pass every episode of a source to the writer, and report what was left out."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cog.core.files import hash_file
from cog.core.inputs import Input
from cog.datasets.action_scale import FACT, ActionScale
from cog.datasets.importers.detect import open_source
from cog.datasets.importers.pictures import Colour
from cog.datasets.importers.source import ImportOptions, Recording, Source
from cog.datasets.storage.dataset import Dataset
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.writer import DatasetWriter
from cog.errors import UsageError

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
    image_size: int = 48
    """Height and width to which images are stretched, in pixels; 0 keeps theirs."""
    colour: Colour = "rgb"
    """Channel order of the source's images."""
    episodes_per_shard: int = 50
    """Episodes in one shard, the unit of possible loss."""

    def scale(self, source: Source) -> ActionScale | None:
        """The bounds of the source's actions, or None if they already lie in [-1, 1].

        Raises:
            UsageError: bounds are both given and to be measured, or their number is wrong.
        """
        if not self.action_low and not self.action_high:
            if self.action_bounds == "unit":
                return None
            return ActionScale.measured(source.actions(episode) for episode in range(len(source)))
        if self.action_bounds == "measured":
            raise UsageError(
                "action bounds are both given and to be measured", remedy="choose one of the two"
            )
        parts = source.actions(0).shape[-1]
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
    with contextlib.closing(open_source(path, options)) as source:
        return _import(source, out, options, config, on_progress)


def _import(
    source: Source, out: Path, options: ImportOptions, config: ImportConfig, on_progress: OnProgress
) -> Imported:
    """Write the episodes of an open source."""
    judge = success_rule(options.success)
    scale = config.scale(source)
    inputs = [Input.of("file", file, hash_file(file), out) for file in source.files]
    taken = {**NOT_TAKEN, **vars(options)}
    tally = _Tally()
    writer = DatasetWriter(
        out,
        image_size=config.image_size or None,
        colour=config.colour,
        action_scale=scale,
        environment=source.environment,
        origin={
            "kind": "import",
            "format": options.format,
            "files": [entry.hash for entry in inputs],
            **taken,
        },
        inputs=inputs,
        episodes_per_shard=config.episodes_per_shard,
    )
    with writer:
        for episode in range(len(source)):
            recording = source.read(episode)
            try:
                _add(writer, recording, judge, tally, options.format)
            except DataError as error:
                problem = replace(error.problem, episode=episode)
                if problem.file == out:  # from the writer; lazily read pictures name their own file
                    problem = _renamed(problem, source, recording.name)
                raise DataError(problem) from error
            on_progress(episode + 1, len(source))
        if len(writer) == 0:
            rule = "no episode has a step that is followed by an observation"
            raise DataError(Problem(source.path, "actions", rule, "import with --last-frame repeat"))
    assert writer.dataset is not None
    return Imported(writer.dataset, (*source.notes, *tally.notes(), *_facts(writer.dataset, options)))


def success_rule(text: str | None) -> Callable[[Recording], np.ndarray | None]:
    """A function that marks the successful steps (T,) of a recording, or returns None if nothing marks them.

    Raises:
        UsageError: a rule on the reward is invalid.
    """
    if text is None:
        return lambda recording: None
    name, above, limit = text.partition(">")
    if not above:
        return lambda recording: None if recording.success is None else np.asarray(recording.success) > 0
    try:
        least = float(limit)
    except ValueError:
        least = np.nan
    if name.strip() != "reward" or not np.isfinite(least):
        raise UsageError(
            f"invalid success rule {text!r}", remedy="write reward>NUMBER, or the key of an array"
        )

    def judge(recording: Recording) -> np.ndarray:
        if recording.rewards is None:
            raise UsageError(f"success rule {text!r}: the source has no rewards")
        return np.asarray(recording.rewards) > least

    return judge


class _Tally:
    """Counts of what was dropped because it lacks a last observation."""

    def __init__(self) -> None:
        self._actions = self._episodes = self._successes = 0
        self._rewards = 0.0

    def drop(self, reward: float, success: bool, whole: bool) -> None:
        self._actions += 1
        self._episodes += whole
        self._successes += success
        self._rewards += reward

    def notes(self) -> Iterator[str]:
        if self._actions:
            yield (
                f"{self._actions} last actions were dropped, since no observation follows them, with rewards "
                f"of {self._rewards:g} and {self._successes} successes (--last-frame repeat keeps them)"
            )
        if self._episodes:
            yield f"{self._episodes} episodes had no other action and were left out"


def _add(
    writer: DatasetWriter,
    recording: Recording,
    judge: Callable[[Recording], np.ndarray | None],
    tally: _Tally,
    kind: str,
) -> None:
    """Write one recording, without its last action if no observation follows it."""
    steps = len(recording.actions) - (not recording.closed)
    rewards, success = recording.rewards, judge(recording)
    if not recording.closed:
        reward = 0.0 if rewards is None or len(rewards) <= steps else float(rewards[steps])
        tally.drop(reward, success is not None and bool(success[steps:].any()), steps == 0)
        if steps == 0:
            return
    rows = {"rewards": rewards, "success": success}
    for field, values in rows.items():
        if values is not None and len(values) != len(recording.actions):
            rule = f"must have one row for each of {len(recording.actions)} actions, found {len(values)}"
            raise DataError(Problem(writer.folder, field, rule, "choose another array"))
    options: dict[str, Any] = {"source_episode": recording.name, **recording.options}
    in_pictures = recording.images is not None
    writer.add_episode(
        recording.actions[:steps],
        images=recording.images,
        proprio=recording.vectors if in_pictures else None,
        state=None if in_pictures else recording.vectors,
        rewards=None if rewards is None else rewards[:steps],
        success=None if success is None else np.concatenate([[False], success[:steps]]),
        behaviour=kind,
        seed=recording.seed,
        terminated=recording.terminated and recording.closed,
        truncated=recording.truncated or not recording.closed,
        options=options,
    )


def _renamed(problem: Problem, source: Source, name: str) -> Problem:
    """A problem of the writer, in terms of the import."""
    remedy = problem.remedy
    if "action_scale=" in remedy:
        remedy = "import with --action-bounds measured, or pass --action-low and --action-high"
    return replace(problem, file=source.path, field=f"{name}/{problem.field}", remedy=remedy)


def _facts(dataset: Dataset, options: ImportOptions) -> Iterator[str]:
    """Notes on what replaces data that the source lacks, and on how actions were mapped."""
    if dataset.environment.get("proprio_absent"):
        yield "no pose was taken: one constant 0 replaces it"
    if "reward" not in dataset.signal_names:
        yield "the source has no rewards"
    if options.success is None:
        yield "no success was taken (--success); no episode counts as one"
    if FACT in dataset.environment:
        yield "actions were scaled to [-1, 1]; the map is recorded as 'action_scale' in the manifest"
