"""Labelled frames: the training data of a success classifier, and which frames count as the first success.

The frame after step t belongs to step t. A rule, if given, labels every frame. Otherwise only the last frame
of an episode can be a success: of episodes that the data call successful or, where other datasets are the
negatives, of all episodes. Earlier frames are then negative, except for a margin that is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cog.classifier.config import ClassifierConfig
from cog.core.inputs import Input
from cog.datasets.episode import cameras_of, choose_cameras
from cog.datasets.relabel.view import rule_for
from cog.datasets.storage.dataset import Dataset, open_dataset
from cog.datasets.success import counts
from cog.errors import CogError
from cog.networks.encoder import ObservationShape

TRAINING, VALIDATION, HELD_OUT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """F frames of E episodes; the frames of an episode are contiguous and in order."""

    images: Mapping[str, np.ndarray]
    """(F, H, W, C) uint8 of each camera by its name."""
    proprio: np.ndarray | None
    """(F, P) float32, if used."""
    success: np.ndarray
    """(F,) bool."""
    known: np.ndarray
    """(F,) bool: whether `success` is certain; other frames are left out."""
    episode: np.ndarray
    """(F,) int64: number of the episode over all sources."""
    inputs: tuple[Input, ...]
    """The datasets."""
    actions: np.ndarray | None = None
    """(F, A) float32: the action that led to the frame; None unless a history needs it."""

    @property
    def shape(self) -> ObservationShape:
        """Shape of one frame."""
        first, *further = [(name, pictures.shape[1:]) for name, pictures in self.images.items()]
        poses = 0 if self.proprio is None else self.proprio.shape[1]
        return ObservationShape(first[1], poses, tuple(further), first[0])

    @property
    def starts(self) -> np.ndarray:
        """(E,) number of each episode's first frame."""
        return np.flatnonzero(np.diff(self.episode, prepend=-1))

    @property
    def successful(self) -> np.ndarray:
        """(E,) whether an episode holds a success."""
        return np.logical_or.reduceat(self.success, self.starts)

    def right(self, tolerance: int) -> np.ndarray:
        """(F,) whether a frame counts as right if it is the first one found.

        It does within `tolerance` steps of the first success, or if its own label is not certain.
        """
        result = ~self.known
        for start, end in zip(self.starts, [*self.starts[1:], len(self.success)], strict=True):
            if self.success[start:end].any():
                first = start + int(self.success[start:end].argmax())
                result[max(first - tolerance, start) : min(first + tolerance + 1, end)] = True
        return result


def read_frames(
    sources: Sequence[Path], config: ClassifierConfig, on_message: Callable[[str], None] | None = None
) -> LabelledFrames:
    """Read and label all frames, reporting the memory they take to `on_message` first.

    Raises:
        UsageError: the rule is invalid.
        CogError: the data hold no images, differ in shape, or the rule fails on an episode.
    """
    datasets = [open_dataset(path) for path in (*sources, *config.negatives)]
    shapes = [_shapes(dataset, config) for dataset in datasets]
    for dataset, shape in zip(datasets, shapes, strict=True):
        if shape != shapes[0]:
            raise CogError(
                f"{datasets[0].path} and {dataset.path} differ: {shapes[0]} and {shape}",
                remedy="use datasets whose images, and poses, have the same shape",
            )
    count = sum(dataset.step_count for dataset in datasets)
    images = {
        name: np.empty((count, *size), np.uint8)
        for name, size in shapes[0].items()
        if name not in ("proprio", "action")
    }
    proprio = np.empty((count, *shapes[0]["proprio"]), np.float32) if "proprio" in shapes[0] else None
    if on_message is not None:
        on_message(f"{count} frames: {sum(one.nbytes for one in images.values()) / 1e6:.1f} MB")
    actions = np.empty((count, *shapes[0]["action"]), np.float32) if "action" in shapes[0] else None
    success, known = np.zeros(count, bool), np.ones(count, bool)
    number = np.empty(count, np.int64)
    place = episodes = 0
    for position, dataset in enumerate(datasets):
        negative = position >= len(sources)
        for labels, certain, frames, poses, led in _episodes(dataset, config, negative):
            at = slice(place, place + len(labels))
            if actions is not None:
                actions[at] = led
            success[at], known[at], number[at] = labels, certain, episodes
            for name, pictures in images.items():
                pictures[at] = frames[name][1:]
            if proprio is not None:
                proprio[at] = poses
            place, episodes = at.stop, episodes + 1
    inputs = tuple(Input.of("dataset", dataset.path, dataset.hash, config.out) for dataset in datasets)
    return LabelledFrames(images, proprio, success, known, number, inputs, actions)


def split(successful: np.ndarray, config: ClassifierConfig) -> np.ndarray:
    """Part of each episode, (E,): training, validation or held out; drawn by the seed, stratified by success.

    Raises:
        CogError: too few successes to have one in each part.
    """
    rng = np.random.default_rng(config.seed)
    parts = np.full(len(successful), TRAINING)
    for kind in (True, False):
        members = rng.permutation(np.flatnonzero(successful == kind))
        held_out, validation = (round(share * len(members)) for share in (config.held_out, config.validation))
        if kind and not (held_out and validation and len(members) > held_out + validation):
            raise CogError(
                f"{len(members)} of {len(successful)} episodes hold a success; training, validation and "
                "held_out need at least one each",
                remedy="collect more, or give larger shares to validation and held_out",
            )
        parts[members[:held_out]] = HELD_OUT
        parts[members[held_out : held_out + validation]] = VALIDATION
    return parts


def _shapes(dataset: Dataset, config: ClassifierConfig) -> dict[str, list[int]]:
    """Shapes of the inputs: the images of each camera in their order, the pose, and actions in a history."""
    shapes = dataset.environment["observations"]
    if "image" not in shapes:
        raise CogError(
            "contains no images to judge", where=dataset.path, remedy="write a rule on its signals instead"
        )
    wanted = choose_cameras(cameras_of(shapes), config.cameras, dataset.path)
    found = {name: shapes[name] for name in (*wanted, *(["proprio"] if config.use_proprio else []))}
    acts = config.history > 1 and config.use_proprio and config.history_of != "frames"
    return {**found, **({"action": list(dataset.environment["action"])} if acts else {})}


def _episodes(
    dataset: Dataset, config: ClassifierConfig, negative: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray | None, np.ndarray]]:
    """Labels (T,), whether known (T,), images (T+1) by camera, poses (T) and actions (T) of each episode."""
    rule = None if config.label is None else rule_for(dataset, config.label)
    for number, episode in enumerate(dataset.episodes()):
        known = np.ones(len(episode), bool)
        if rule is not None:
            labels = rule(episode, number) > 0
        else:
            labels = np.zeros(len(episode), bool)
            success = counts(episode, "last", dataset.environment)  # however the dataset counts its episodes
            labels[-1] = not negative and (success or bool(config.negatives))
            if labels[-1]:
                known[-1 - config.margin : -1] = False
        poses = None if episode.proprio is None else episode.proprio[1:]
        yield labels, known, episode.pictures(), poses, episode.actions
