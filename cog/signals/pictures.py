"""What an image is: (H, W, 3) uint8; other forms are converted exactly or refused by name, never cast.

What a source declares comes first, type and shape second, values last. `judge` decides from type and shape,
`Conversion` converts and holds every value to the decision, `check_picture` admits finished pictures alone.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

OBSERVED = ("image", "proprio", "state")
"""Names of observations that no further camera may have."""
INPUTS = ("pose", "noise")
"""Names of other inputs of exported policies, which no further camera may have either."""
CAMERA_NAMES = "letters, digits, '_', '-' and '.', other than image, proprio, state, pose and noise"
"""Names that further cameras may have, for people."""
_CAMERA = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
Channels = Literal["last", "first", "none"]
Standing = Literal["picture", "convertible", "asked", "unfit"]
"""A picture as it is; one after an exact conversion; one only if its key is named; none."""

ENCODED = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}
"""What the files of encoded pictures begin with."""
_LEVELS = 255


class UnfitError(ValueError):
    """A picture cannot be used: (rule, remedy)."""


@dataclass(frozen=True)
class Declared:
    """What a source says of its pictures beside their type and shape; whatever it leaves open is None."""

    meaning: str | None = None
    """What they show instead of colour, such as "depth"."""
    channels: Channels | None = None
    """Where the axis of the channels lies."""
    high: float | None = None
    """The largest value by the source's space: 1 or 255."""


@dataclass(frozen=True)
class Verdict:
    """The decision about pictures of one type and shape."""

    standing: Standing
    """Whether they are pictures."""
    found: str
    """What they are, for people to read."""
    remedy: str = ""
    """What to do where they are none."""
    channels: Channels = "last"
    """Where their channels lie."""

    @property
    def rule(self) -> str:
        """Why they are no pictures."""
        return f"must be colour pictures (H, W, 3), found {self.found}"


UNDECLARED = Declared()


def judge(dtype: np.dtype, shape: tuple[int, ...], declared: Declared = UNDECLARED) -> Verdict:
    """The verdict on pictures of one type and shape (of one picture, without the time).

    A plane of bytes may be a grey picture, a mask or a depth map: it needs to be asked for.
    """
    kind = np.dtype(dtype)
    where = declared.channels or _channels(shape)
    count = {"last": shape[-1], "first": shape[0], "none": 1}[where] if shape else 0
    sizes = "x".join(map(str, shape))
    what = f"{count} channel{'s' * (count != 1)} of {kind} ({sizes})"

    def verdict(standing: Standing, remedy: str = "", found: str = what) -> Verdict:
        return Verdict(standing, found, remedy, where)

    if declared.meaning not in (None, "colour"):
        return verdict("unfit", "choose a colour camera", f"{declared.meaning} ({what})")
    if len(shape) not in (2, 3) or 0 in shape or kind.kind not in "fiub":
        return verdict("unfit", "choose another key", f"{kind} of shape {shape}")
    if kind.kind == "b":
        return verdict("unfit", "choose a colour camera", f"a mask ({what})")
    if count == 1:
        if kind == np.uint8:
            return verdict("asked")
        remedy = "store a grey picture as uint8; choose a colour camera in place of depth or masks"
        return verdict("unfit", remedy, f"a depth map, a mask or a matrix ({what})")
    if count not in (3, 4):
        looks, remedy = _looks(shape, count)
        return verdict("unfit", remedy, what + looks)
    if kind.kind in "iu" and kind.itemsize <= 2 and kind != np.uint8:
        return verdict("unfit", "scale and round them to 0 to 255 as uint8")
    plain = kind == np.uint8 and count == 3 and where == "last"
    return verdict("picture" if plain else "convertible")


def _looks(shape: tuple[int, ...], count: int) -> tuple[str, str]:
    """What pictures of no usual number of channels look like, as a part of a sentence, and the remedy."""
    first, *rest = shape
    if (
        len(shape) == 3
        and count == shape[-1]
        and first < min(rest)
        and (first in (1, 3, 4) or first % 3 == 0)
    ):
        order = "x".join(map(str, (*rest, first)))
        remedy = f"move the channels to the last axis, {order}: np.moveaxis(pictures, 1, -1)"
        return f", which look like {first} channels before height and width", remedy
    alone = "store each camera under a key of its own, with its colour channels alone"
    if count % 3 == 0:
        remedy = f"store the newest frame alone, pictures[..., -3:]; if they are cameras, {alone}"
        return f", which look like {count // 3} frames stacked", remedy
    return "", alone


def _channels(shape: tuple[int, ...]) -> Channels:
    """Where the channels lie by the shape: last, unless only the first axis has a length that fits."""
    if len(shape) < 3:
        return "none"
    order: tuple[tuple[int, Channels], ...] = ((shape[-1], "last"), (shape[0], "first"))
    for counts in ((3,), (1, 4)):
        for count, where in order:
            if count in counts:
                return where
    return "last"


