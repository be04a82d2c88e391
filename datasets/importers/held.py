"""What the episodes of a source hold together: keys are chosen among those of all, not of the first alone."""

import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from cog.datasets.importers.foreign.cameras import IMAGE, NONE, Cameras, asked
from cog.datasets.importers.pictures import Array
from cog.datasets.importers.source import ObservationOptions, Recording, choose
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

WITHOUT = "record it in all of them, or leave out the episodes that lack it"
BY_MASK = "leave out those that lack it, with --mask"


class Held:
    """The observations of all episodes by key, as the first episode that has the key holds it."""

    def __init__(
        self,
        path: Path,
        episodes: Mapping[str, Mapping[str, Array]],
        *,
        label: Callable[[str], str] = str,
        said: Iterable[str] = (),
        unit: str = "episodes",
    ) -> None:
        """Gather type and shape of what every episode of the source `path` holds, by its name.

        Args:
            path: the source.
            episodes: name -> key -> type and shape (T, ...).
            label: how the source itself names the array of a key.
            said: keys that the source's description names, whether an episode holds them or not.
            unit: what `episodes` are, in the plural.
        """
        self.arrays: dict[str, Array] = {}
        """Type and shape of every key."""
        self.first: dict[str, str] = {}
        """Name of the first episode that holds a key."""
        self._path, self._episodes, self._label, self._unit = path, episodes, label, unit
        for name, arrays in episodes.items():
            for key, array in arrays.items():
                if key not in self.arrays:
                    self.arrays[key], self.first[key] = array, name
        self._known = {*self.arrays, *said}

    def choose(
        self,
        choice: ObservationOptions,
        images: Sequence[str],
        vectors: Sequence[str],
        numbers: Sequence[str] = (),
        why: Sequence[str] = (),
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """The cameras by name and the keys of the vectors to take, all of which every episode holds.

        Single `numbers` a step are vectors of one where they are named, or where there is nothing else. `why`
        says why others are neither.

        Raises:
            UsageError: a key does not exist, or there are several and none is chosen, or a name is invalid.
            DataError: an episode lacks a key that others hold.
        """
        for _, key in asked(choice.image, self.arrays):
            if key in self.arrays and key not in images:
                rule = f"'{key}' is no camera but {self._found(key)}; pictures are (T, H, W, 3)"
                raise UsageError(rule, where=self._path, remedy="choose other images with --image, or 'none'")
        for key in choice.proprio:
            if key in self.arrays and key not in (*vectors, *numbers) and (fault := self._no_vector(key)):
                raise fault
        cameras, chosen = choose(self._path, choice, images, vectors, numbers, why)
        for key in (*cameras.values(), *chosen):
            if lacking := self._lacking(key):
                others = len(self._episodes) - len(lacking)
                rule = f"has no '{self._label(key)}', which {_others(others)}"
                remedy = self._way(choice, cameras, chosen, images, vectors)
                raise DataError(Problem(self._path, lacking[0], rule, remedy))
        return cameras, chosen

    def untaken(self, taken: Iterable[str]) -> list[str]:
        """The note on observations that are left out, if any; a count says where few episodes hold one."""
        left = sorted(self._known - set(taken))
        text = ", ".join(counted(left, self._episodes, self._unit))
        return [f"observations not taken: {text}"] if left else []

    def _found(self, key: str) -> str:
        """Type and shape of a key, for messages."""
        kind, (_, *shape) = self.arrays[key]
        return f"{kind} of shape (T{''.join(f', {size}' for size in shape)})"

    def _no_vector(self, key: str) -> UsageError | None:
        """Why a key that was named is no vector, as far as its type and shape tell."""
        kind, (_, *shape) = self.arrays[key]
        found = self._found(key)
        if len(shape) > 1:
            rule, remedy = f"has {len(shape)} axes a step ({found}); a vector has one", "choose others"
        elif kind.kind in "fiu" and shape != [0]:
            return None
        else:
            rule, remedy = f"is {found}, no vector of numbers", "choose others, or store it as float32 (T, N)"
        return UsageError(f"'{key}' {rule}", where=self._path, remedy=remedy)

    def _lacking(self, key: str) -> list[str]:
        """Names of the episodes without a key."""
        return [name for name, arrays in self._episodes.items() if key not in arrays]

    def _way(
        self,
        choice: ObservationOptions,
        cameras: Cameras,
        chosen: Sequence[str],
        images: Sequence[str],
        vectors: Sequence[str],
    ) -> str:
        """How to import what all episodes hold, if they share anything."""
        options = []
        taken = [key for key in cameras.values() if not self._lacking(key)]
        if len(taken) < len(cameras):
            taken = taken or [key for key in images if not self._lacking(key)][:1]
            given = {
                key: text
                for text, (_, key) in zip(choice.image, asked(choice.image, self.arrays), strict=False)
            }
            named = given if cameras[IMAGE] in taken else {}
            options.append(f"--image {shlex.join([named.get(key, key) for key in taken] or [NONE])}")
        kept = [key for key in chosen if not self._lacking(key)]
        if not kept and not taken:
            kept = [key for key in vectors if not self._lacking(key)]
        if options or kept != list(chosen):
            options.append(f"--proprio {shlex.join(kept or [NONE])}")
        ways = [f"import with {' '.join(options)}"] if kept or taken else []
        return ", or ".join([*ways, BY_MASK if hasattr(choice, "mask") else WITHOUT])


class Alike:
    """Refuses episodes of which some have rewards, or marks of success, and others have none."""

    def __init__(self, path: Path, maskable: bool) -> None:
        """Begin with the episodes of the source `path`; `maskable` if options can leave some out."""
        self._path = path
        self._way = "choose those that have them with --mask" if maskable else "leave out those without"
        self._seen: dict[str, dict[bool, tuple[int, str]]] = {}

    def see(self, recording: Recording, episode: int) -> None:
        """Note what an episode, by its number, has.

        Raises:
            DataError: naming it and an earlier one, of which one lacks what the other has.
        """
        for what, values in {"rewards": recording.rewards, "success": recording.success}.items():
            seen = self._seen.setdefault(what, {})
            seen.setdefault(values is not None, (episode, recording.name))
            if len(seen) == 2:
                number, name = seen[False]
                rule, remedy = (
                    f"has no {what}, {seen[True][1]} has",
                    f"give all of them {what}, or {self._way}",
                )
                raise DataError(Problem(self._path, name, rule, remedy, number))


def counted(
    names: Iterable[str], episodes: Mapping[str, Collection[str]], unit: str = "episodes"
) -> list[str]:
    """The names, each with the number of episodes that hold it unless all do."""
    count, total = Counter(chain.from_iterable(episodes.values())), len(episodes)
    return [
        name if count[name] == total else f"{name} (in {count[name]} of {total} {unit})" for name in names
    ]


def some(names: Sequence[str]) -> str:
    """The first names of several, for people."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _others(count: int) -> str:
    """How many others hold a key, in words."""
    return "1 other holds" if count == 1 else f"{count} others hold"
