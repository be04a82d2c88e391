"""Cameras of episodes that are written: each one's pictures in its own size, refused by the camera's name."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from cog.datasets.importers import pictures
from cog.datasets.robot_interface import FLIPS, Colour, Flip, Resize
from cog.datasets.writing.checks import Checks
from cog.errors import UsageError
from cog.signals.pictures import CAMERA_NAMES, is_camera_name

IMAGE = "image"
NOT_CAMERAS = "pass a mapping from the name of each camera to its pictures"


class Cameras:
    """How the pictures of every camera are fitted, and which cameras the episodes have."""

    def __init__(
        self,
        size: int | None,
        sizes: Mapping[str, int | None] | None,
        colour: Colour,
        checks: Checks,
        flip: Flip = "none",
    ) -> None:
        """Turn over by `flip`, stretch to `size`, some cameras to their own of `sizes`; None keeps theirs.

        Raises:
            UsageError: a size, a name or the order of colours is invalid.
        """
        pictures.check_options(size, colour)
        if sizes is not None and not isinstance(sizes, Mapping):
            raise UsageError(f"camera_sizes must map names of cameras to sizes, got {sizes!r}")
        self.sizes: dict[str, int | None] = {}
        """The sizes that were given by camera."""
        for name, own in (sizes or {}).items():
            if name != IMAGE and not is_camera_name(name):
                raise UsageError(f"camera_sizes must be named by {CAMERA_NAMES}, got {name!r}")
            try:
                pictures.check_options(own, colour)
            except UsageError as error:
                raise UsageError(f"camera_sizes[{name}]: {error.what}") from error
            self.sizes[name] = None if own is None else int(own)
        self._size, self._colour, self._checks, self._axes = size, colour, checks, FLIPS[flip]
        self._names: tuple[str, ...] | None = None

    def size(self, name: str) -> int | None:
        """Height and width to which a camera's pictures are stretched; None if they keep theirs."""
        return self.sizes.get(name, self._size)

    @property
    def resize(self) -> Resize:
        """What a robot's pictures become: stretched if those of any camera are."""
        return "stretch" if any(self.size(name) for name in self._names or (IMAGE,)) else "keep"

    def images(self, given: Iterable[np.ndarray], frames: int) -> np.ndarray:
        """The pictures (T + 1, H, W, 3) of the camera called image.

        Raises:
            DataError: they have another form or number.
        """
        return self._fitted("images", IMAGE, given, frames)

    def further(
        self, given: Mapping[str, Iterable[np.ndarray]] | None, frames: int, alone: bool
    ) -> dict[str, np.ndarray]:
        """The pictures (T + 1, H, W, 3 or 1) of every further camera; `alone` if there is none called image.

        Raises:
            DataError: a name is invalid, or pictures have another form or number.
        """
        if given is not None and not isinstance(given, Mapping):
            rule = f"must be pictures by the name of their camera, found {type(given).__name__}"
            raise self._checks.problem("cameras", rule, NOT_CAMERAS)
        for name in given or {}:
            if not is_camera_name(name):
                rule = f"must be named by {CAMERA_NAMES}"
                remedy = "pass its pictures as images=" if name == IMAGE else "choose another name"
                raise self._checks.problem(f"cameras[{name}]", rule, remedy)
            if alone:
                rule = "must come with images, those of the camera called image"
                raise self._checks.problem(f"cameras[{name}]", rule, "pass one camera's pictures as images=")
        return {
            name: self._fitted(f"cameras[{name}]", name, shown, frames)
            for name, shown in (given or {}).items()
        }

    def check_alike(self, found: Iterable[str]) -> None:
        """Refuse an episode whose cameras, by name, differ from those of the first.

        Raises:
            DataError: naming a camera that one of the two lacks, or that has a size and is in neither.
        """
        names = tuple(sorted(found))
        if self._names is None:
            for name in self.sizes:
                if name not in names:
                    rule = f"names a camera that the episode lacks; it has: {', '.join(names) or 'none'}"
                    remedy = "name a camera that it has, or leave out the size"
                    raise self._checks.problem(f"camera_sizes[{name}]", rule, remedy)
            self._names = names
        first = self._names
        for name in sorted({*first, *names} - {IMAGE}):
            if name not in names or name not in first:
                held = "none" if name not in first else "one"
                rule = f"must be given with all episodes or with none; the first has {held}"
                remedy = "pass its pictures with every episode or with none, or write another dataset"
                raise self._checks.problem(f"cameras[{name}]", rule, remedy)

    def _fitted(self, field: str, name: str, given: Any, frames: int) -> np.ndarray:
        """One camera's pictures (T + 1, H, W, C)."""
        problem, form = self._checks.problem, "3" if name == IMAGE else "3 or 1"
        try:
            offered = iter(given)
        except TypeError as error:
            rule = f"must be pictures (T + 1, H, W, {form}), found {type(given).__name__}"
            raise problem(field, rule, "pass an array or an iterable of pictures") from error
        first = next(offered, None)
        if first is None:
            rule = f"must be {frames} pictures for {frames - 1} actions, found none"
            without = "pass a state instead" if name == IMAGE else "leave out the camera"
            raise problem(field, rule, f"add the pictures, or {without}")
        try:
            own = not isinstance(given, Sequence | np.ndarray)  # which may fill one buffer again and again
            turned = (self._turned(picture, own) for picture in chain([first], offered))
            fitted = pictures.fit(turned, self.size(name), self._colour, grey=name != IMAGE)
        except pictures.UnfitError as error:
            rule, remedy = error.args
            raise problem(field, rule, remedy) from error
        except ValueError as error:
            rule = f"must be pictures of one size ({error})"
            raise problem(field, rule, "give an image_size to which they are stretched") from error
        self._checks.rows(field, len(fitted), frames)
        return fitted

    def _turned(self, picture: Any, own: bool) -> np.ndarray:
        """A picture turned over, `own` in memory of its own; `fit` refuses one without height and width."""
        array = np.array(picture) if own else np.asarray(picture)
        return np.flip(array, self._axes) if array.ndim == 3 else array
