"""The layout of a shard: whole episodes as flat arrays with an index, and the rules that these obey.

F frames and S steps of E episodes: `frames` (F, H, W, 3) uint8, `cameras/NAME` (F, H, W, 3 or 1) uint8 for
each further camera and `proprio` (F, P) float32, or `state` (F, N) float32 alone; `signals` (F, K) float32;
`actions` (S, A) float32; `rewards` (S,) float32 and `terminals` (S,) bool in materialised data only;
`episodes/*` (E,) the index.

An episode of T steps has T + 1 frames, so frames and steps are counted separately. Two episodes, of 3 and of
2 steps:

    frames      f0   f1   f2   f3   f4   f5   f6          frame_offset  0, 4
    steps         s0   s1   s2        s3   s4             step_offset   0, 3      length  3, 2

The offsets follow from the lengths. They are stored so that a reader in any language can find an episode, and
checked so that they cannot contradict the lengths.
"""

import json
import numbers
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cog.datasets.episode import Episode
from cog.datasets.storage.problem import RECOLLECT, DataError, Problem
from cog.signals.pictures import CAMERA_NAMES, is_camera_name

Arrays = dict[str, np.ndarray]

INDEX = "episodes/"
CAMERAS = "cameras/"
NUMBERS: dict[str, str] = {
    "frame_offset": "i8",
    "step_offset": "i8",
    "length": "i8",
    "seed": "i8",
    "success": "?",
    "terminated": "?",
    "truncated": "?",
    "noise": "f4",
}
_POSITIONS = ("frame_offset", "step_offset", "length")
TEXTS = ("start", "behaviour", "options")
PER_FRAME: dict[str, tuple[str, int]] = {
    "frames": ("u1", 4),
    "proprio": ("f4", 2),
    "state": ("f4", 2),
    "signals": ("f4", 2),
}
PER_STEP: dict[str, tuple[str, int]] = {"actions": ("f4", 2), "rewards": ("f4", 1), "terminals": ("?", 1)}
CAMERA = ("u1", 4)
OFFERED = "correct the episodes that you pass"


def pack(episodes: Sequence[Episode], file: Path) -> tuple[Arrays, tuple[str, ...]]:
    """Episodes as flat arrays and the names of their signals; texts become UTF-8 bytes.

    Raises:
        DataError: the episodes break a rule or differ in what they hold; `file` is named in the message.
    """
    if not episodes:
        raise DataError(Problem(file, "episodes", "a shard must hold at least one episode", OFFERED))
    names = tuple(episodes[0].signals)
    parts: dict[str, list[np.ndarray]] = {}
    for number, episode in enumerate(episodes):
        _check_offered(episode, names, number, file)
        offered: dict[str, Any] = {
            "frames": episode.images,
            **{CAMERAS + name: episode.cameras[name] for name in sorted(episode.cameras)},
            "proprio": episode.proprio,
            "state": episode.state,
            "signals": np.stack([np.asarray(episode.signals[name]) for name in names], axis=1),
            "actions": episode.actions,
            "rewards": episode.rewards,
            "terminals": episode.terminals,
        }
        for field, value in offered.items():
            if value is not None:
                parts.setdefault(field, []).append(np.asarray(value))
    arrays: Arrays = {}
    for field, values in parts.items():
        kind = kind_of(field)[0]
        if len(values) < len(episodes):
            rule = f"must be present in every episode or in none, found in {len(values)} of {len(episodes)}"
            raise DataError(Problem(file, field, rule, OFFERED))
        shapes = [value.shape[1:] for value in values]
        for number, shape in enumerate(shapes):
            if shape != shapes[0]:
                rule = f"must have the same shape in every episode; the first has {shapes[0]}, this {shape}"
                raise DataError(Problem(file, field, rule, OFFERED, number))
        arrays[field] = np.concatenate(values).astype(kind, copy=False)
    lengths = np.array([len(episode) for episode in episodes], np.int64)
    arrays[INDEX + "length"] = lengths
    arrays[INDEX + "step_offset"] = np.cumsum(lengths) - lengths
    arrays[INDEX + "frame_offset"] = np.cumsum(lengths + 1) - (lengths + 1)
    for field in ("seed", "success", "terminated", "truncated", "noise"):
        arrays[INDEX + field] = np.array([getattr(episode, field) for episode in episodes], NUMBERS[field])
    for field in TEXTS:
        encoded = [_text(episode, field).encode() for episode in episodes]
        arrays[INDEX + field] = np.array(encoded, f"S{max(1, *map(len, encoded))}")
    check(arrays, names, file, OFFERED)
    return arrays, names


