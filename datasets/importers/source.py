"""A source: a file or folder written by another package, read one episode at a time."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from cog.datasets.action_scale import FACT
from cog.datasets.importers.foreign.cameras import NONE, Cameras, name_cameras
from cog.datasets.robot_interface import KEY, RobotInterface
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

OURS = "cog"  # under which an export of cog records its origin
UNITS = ("unit", "robot")  # of the actions in an export of cog
OTHER_MARK = "choose another mark: --success KEY, --success 'reward>0' or --success none"
LastFrame = Literal["next", "drop", "repeat"]
"""What becomes of last actions that no observation follows: `followed`; a source passes on those it holds.

With "next" those it holds must fit; else an episode whose own do not fit is one without: `Following`.
"""


@dataclass(frozen=True)
class ImportOptions(ABC):
    """What to take from a source, and how to open it; every format adds its own options."""

    format: ClassVar[str]
    """Name of the format."""

    success: str | None = None
    """What marks success: reward>NUMBER, or the key of an array, positive at success; "none": nothing."""

    @abstractmethod
    def open(self, path: Path) -> "Source":
        """Open a file or folder of the format.

        Raises:
            UsageError: an option names what the source does not have.
            CogError: it cannot be read, or a package that reads it is not installed.
        """


@dataclass(frozen=True)
class ObservationOptions(ImportOptions):
    """The same for formats with named observations."""

    image: tuple[str, ...] = ()
    """Keys of the images, also as NAME=KEY; "all" takes all, "none" none. Default: the only ones."""
    proprio: tuple[str, ...] = ()
    """Keys of the vectors, joined in this order: the pose next to images, or the state; "none" takes none."""

    def __post_init__(self) -> None:
        """Take a single key of images for a list of one, and None for an empty one."""
        given: Any = self.image
        keys = (given,) if isinstance(given, str) else tuple(given or ())
        object.__setattr__(self, "image", keys)


@dataclass(frozen=True, eq=False)
class Recording:
    """One episode as stored in its source: T actions, and T + 1 observations if `closed`, else T."""

    name: str
    """Its name in the source."""
    actions: np.ndarray
    """(T, A), in the source's units."""
    closed: bool
    """Whether it includes the observation after the last action, T + 1 in all."""
    images: Iterable[np.ndarray] | None = None
    """Pictures (H, W, 3) uint8, RGB, of the camera called image."""
    cameras: Mapping[str, Iterable[np.ndarray]] = field(default_factory=dict)
    """Pictures (H, W, 3) uint8, RGB, or (H, W, 1) in grey, of further cameras by name."""
    vectors: np.ndarray | None = None
    """(T + 1 or T, P) the chosen vectors, joined."""
    rewards: np.ndarray | None = None
    """(T,)."""
    success: np.ndarray | None = None
    """(T,) the chosen success entries; None if the rule uses rewards."""
    terminated: bool = False
    """Whether the environment ended the episode, as far as the source records it: no value lies beyond it."""
    truncated: bool = False
    """Whether a time limit ended it, as far as the source records it."""
    seed: int = 0
    """Seed of the episode, if the source holds one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further facts, in JSON."""


class Source(Protocol):
    """An open source."""

    @property
    def path(self) -> Path:
        """The file or folder."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that are read, for the record of what the dataset was made from."""

    @property
    def cameras(self) -> Cameras:
        """The cameras that are taken; empty if none are."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """Facts of the environment that the source records, `id` among them."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes on what the source contains but the import does not take."""

    def __len__(self) -> int:
        """Number of episodes."""

    def actions(self, episode: int) -> np.ndarray:
        """The actions (T, A) of one episode alone."""

    def read(self, episode: int) -> Recording:
        """One episode."""

    def close(self) -> None:
        """Let go of the files."""


