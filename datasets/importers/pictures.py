"""Pictures from any source as frames of episodes: (T, H, W, 3) uint8, RGB, of one square size.

What counts as a picture is decided in `cog.signals.pictures`; `sort_observations` applies it to a
source's arrays.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cv2
import h5py
import numpy as np

from cog.datasets.importers.foreign.cameras import ALL, asked
from cog.datasets.robot_interface import FLIPS, Colour, Flip
from cog.errors import UsageError
from cog.signals.pictures import (
    UNDECLARED,
    Conversion,
    Declared,
    UnfitError,
    Verdict,
    check_picture,
    encoding,
    judge,
)

Array = tuple[np.dtype, tuple[int, ...]]
"""Type and shape (T, ...) of an array."""

DECODE = "decode it to (T, H, W, 3) uint8, or write it with cog.DatasetWriter"
__all__ = ["Conversion", "Declared", "UnfitError", "Verdict", "judge"]


@dataclass(frozen=True)
class Observed:
    """The observations of a source by what they are: pictures, vectors, and what is neither."""

    pictures: Mapping[str, Verdict]
    """Every key with the axes of a picture, and the verdict on it."""
    vectors: tuple[str, ...]
    """Keys of vectors (T, P)."""
    numbers: tuple[str, ...]
    """Keys of single numbers (T,), taken as vectors (T, 1) where they are named or alone."""
    others: tuple[str, ...]
    """All other keys."""

    def images(self, path: Path, given: Sequence[str]) -> list[str]:
        """The keys to choose from: pictures as they are, or else those that can be converted, and those that
        `--image`, as `given`, names; both kinds where it asks for all.

        Raises:
            UsageError: one that it names has the axes of a picture but cannot be used.
        """
        named = [key for _, key in asked(given, self.pictures) if key in self.pictures]
        for key in named:
            if (verdict := self.pictures[key]).standing == "unfit":
                raise UsageError(f"'{key}' {verdict.rule}", where=path, remedy=verdict.remedy)
        either = [key for key, one in self.pictures.items() if one.standing in ("picture", "convertible")]
        plain = [key for key in either if self.pictures[key].standing == "picture"]
        offered = either if list(given) == [ALL] else plain or either
        return list(dict.fromkeys([*offered, *named]))

    def notes(self, taken: Iterable[str]) -> list[str]:
        """Why pictures were not taken; colour cameras that were not chosen need no reason."""
        left = {key: one for key, one in self.pictures.items() if key not in set(taken)}
        asked = "name it with --image if it is a grey picture of 8 bits"
        return [
            f"{key} is no colour picture but {one.found}" + (f"; {asked}" if one.standing == "asked" else "")
            for key, one in left.items()
            if one.standing in ("asked", "unfit")
        ]


def sort_observations(
    arrays: Mapping[str, Array],
    declared: Mapping[str, Declared] | None = None,
    first_row: Callable[[str], np.ndarray] | None = None,
) -> Observed:
    """Sort the arrays (T, ...) of a source; `declared` is what it says of some, `first_row` reads a row (L,)
    of bytes, to tell encoded pictures from vectors.
    """
    pictures: dict[str, Verdict] = {}
    vectors, numbers, others = [], [], []
    for key, (kind, shape) in arrays.items():
        said = (declared or {}).get(key, UNDECLARED)
        number = kind.kind in "fiu"
        if len(shape) in (3, 4) and kind.kind in "fiub":
            pictures[key] = judge(kind, shape[1:], said)
        elif kind == np.uint8 and len(shape) == 2 and shape[0] and first_row and encoding(first_row(key)):
            name = encoding(first_row(key))
            pictures[key] = Verdict("unfit", f"the bytes of one {name} file a step", DECODE)
        elif len(shape) == 1 and _in_bytes(kind):
            pictures[key] = Verdict("unfit", "byte strings (encoded pictures?)", DECODE)
        elif number and len(shape) == 2 and shape[1] and said.meaning is None:
            vectors.append(key)
        elif number and len(shape) == 1:
            numbers.append(key)
        else:
            others.append(key)
    return Observed(pictures, tuple(vectors), tuple(numbers), tuple(others))


def _in_bytes(kind: np.dtype) -> bool:
    """Whether an array of this type holds a string of bytes, not of text, in every row."""
    text = h5py.check_string_dtype(kind)
    held = h5py.check_vlen_dtype(kind)
    return (
        (kind.kind == "V" and kind.fields is None)
        or held == np.uint8
        or (text is not None and text.encoding == "ascii")
    )


def check_options(size: int | None, colour: str) -> None:
    """Refuse a size or colour order that does not exist.

    Raises:
        UsageError: naming it.
    """
    whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
    if size is not None and not (whole and size >= 1):
        raise UsageError(f"image size must be one whole number of pixels, at least 1, got {size!r}")
    if colour not in get_args(Colour):
        raise UsageError(f"colour order must be one of {', '.join(get_args(Colour))}, got {colour!r}")


class Preparation:
    """How the pictures of an import are turned over, and what to say of that and of their new size."""

    def __init__(
        self,
        flip: Flip,
        size: int | None,
        sizes: Mapping[str, int | None] | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """Begin; `sizes` are other ones of some cameras, `keys` what notes call each of several."""
        self._flip, self._size, self._sizes, self._keys = flip, size, sizes or {}, keys or {}
        self._shapes: dict[tuple[str, tuple[int, ...]], None] = {}

    def __call__(self, pictures: Iterable[np.ndarray], camera: str = "image") -> Iterator[np.ndarray]:
        """Pictures (H, W, C): as they are, upside down, mirrored, or turned by half a turn."""
        for picture in pictures:
            self._shapes[camera, picture.shape] = None
            yield np.flip(picture, FLIPS[self._flip])

    def notes(self) -> list[str]:
        """What was done to the pictures so far."""
        rules = []
        for camera, shape in self._shapes:
            rule = resizing(shape, self._sizes.get(camera, self._size))
            rules.append(f"{self._keys[camera]}: {rule}" if rule and len(self._keys) > 1 else rule)
        if self._flip != "none" and self._shapes:
            rules.insert(0, f"pictures were turned over (--flip {self._flip})")
        return [rule for rule in rules if rule]


def fit(
    pictures: Iterable[np.ndarray], size: int | None, colour: Colour, *, grey: bool = False
) -> np.ndarray:
    """Pictures (H, W, 3) uint8 as frames (T, size, size, 3), stretched to the square.

    `colour` is their channel order; `size` None keeps their size; with `grey` they may have one channel, as
    the frames then have. Shrinking averages, so that small objects are not lost.

    Raises:
        UnfitError: a picture has another form.
        ValueError: they are of several sizes, and `size` is None.
    """
    frames = [_fit_one(np.asarray(picture), size, colour, grey) for picture in pictures]
    if len({frame.shape[2] for frame in frames}) > 1:
        rule = "must all have the same channels, found some of 1 and some of 3"
        raise UnfitError(rule, "store all of a camera's pictures in grey, or all in colour")
    return np.stack(frames)


def resizing(shape: tuple[int, ...], size: int | None) -> str:
    """How `fit` changes the size of pictures (H, W, 3), for people to read; empty if it does not."""
    if size is None or shape[:2] == (size, size):
        return ""
    height, width = shape[:2]
    how = "averaging over areas" if size <= min(height, width) else "interpolating linearly"
    aspect = "" if height == width else ", which changes their proportions"
    return f"pictures of {height}x{width} (height x width) were stretched to {size}x{size}, {how}{aspect}"


def _fit_one(picture: np.ndarray, size: int | None, colour: Colour, grey: bool) -> np.ndarray:
    check_picture(picture.dtype, picture.shape, grey)
    if colour == "bgr":
        picture = picture[:, :, ::-1]
    if size is not None and picture.shape[:2] != (size, size):
        shrinks = size <= min(picture.shape[:2])
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        stretched = cv2.resize(np.ascontiguousarray(picture), (size, size), interpolation=method)
        picture = stretched.reshape(size, size, picture.shape[2])  # OpenCV drops the axis of one channel
    return picture