def unpack(arrays: Arrays, names: Sequence[str]) -> list[Episode]:
    """The episodes in checked arrays; their arrays are views."""
    index = {field: arrays[INDEX + field].tolist() for field in (*NUMBERS, *TEXTS)}
    cameras = [field.removeprefix(CAMERAS) for field in arrays if field.startswith(CAMERAS)]
    episodes = []
    for number, length in enumerate(index["length"]):
        frames = slice(index["frame_offset"][number], index["frame_offset"][number] + length + 1)
        steps = slice(index["step_offset"][number], index["step_offset"][number] + length)

        def part(field: str, where: slice) -> np.ndarray | None:
            return arrays[field][where] if field in arrays else None

        signals = arrays["signals"][frames]
        episodes.append(
            Episode(
                actions=arrays["actions"][steps],
                signals={name: signals[:, k] for k, name in enumerate(names)},
                images=part("frames", frames),
                cameras={name: arrays[CAMERAS + name][frames] for name in cameras},
                proprio=part("proprio", frames),
                state=part("state", frames),
                rewards=part("rewards", steps),
                terminals=part("terminals", steps),
                start=index["start"][number].decode(),
                behaviour=index["behaviour"][number].decode(),
                options=json.loads(index["options"][number]),
                **{field: index[field][number] for field in NUMBERS if field not in _POSITIONS},
            )
        )
    return episodes


def kind_of(field: str) -> tuple[str, int]:
    """Type and number of axes of an array of frames or of steps."""
    return CAMERA if field.startswith(CAMERAS) else (PER_FRAME | PER_STEP)[field]


def is_picture(field: str) -> bool:
    """Whether an array holds a camera's images."""
    return field == "frames" or field.startswith(CAMERAS)


def is_per_frame(field: str) -> bool:
    """Whether an array has a row for each frame, not for each step."""
    return field in PER_FRAME or field.startswith(CAMERAS)


def check(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], file: Path, remedy: str = RECOLLECT
) -> None:
    """Refuse arrays that break a rule of the layout; `remedy` says what to do about it.

    Raises:
        DataError: naming the field, the rule and, where possible, the episode.
    """

    def require(condition: bool, field: str, rule: str, episode: int | None = None) -> None:
        if not condition:
            raise DataError(Problem(file, field, rule, remedy, episode))

    _check_index(arrays, require)
    length = arrays[INDEX + "length"]
    for field in ("signals", "actions"):
        require(field in arrays, field, "must be present")
    if "state" in arrays:
        pictures = [field for field in arrays if is_picture(field)]
        require(not pictures and "proprio" not in arrays, "state", "must come without images")
    else:
        for field in ("frames", "proprio"):
            require(field in arrays, field, "must be present if there is no state")
    require(("rewards" in arrays) == ("terminals" in arrays), "rewards", "must come with terminals")
    for field in (field for field in arrays if not field.startswith(INDEX)):
        if field.startswith(CAMERAS):
            fits = is_camera_name(field.removeprefix(CAMERAS), stored=True)
            require(fits, field, f"must be named by {CAMERA_NAMES}")
        array, (kind, dimensions) = arrays[field], kind_of(field)
        rows = int(length.sum()) + (len(length) if is_per_frame(field) else 0)
        require(array.dtype == np.dtype(kind), field, f"must be {np.dtype(kind)}, found {array.dtype}")
        require(array.ndim == dimensions, field, f"must have {dimensions} axes, found {array.ndim}")
        require(len(array) == rows, field, f"must have {rows} rows by the index, found {len(array)}")
        require(array.size > 0, field, "must not be empty")
        if kind == "f4":
            offsets = arrays[INDEX + ("frame_offset" if is_per_frame(field) else "step_offset")]
            _check_values(array, offsets, field, require)
        if field == "frames":
            require(array.shape[3] == 3, field, "must have 3 colour channels")
        elif field.startswith(CAMERAS):
            require(array.shape[3] in (1, 3), field, "must have 3 colour channels, or 1 of grey")
    require(
        len(set(names)) == len(names) == arrays["signals"].shape[1] and all(names),
        "signals",
        "must have one distinct name per column",
    )


Require = Callable[..., None]


def _check_index(arrays: Mapping[str, np.ndarray], require: Require) -> None:
    """Presence, types and offsets of the index."""
    for field, kind in NUMBERS.items():
        name = INDEX + field
        require(name in arrays, name, "must be present")
        array = arrays[name]
        require(array.dtype == np.dtype(kind), name, f"must be {np.dtype(kind)}, found {array.dtype}")
        require(
            array.shape == (len(arrays[INDEX + "frame_offset"]),), name, "must hold one value per episode"
        )
    length = arrays[INDEX + "length"]
    require(len(length) > 0, INDEX + "length", "must name at least one episode")
    short = np.flatnonzero((length < 1) | (length > 2**40))
    require(len(short) == 0, INDEX + "length", "must be at least 1", _first(short))
    for field, step in (("frame_offset", length + 1), ("step_offset", length)):
        wrong = np.flatnonzero(arrays[INDEX + field] != np.cumsum(step) - step)
        require(len(wrong) == 0, INDEX + field, "must add up the lengths before it", _first(wrong))
    noise = arrays[INDEX + "noise"]
    wrong = np.flatnonzero(~(np.isfinite(noise) & (noise >= 0)))
    require(len(wrong) == 0, INDEX + "noise", "must be finite and not negative", _first(wrong))
    for field in TEXTS:
        name = INDEX + field
        require(name in arrays, name, "must be present")
        require(arrays[name].dtype.kind == "S", name, "must be fixed-length UTF-8 text")
        require(arrays[name].shape == length.shape, name, "must hold one text per episode")
        for number, text in enumerate(arrays[name].tolist()):
            try:
                valid = (
                    not isinstance(json.loads(text), dict) if field == "options" else "\0" in text.decode()
                )
            except ValueError:
                valid = True
            rule = "must be a JSON object" if field == "options" else "must be UTF-8 text without NUL"
            require(not valid, name, rule, number)


