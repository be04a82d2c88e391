"""Pictures from any source as frames of episodes: (T, H, W, 3) uint8, RGB, of one square size."""

from collections.abc import Iterable
from typing import Literal, get_args

import cv2
import numpy as np

from cog.errors import UsageError

Colour = Literal["rgb", "bgr"]


class UnfitError(ValueError):
    """A picture cannot be used: (rule, remedy)."""


def check_options(size: int | None, colour: str) -> None:
    """Refuse a size or colour order that does not exist.

    Raises:
        UsageError: naming it.
    """
    if size is not None and size < 1:
        raise UsageError(f"image size must be at least 1 pixel, got {size}")
    if colour not in get_args(Colour):
        raise UsageError(f"colour order must be one of {', '.join(get_args(Colour))}, got {colour!r}")


def fit(pictures: Iterable[np.ndarray], size: int | None, colour: Colour) -> np.ndarray:
    """Pictures (H, W, 3) uint8 as frames (T, size, size, 3), stretched to the square.

    `colour` is their channel order; `size` None keeps their size. Shrinking averages, so that small objects
    are not lost.

    Raises:
        UnfitError: a picture has another form.
    """
    return np.stack([_fit_one(np.asarray(picture), size, colour) for picture in pictures])


def _fit_one(picture: np.ndarray, size: int | None, colour: Colour) -> np.ndarray:
    if picture.dtype != np.uint8:
        raise UnfitError(f"must be uint8, found {picture.dtype}", "scale and round them to 0 to 255")
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        remedy = (
            "move the colour channels to the end, repeat a grey channel three times or leave out a fourth"
        )
        raise UnfitError(f"each must be (H, W, 3), found {picture.shape}", remedy)
    if colour == "bgr":
        picture = picture[:, :, ::-1]
    if size is not None and picture.shape[:2] != (size, size):
        shrinks = size <= min(picture.shape[:2])
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        picture = cv2.resize(np.ascontiguousarray(picture), (size, size), interpolation=method)
    return picture
