"""Which cameras an import takes, and what the dataset calls them: `--image KEY NAME=KEY ...`, or `all`."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cog.errors import UsageError
from cog.signals.pictures import CAMERA_NAMES, Conversion, Declared, is_camera_name

IMAGE = "image"
ALL, NONE = "all", "none"  # as options: take every camera, or nothing
PREFIX = "observation.images."
KINDS = {"rgb", "color", "colour", "image", "images", "pixels"}
"""Last parts of keys that say what a camera gives, not which one it is."""
LONGEST = 63  # characters of a camera's name

Cameras = Mapping[str, str]
"""Name in the dataset -> key in the source, in the order of `Episode.pictures`: "image" first."""


def asked(given: Sequence[str], keys: Collection[str]) -> list[tuple[str | None, str]]:
    """The keys that `--image` names, each with its name if it has one; a key of the source may hold a `=`."""
    if list(given) in ([ALL], [NONE]):
        return []
    pairs: list[tuple[str | None, str]] = []
    for text in given:
        name, equals, key = text.partition("=")
        pairs.append((None, text) if text in keys or not equals else (name, key))
    return pairs


def name_cameras(path: Path, given: Sequence[str], images: Sequence[str], have: str) -> dict[str, str]:
    """The cameras to take out of the `images` of a source, by name; `have` says what else it has.

    The first key without a name becomes "image" unless another one is called so; the others take the last
    part of their key that says which camera it is.

    Raises:
        UsageError: a key does not exist or is named twice, a name is invalid or taken, several images are
            there and none is chosen, or none is there and all are asked for.
    """
    if not given and len(images) > 1:
        remedy = f"choose images with --image: one or several of {', '.join(images)}, or all"
        raise UsageError(have, where=path, remedy=remedy)
    for word in (ALL, NONE):
        if word in given and len(given) > 1 and word not in images:
            raise UsageError(f"--image names '{word}' beside others", where=path, remedy="name it alone")
    every = not given or list(given) == [ALL]
    if given and every and not images:
        raise UsageError(f"there are no images; {have}", where=path, remedy="leave out --image all")
    pairs = _image_first(images) if every else asked(given, images)
    keys = [key for _, key in pairs]
    for name, key in pairs:
        if key not in images:
            raise UsageError(f"there are no images '{key}'; {have}", where=path)
        if keys.count(key) > 1:
            raise UsageError(f"the images '{key}' are named twice", where=path, remedy="name them once")
        if name is not None and name != IMAGE and not is_camera_name(name):
            rule = f"the camera '{name}' must be named by {CAMERA_NAMES}"
            raise UsageError(rule, where=path, remedy=f"choose another name for {key}")
    named = [(name, key) for name, key in pairs if name is not None]
    alone = [key for name, key in pairs if name is None]
    if alone and IMAGE not in dict(named):
        named, alone = [(IMAGE, alone[0]), *named], alone[1:]
    names = [name for name, _ in named]
    for name in names:
        if names.count(name) > 1:
            rule = f"two cameras are called '{name}'"
            raise UsageError(rule, where=path, remedy="give each a name of its own, as NAME=KEY")
    if named and IMAGE not in names:
        rule = f"no camera is called {IMAGE}, which every dataset with images has"
        raise UsageError(rule, where=path, remedy=f"call one so: --image {IMAGE}={keys[0]}")
    found = dict(named) | _named_by_keys(path, alone, names)
    return {name: found[name] for name in sorted(found, key=lambda name: (name != IMAGE, name))}


class Conversions:
    """The exact conversions of the cameras of an import, one for each; further cameras may stay grey."""

    def __init__(self, cameras: Cameras, declared: Mapping[str, Declared] | None = None) -> None:
        """Begin with what the source declares of some keys."""
        self._cameras = cameras
        self._by_name = {
            name: Conversion((declared or {}).get(key, Declared()), grey=name != IMAGE)
            for name, key in cameras.items()
        }

    def __call__(self, name: str, pictures: np.ndarray) -> np.ndarray:
        """Pictures (T, ...) of a camera, by its name, as (T, H, W, 3) uint8, or (T, H, W, 1) in grey.

        Raises:
            UnfitError: they cannot be converted without loss or doubt.
        """
        return self._by_name[name](pictures)

    @property
    def notes(self) -> list[str]:
        """What was done to the pictures so far."""
        every = self._by_name.items()
        return [f"{self._cameras[name]}: {rule}" for name, one in every for rule in one.rules]


def _image_first(keys: Sequence[str]) -> list[tuple[str | None, str]]:
    """The keys, of which the one that is called image already, or else the first, is called so."""
    own = [key for key in keys if re.split(r"[/.]", key)[-1] == IMAGE]
    first = next(iter(own or keys), None)
    return [(IMAGE if key == first else None, key) for key in keys]


def _named_by_keys(path: Path, keys: Sequence[str], taken: Collection[str]) -> dict[str, str]:
    """Names of further cameras: as few last parts of their keys as tell them apart, as many of each."""
    offered = {key: list(filter(is_camera_name, _names(key))) for key in keys}
    for level in range(max(map(len, offered.values()), default=0)):
        names = [found[min(level, len(found) - 1)] for found in offered.values() if found]
        if len({*names, *taken}) == len(keys) + len(taken):
            return dict(zip(names, keys, strict=True))
    if not keys:
        return {}
    rule = f"the cameras {', '.join(keys)} find no names of their own in their keys"
    raise UsageError(rule, where=path, remedy=f"name them as NAME=KEY, such as --image wrist={keys[0]}")


def _names(key: str) -> Iterator[str]:
    """Names for a camera, from the shortest to the whole key; not all of them may be allowed."""
    if key.startswith(PREFIX):
        yield _plain(key.removeprefix(PREFIX))
    else:
        parts = [part for part in re.split(r"[/.]", key) if part]
        while len(parts) > 1 and parts[-1] in KINDS:
            parts.pop()
        for count in range(1, len(parts) + 1):
            yield _plain("_".join(parts[-count:]))
    yield _plain(key)


def _plain(text: str) -> str:
    """The text in the characters of a name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)[-LONGEST:].lstrip(".-")