def _check_values(array: np.ndarray, offsets: np.ndarray, field: str, require: Require) -> None:
    """Finiteness of every float and the range of actions; `offsets` say which episode a row belongs to."""
    good = np.isfinite(array)
    rule = "must be finite"
    if good.all() and field == "actions":
        good, rule = np.abs(array) <= 1.0, "must lie in [-1, 1]"
    rows = np.flatnonzero(~good.reshape(len(array), -1).all(axis=1))
    if len(rows):
        row = int(rows[0])
        episode = int(np.searchsorted(offsets, row, side="right") - 1)
        found = array[row].reshape(-1)[~good[row].reshape(-1)][0]
        require(False, field, f"{rule}, found {found:g} in row {row - int(offsets[episode])}", episode)


def _check_offered(episode: Episode, names: tuple[str, ...], number: int, file: Path) -> None:
    """Types, axes, rows and names of an episode that is to be written."""

    def refuse(field: str, rule: str) -> NoReturn:
        raise DataError(Problem(file, field, rule, OFFERED, number))

    steps = -1
    for field, value, kind, axes, per_frame in _offered_arrays(episode):
        if value is None and field in ("images", "proprio", "state", "rewards", "terminals"):
            continue
        try:
            array = np.asarray(value)
        except ValueError as error:
            refuse(field, f"is not an array ({error})")
        numbers_fit = array.dtype.kind in "fiu" if kind == "f4" else array.dtype == np.dtype(kind)
        if not numbers_fit:
            refuse(field, f"must be of type {np.dtype(kind)}, found {array.dtype}")
        if array.ndim != axes:
            refuse(field, f"must have {axes} axes, found {array.ndim}")
        steps = len(array) if field == "actions" else steps  # they come first
        if len(array) != steps + per_frame:
            refuse(field, f"must have {steps + per_frame} rows for {steps} actions, found {len(array)}")
    for name in episode.cameras:
        if not is_camera_name(name):
            refuse(f"cameras[{name}]", f"must be named by {CAMERA_NAMES}")
    if not names or tuple(episode.signals) != names or not all(isinstance(name, str) for name in names):
        refuse(
            "signals", f"must have the names {list(names)}, found {list(episode.signals)}, and at least one"
        )
    for field, accepted in _SCALARS.items():
        entry: Any = getattr(episode, field)
        fits = isinstance(entry, accepted)
        if not fits or (field == "seed" and not -(2**63) <= entry < 2**63):
            refuse(INDEX + field, f"cannot be stored as it is ({entry!r})")
    for field in TEXTS:
        try:
            if "\0" in _text(episode, field).encode().decode():
                raise ValueError("it holds a NUL character")
        except (TypeError, ValueError) as error:
            rule = f"cannot be stored as text or JSON ({error})"
            raise DataError(Problem(file, INDEX + field, rule, OFFERED, number)) from error


_FLAG = (bool, np.bool_)
_SCALARS: dict[str, tuple[type, ...]] = {
    "seed": (numbers.Integral,),
    "success": _FLAG,
    "terminated": _FLAG,
    "truncated": _FLAG,
    "noise": (numbers.Real,),
    "start": (str,),
    "behaviour": (str,),
}


def _offered_arrays(episode: Episode) -> list[tuple[str, Any, str, int, bool]]:
    """Every array, actions first: name, value, type, axes, whether it has one row more than actions."""
    return [
        ("actions", episode.actions, "f4", 2, False),
        ("images", episode.images, "u1", 4, True),
        *((f"cameras[{name}]", values, "u1", 4, True) for name, values in episode.cameras.items()),
        ("proprio", episode.proprio, "f4", 2, True),
        ("state", episode.state, "f4", 2, True),
        ("rewards", episode.rewards, "f4", 1, False),
        ("terminals", episode.terminals, "?", 1, False),
        *((f"signals/{name}", values, "f4", 1, True) for name, values in episode.signals.items()),
    ]


def _text(episode: Episode, field: str) -> str:
    """The text that is stored for a field of `TEXTS`."""
    if field == "options":
        return json.dumps(dict(episode.options), sort_keys=True, allow_nan=False)
    return str(getattr(episode, field))


def _first(where: np.ndarray) -> int | None:
    return int(where[0]) if len(where) else None