def choose(
    path: Path,
    choice: ObservationOptions,
    images: Sequence[str],
    vectors: Sequence[str],
    numbers: Sequence[str] = (),
    why: Sequence[str] = (),
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The cameras by name and the keys of the vectors to take, out of the existing ones.

    Single `numbers` a step are vectors of one where they are named, or where there is nothing else. `why`
    says why others are neither.

    Raises:
        UsageError: a key does not exist, or there are several and none is chosen, or a name is invalid.
    """
    have = f"it has images {_listed(images)} and vectors {_listed(vectors)}"
    alone = [key for key in numbers if key not in vectors]
    have += f", and single numbers {_listed(alone)} that --proprio may name" if alone else ""
    known = [*vectors, *alone]
    cameras = name_cameras(path, choice.image, images, have)
    if choice.proprio == (NONE,):
        chosen: tuple[str, ...] = ()
    elif choice.proprio:
        chosen = choice.proprio
    elif cameras and vectors:
        raise UsageError(have, where=path, remedy="choose the pose with --proprio, or 'none'")
    else:
        chosen = tuple(vectors if vectors or cameras else known)
    for key in chosen:
        if chosen.count(key) > 1:
            raise UsageError(f"the vector '{key}' is named twice", where=path, remedy="name it once")
        if key not in known:
            raise UsageError(f"there is no vector '{key}'; {have}", where=path)
    if not cameras and not chosen:
        raise UsageError("; ".join(["neither images nor vectors would be taken", have, *why]), where=path)
    return cameras, chosen


def robot_facts(
    cameras: Cameras,
    vectors: Mapping[str, Sequence[int]],
    action_names: Sequence[str] = (),
    rate: float | None = None,
) -> dict[str, Any]:
    """The environment's fact of what a robot must know: the cameras and the vectors that are taken.

    `vectors` are their shapes (T, ...) in the order in which they are joined.
    """
    pose = tuple((key, math.prod(shape[1:])) for key, shape in vectors.items())
    known = RobotInterface(tuple(cameras.values()), pose=pose, action_names=tuple(action_names), rate=rate)
    return {KEY: known.to_json()}


def untaken(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The note on observations that are left out, if any."""
    left = sorted(set(names) - set(taken))
    return [f"observations not taken: {', '.join(left)}"] if left else []


def followed(recording: Recording, last_frame: LastFrame) -> Recording:
    """The recording with an observation after its last action, unless that has none and is to be dropped.

    A step that the environment ended needs no observation after it, since no value is taken from there: its
    last frame is repeated, as all are by "repeat". Other last actions stay without one.
    """
    if recording.closed or last_frame == "drop" or not (recording.terminated or last_frame == "repeat"):
        return recording
    vectors = recording.vectors
    return replace(
        recording,
        closed=True,
        images=None if recording.images is None else repeat_last(recording.images),
        cameras={name: repeat_last(pictures) for name, pictures in recording.cameras.items()},
        vectors=None if vectors is None else np.concatenate([vectors, vectors[-1:]]),
    )


class Following:
    """Which episodes of a source have next observations to take, and what to say of the others."""

    def __init__(self, last_frame: LastFrame) -> None:
        self._last_frame = last_frame
        self._unfit: dict[int, str] = {}

    def fits(self, episode: int, check: Callable[[], object]) -> bool:
        """Whether the next observations of an episode are to be taken: `check` raises if they do not fit.

        Raises:
            DataError: they do not, and `last_frame` does not say what to do instead.
        """
        if self._last_frame == "next":
            check()
            return True
        try:
            check()
        except DataError as error:
            self._unfit[episode] = f"{error.problem.field} {error.problem.rule}"
            return False
        return True

    def notes(self) -> list[str]:
        """The note on next observations that do not fit, if any."""
        if not self._unfit:
            return []
        first = min(self._unfit)
        return [
            f"next observations of {len(self._unfit)} episodes were not taken, since they do not fit "
            f"(episode {first}: {self._unfit[first]})"
        ]


def repeat_last(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The pictures, and the last one again."""
    picture = None
    for picture in pictures:
        yield picture
    if picture is not None:
        yield picture


def has_last(path: Path, field: str, found: int, steps: int, episode: int) -> bool:
    """Whether `found` observations of an episode of T `steps` are T + 1, not T.

    Raises:
        DataError: they are neither.
    """
    if found in (steps, steps + 1):
        return found == steps + 1
    rule = f"must have {steps} or {steps + 1} rows for {steps} actions, found {found}"
    raise DataError(Problem(path, field, rule, "check how the file was written", episode))


def as_flags(path: Path, field: str, values: np.ndarray, episode: int | None = None) -> np.ndarray:
    """Flags (T,) or (T, 1) that mark ends, as bool (T,).

    Raises:
        DataError: a value is neither 0 nor 1.
    """
    rows = np.asarray(values).reshape(-1)
    odd = np.flatnonzero(~np.isin(rows, (0, 1)))
    if len(odd):
        rule = f"must be 0 or 1 in every row, found {rows[odd[0]]} in row {odd[0]}"
        raise DataError(Problem(path, field, rule, "correct the flags in a copy of the source", episode))
    return rows == 1


def unsaid_ends(key: str, marked: int, within: int, episodes: int) -> list[str]:
    """The notes on flags that mark ends without saying what ended the episode: last steps, and others."""
    inside = f"{key} marks steps before the last in {within} of {episodes} episodes, which go on there"
    notes = [f"{inside} (--terminated {key} refuses such)"] if within else []
    if not marked:
        return notes
    return [
        *notes,
        f"{key} marks the last step of {marked} of {episodes} episodes and does not say what ended them: it "
        f"counts as a time limit, with value beyond (--terminated {key}, if the environment ended them)",
    ]


def exported_bounds(origin: object) -> list[str]:
    """The note on the robot's bounds that an export of cog names, if any; `origin` is JSON or its text."""
    try:
        told: Any = json.loads(origin) if isinstance(origin, str) else origin
        scale = told["sources"][0]["environment"][FACT] if told["action_units"] in UNITS else None
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return []
    if not isinstance(scale, dict):
        return []
    bounds = f"names the robot's bounds, {scale.get('low')} to {scale.get('high')}"
    if told["action_units"] == "robot":
        return [f"this export {bounds} (--action-low and --action-high)"]
    return [
        f"this export has actions in [-1, 1] and {bounds}, which are not taken over (--units robot exports "
        "the robot's actions)"
    ]


def ended_last(path: Path, field: str, flags: np.ndarray, episode: int) -> bool:
    """Whether the environment ended an episode at its last step, by its flags (T,).

    Raises:
        DataError: an earlier step is flagged, so that the episode goes on, or a value is no flag.
    """
    flagged = np.flatnonzero(as_flags(path, field, flags, episode))
    if len(flagged) and flagged[0] < len(flags) - 1:
        rule = f"must mark the last step of {len(flags)} alone as an end, found step {flagged[0]}"
        remedy = (
            "end the episode there, and write what follows as another, for example with cog.DatasetWriter"
        )
        raise DataError(Problem(path, field, rule, remedy, episode))
    return len(flagged) > 0


def with_last(rows: np.ndarray, following: np.ndarray | None) -> np.ndarray:
    """Observations (T, ...), and the one after them if there are `following` (T, ...)."""
    return rows if following is None else np.concatenate([rows, following[-1:]])


def check_following(
    path: Path,
    field: str,
    rows: np.ndarray,
    following: np.ndarray,
    episode: int,
    first: int = 0,
    remedy: str = "import with --last-frame drop or repeat",
) -> None:
    """Refuse next observations (T, ...) that differ from the observations (T, ...) one step later.

    `first` is the number of the first row, `remedy` what the format offers instead of them.

    Raises:
        DataError: naming the first step; a number that is not finite is named as such.
    """
    if following.shape != rows.shape:
        rule = f"must have the shape of the observations, {rows.shape}, found {following.shape}"
        raise DataError(Problem(path, field, rule, remedy, episode))
    check_finite(path, f"the observations before {field}", rows, episode, first)
    check_finite(path, field, following, episode, first)
    if len(rows) < 2:
        return
    same = np.isclose(following[:-1], rows[1:], rtol=1e-5, atol=1e-6).reshape(len(rows) - 1, -1)
    apart = np.flatnonzero(~same.all(axis=1))
    if len(apart):
        rule = f"must be the observation of the step after; it is not at step {first + apart[0]}"
        raise DataError(Problem(path, field, rule, remedy, episode))


def check_finite(path: Path, field: str, values: np.ndarray, episode: int | None, first: int = 0) -> None:
    """Refuse an array (T, ...) that holds NaN or an infinite number; `first` is the number of its first row.

    Raises:
        DataError: naming the first row and the number found there.
    """
    if values.dtype.kind != "f":
        return
    broken = ~np.isfinite(values).reshape(len(values), -1)
    if broken.any():
        row = int(np.argmax(broken.any(axis=1)))
        found = values[row].reshape(-1)[np.argmax(broken[row])]
        rule = f"must be finite, found {found} at step {first + row}"
        raise DataError(
            Problem(path, field, rule, "repair the recording, or leave that episode out", episode)
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "(none)"