def check_picture(dtype: np.dtype, shape: tuple[int, ...], grey: bool = False) -> None:
    """Admit a finished picture alone: (H, W, 3) uint8, or with `grey` also (H, W, 1).

    Raises:
        UnfitError: it has another type or shape.
    """
    if dtype != np.uint8:
        raise UnfitError(f"must be uint8, found {dtype}", "scale and round them to 0 to 255")
    if len(shape) != 3 or shape[2] not in ((1, 3) if grey else (3,)) or 0 in shape:
        form = "(H, W, 3) or (H, W, 1)" if grey else "(H, W, 3)"
        alone = "give a grey picture one channel" if grey else "repeat a grey channel three times"
        remedy = f"move the colour channels to the end, {alone} or leave out a fourth"
        raise UnfitError(f"each must be {form}, found {shape}", remedy)


def is_further_picture(dtype: np.dtype, shape: tuple[int, ...]) -> bool:
    """Whether a further camera may give pictures of these: uint8 (H, W, 3) or, in grey, (H, W, 1)."""
    return dtype == np.uint8 and len(shape) == 3 and shape[2] in (1, 3) and 0 not in shape


def is_camera_name(name: object, *, stored: bool = False) -> bool:
    """Whether a further camera may have this name: letters, digits, `_`, `-`, `.`; not `OBSERVED`, `INPUTS`.

    Data that are `stored` may name one as in `INPUTS`, so that it can still be read, and renamed in a merge.
    """
    taken = OBSERVED if stored else OBSERVED + INPUTS
    return isinstance(name, str) and bool(_CAMERA.fullmatch(name)) and name not in taken


def encoding(row: np.ndarray) -> str | None:
    """The file format, JPEG or PNG, whose bytes a row (L,) uint8 holds; None if it holds neither."""
    if row.dtype != np.uint8 or row.ndim != 1:
        return None
    begin = row[:8].tobytes()
    return next((name for start, name in ENCODED.items() if begin.startswith(start)), None)


class Conversion:
    """The exact conversion of one camera's pictures, the same for all its episodes."""

    def __init__(self, declared: Declared = UNDECLARED, *, grey: bool = False) -> None:
        """Begin; with `grey` one grey channel stays one, else it is repeated three times."""
        self._declared, self._grey = declared, grey
        self._factor = {1.0: _LEVELS, 255.0: 1}.get(declared.high or 0.0)  # None until the values show it
        self._rules: dict[str, None] = {}

    @property
    def rules(self) -> tuple[str, ...]:
        """What was done to the pictures so far; empty if nothing was."""
        return tuple(self._rules)

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (T, ...) of any form as (T, H, W, 3) uint8, or in grey, if it may stay, as (T, H, W, 1).

        Raises:
            UnfitError: they cannot be converted without loss or doubt.
        """
        found = judge(pictures.dtype, pictures.shape[1:], self._declared)
        if found.standing == "unfit":
            raise UnfitError(found.rule, found.remedy)
        values = pictures
        if found.channels == "first":
            self._rules["channels were moved from the first axis to the last"] = None
            values = np.moveaxis(values, 1, -1)
        elif found.channels == "none":
            values = values[..., None]
        if values.dtype != np.uint8:
            values = self._bytes(values)
        if values.shape[-1] == 1 and not self._grey:
            self._rules["one grey channel was repeated three times"] = None
            values = np.repeat(values, 3, axis=-1)
        if values.shape[-1] == 4:
            if (values[..., 3] != _LEVELS).any():
                rule = "must be opaque, found a fourth channel that is not 255 everywhere"
                raise UnfitError(rule, "store the colours alone, blended over a background if transparent")
            self._rules["a fourth channel, 255 everywhere, was left out"] = None
            values = values[..., :3]
        return np.ascontiguousarray(values)

    def _bytes(self, values: np.ndarray) -> np.ndarray:
        """Numbers of another type as the bytes that they stand for."""
        kind, remedy = values.dtype, "scale and round them to 0 to 255 as uint8"
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        if not np.isfinite([low, high]).all():
            row = int(np.argmax(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            raise UnfitError(f"must be finite, found another number in row {row}", "repair the recording")
        if not (0 <= low <= high <= _LEVELS):
            raise UnfitError(f"must lie in 0 to 255, found {kind} from {low:g} to {high:g}", remedy)
        rounded = np.rint(values)
        whole = bool((rounded == values).all())
        if kind.kind in "iu" or self._factor == 1 or (self._factor is None and whole and high > 1):
            if not whole:
                raise UnfitError(f"must be whole numbers, found fractions of {kind}", remedy)
            self._factor = 1
            self._rules[f"whole numbers 0 to 255 of {kind} were stored as uint8"] = None
            return rounded.astype(np.uint8)
        if self._factor is None and whole and high == 1:
            rule = f"must show whether 1 or 255 is white, found {kind} of 0 and 1 alone (perhaps a mask)"
            raise UnfitError(rule, remedy)
        levels = values.astype(np.float64) * _LEVELS
        rounded = np.rint(levels)
        # Rounding of k / 255, or of k times 1 / 255, in their own type; below half a level even in float16.
        near = np.abs(levels - rounded) <= rounded * (1.5 * np.finfo(kind).eps)
        if high > 1 or not near.all():
            rule = f"must be multiples of 1/255 in [0, 1] or whole numbers to 255, found {kind} " + (
                f"up to {high:g} with fractions" if high > 1 else "with values between these"
            )
            raise UnfitError(rule, remedy)
        if high > 0:  # black frames alone leave it open
            self._factor = _LEVELS
            self._rules[f"multiples of 1/255 in [0, 1] of {kind} were multiplied by 255"] = None
        return rounded.astype(np.uint8)
