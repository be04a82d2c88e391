"""robomimic HDF5 files as a source: `data/demo_N` with `actions`, `obs`, often `next_obs` and `rewards`.

`obs` may hold T + 1 rows for T actions, instead of `next_obs`; `num_samples` says how many rows count.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cog.datasets.importers.foreign.actions import continuous
from cog.datasets.importers.foreign.cameras import IMAGE, Conversions
from cog.datasets.importers.foreign.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.held import Held, counted, some
from cog.datasets.importers.pictures import Array, UnfitError, sort_observations
from cog.datasets.importers.source import (
    OTHER_MARK,
    OURS,
    Following,
    LastFrame,
    ObservationOptions,
    Recording,
    as_flags,
    check_following,
    ended_last,
    exported_bounds,
    robot_facts,
    unsaid_ends,
    with_last,
)
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

DONES = "dones"
TAKEN = {"actions", "obs", "next_obs", "rewards"}
EXTRACT = (
    "make them with robomimic's dataset_states_to_obs.py, which replays the states in the simulator (a file "
    "of robosuite needs robomimic's convert_robosuite.py first)"
)
A_FRAME = "store as many observations as actions, or one more in every array that is taken"
A_STEP = "store one value a step, that of the observation which it led to, or choose another array"
OTHERS = "choose other observations with --image and --proprio, or import with --last-frame drop or repeat"


@dataclass(frozen=True)
class RobomimicOptions(ObservationOptions):
    """What to take from a robomimic file."""

    format: ClassVar[str] = "robomimic"

    last_frame: LastFrame = "next"
    """Last actions that no observation follows in the source: drop them, or repeat the frame before them."""
    mask: str | None = None
    """Name of a subset of the episodes. Default: all episodes."""
    terminated: str | None = None
    """Key of flags that are 1 where the environment ended the episode, such as dones. Default: none did."""

    def open(self, path: Path) -> "RobomimicSource":
        return RobomimicSource(path, self)


class RobomimicSource:
    """A robomimic file, open; its episodes in the order of their numbers."""

    def __init__(self, path: Path, choice: RobomimicOptions) -> None:
        """Open the file and choose what to take.

        Raises:
            UsageError: a chosen key or mask does not exist, or holds no colour pictures.
            DataError: this is not a robomimic file.
        """
        self.path, self.files = path, [path]
        self._file, self._choice = ForeignFile(path), choice
        self._following = Following(choice.last_frame)
        self._marked = self._within = 0
        with self._file.closed_on_error():
            self._ours = OURS in self._file
            listed = self._list()
            self._steps = {name: self._count(name) for name in listed}
            self._demos = [name for name in listed if self._steps[name]]
            self._notes += [*self._told(listed), *exported_bounds(self._file.text(OURS))]
            held = Held(path, self._observed(), label=lambda key: f"obs/{key}")
            observed = sort_observations(
                held.arrays, first_row=lambda key: self._file.read(f"{held.first[key]}/obs/{key}", 0, 1)[0]
            )
            images = observed.images(path, choice.image)
            self.cameras, self._vectors = held.choose(
                choice, images, observed.vectors, observed.numbers, observed.notes(())
            )
            self._conversions = Conversions(self.cameras)
            taken = [*self._vectors, *self.cameras.values()]
            self._notes += held.untaken(taken) + observed.notes(taken)
            for key in taken:  # what cannot be read is said before anything that follows from it
                self._file.read(f"{held.first[key]}/obs/{key}", 0, 1)
            arguments = self._arguments()
            self.environment = {
                "id": str(arguments.get("env_name", "unknown")),
                "env_args": arguments,
                **robot_facts(self.cameras, {key: held.arrays[key][1] for key in self._vectors}),
            }
            names = {name: self._file.names(f"data/{name}") for name in self._demos}
            named = {str(choice.success), str(choice.terminated)}
            named |= {DONES} if self._ours else set()  # there they are the terminal steps
            extra = sorted({*chain.from_iterable(names.values())} - TAKEN - named)
            if extra:
                self._notes.append(f"arrays not taken: {', '.join(counted(extra, names))}")
            masks = [name for name in self._file.names("mask") if name != choice.mask]
            if masks:
                self._notes.append(f"masks not taken (--mask): {', '.join(masks)}")

    @property
    def notes(self) -> list[str]:
        """What was not taken, and what was done to the pictures that were read so far."""
        ends = unsaid_ends(DONES, self._marked, self._within, len(self))
        return [*self._notes, *ends, *self._following.notes(), *self._conversions.notes]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._demos)

    def actions(self, episode: int) -> np.ndarray:
        name = self._demos[episode]
        field = f"data/{name}/actions"
        return continuous(self.path, field, self._file.read(field, 0, self._steps[name]), episode)

    def read(self, episode: int) -> Recording:
        name = self._demos[episode]
        place = f"data/{name}"
        keys = [*self._vectors, *self.cameras.values()]
        follows = f"{place}/next_obs" in self._file and self._following.fits(
            episode, lambda: [self._after(place, key, episode) for key in keys]
        )
        beyond = not follows and all(
            self._file.length(f"{place}/obs/{key}") == self._file.length(f"{place}/actions") + 1
            for key in keys
        )
        columns = [self._vector(place, key, beyond, follows, episode) for key in self._vectors]
        shown = {name: self._pictures(place, name, beyond, follows, episode) for name in self.cameras}
        rewards, success = f"{place}/rewards", self._choice.success
        ended = self._ended(place, episode)
        return Recording(
            name=name,
            actions=self.actions(episode),
            closed=beyond or follows,
            images=shown.pop(IMAGE, None),
            cameras=shown,
            vectors=np.concatenate(columns, axis=1) if columns else None,
            rewards=self._per_step(rewards, episode) if rewards in self._file else None,
            success=None if success is None or ">" in success else self._success(place, success, episode),
            terminated=ended,
            truncated=not ended,
        )

    def _ended(self, place: str, episode: int) -> bool:
        """Whether the environment ended an episode: `dones` of other origin than cog's may mark any end."""
        named = self._choice.terminated
        field = f"{place}/{named or DONES}"
        if field not in self._file:
            if named is None:
                return False
            have = ", ".join(self._file.names(place))
            what = f"{place} has no array '{named}' that marks ends; it has: {have}"
            raise UsageError(what, where=self.path)
        if named is not None:
            return ended_last(self.path, field, self._per_step(field, episode), episode)
        if self._ours:
            return bool(as_flags(self.path, field, self._per_step(field, episode))[-1])
        flags = self._file.read(field).reshape(-1) > 0
        self._marked, self._within = self._marked + any(flags[-1:]), self._within + any(flags[:-1])
        return False

    def _list(self) -> list[str]:
        """Names of the chosen episodes.

        Raises:
            UsageError: there is no such mask, or it names no episode.
            DataError: there are no episodes, or the mask names one that does not exist.
        """
        groups = self._file.names("data")
        demos = [name for name in groups if re.fullmatch(r"demo_\d+", name)]
        others = [name for name in groups if name not in demos]
        if not demos:
            held = groups or self._file.names("")
            have = f"found {', '.join(held[:5])}{', ...' if len(held) > 5 else ''}" if held else "it is empty"
            rule = f"must contain episodes demo_0, demo_1, ...; this is not a robomimic file ({have})"
            remedy = "choose another format, or write the episodes with cog.DatasetWriter"
            raise DataError(Problem(self.path, "data", rule, remedy))
        self._notes = [f"groups of data not taken, since only demo_N are: {some(others)}"] if others else []
        mask = self._choice.mask
        if mask is not None:
            masks = self._file.names("mask")
            if mask not in masks:
                have = ", ".join(masks) or "none"
                raise UsageError(f"there is no mask '{mask}'; there are: {have}", where=self.path)
            chosen = self._file.texts(f"mask/{mask}")
            if not chosen:
                have = ", ".join(name for name in masks if name != mask) or "none"
                raise UsageError(
                    f"the mask '{mask}' names no episode",
                    where=self.path,
                    remedy=f"choose another mask ({have}), or leave out --mask for all {len(demos)} episodes",
                )
            for name in chosen:
                if name not in demos:
                    rule = f"names '{name}', which is not in the file"
                    remedy = "correct the mask, or leave out --mask"
                    raise DataError(Problem(self.path, f"mask/{mask}", rule, remedy))
            demos = list(dict.fromkeys(chosen))
            if len(demos) < len(chosen):
                self._notes.append(f"the mask '{mask}' names episodes twice; each was taken once")
        return sorted(demos, key=lambda name: int(name.removeprefix("demo_")))

    def _count(self, name: str) -> int:
        """Number of steps of an episode: its actions, or fewer where `num_samples` says so."""
        rows, said = self._file.length(f"data/{name}/actions"), self._said(name)
        return rows if said is None else min(rows, said)

    def _said(self, name: str) -> int | None:
        """The attribute `num_samples` of an episode, if it is a number of rows."""
        said = self._file.attribute(f"data/{name}", "num_samples")
        whole = isinstance(said, int | np.integer) and not isinstance(said, bool)
        return int(said) if whole and said >= 0 else None  # type: ignore[call-overload,operator]

    def _told(self, listed: list[str]) -> Iterator[str]:
        """Notes on episodes that are left out or shortened.

        Raises:
            DataError: none has a step.
        """
        empty = [name for name in listed if not self._steps[name]]
        if len(empty) == len(listed):
            rule = "must hold at least one action in one episode, found none"
            raise DataError(Problem(self.path, "data/demo_*/actions", rule, ANOTHER))
        if empty:
            yield f"{len(empty)} episodes without a step were left out ({some(empty)})"
        cut = [name for name in self._demos if self._steps[name] < self._file.length(f"data/{name}/actions")]
        if cut:
            yield f"rows beyond num_samples were left out in {len(cut)} episodes ({some(cut)})"
        odd = [
            name
            for name in self._demos
            if self._said(name) is None and self._file.attribute(f"data/{name}", "num_samples") is not None
        ]
        if odd:
            said = self._file.attribute(f"data/{odd[0]}", "num_samples")
            yield f"num_samples of {len(odd)} episodes is no count of rows ({odd[0]}: {said}); all were taken"
        more = [name for name in self._demos if (self._said(name) or 0) > self._steps[name]]
        if more:
            yield f"num_samples is larger than the number of actions in {len(more)} episodes ({some(more)})"

    def _observed(self) -> dict[str, dict[str, Array]]:
        """Type and shape of the observations of every episode, by its place in the file.

        Raises:
            DataError: one has no observations.
        """
        found = {f"data/{name}": self._file.arrays(f"data/{name}/obs") for name in self._demos}
        without = [name for name in self._demos if not found[f"data/{name}"]]
        if not without:
            return found
        if len(without) == len(self._demos):
            have = ", ".join(self._file.names(f"data/{without[0]}")) or "nothing"
            rule = f"must be present: there are no observations, only {have}"
            raise DataError(Problem(self.path, f"data/{without[0]}/obs", rule, EXTRACT))
        rule = f"must hold observations: {some(without)} has none, the other episodes have"
        if len(without) > 1:
            rule = f"must hold observations: {some(without)} have none, the others have"
        remedy = "add them, or choose the other episodes with --mask"
        raise DataError(Problem(self.path, f"data/{without[0]}/obs", rule, remedy))

    def _arguments(self) -> dict[str, Any]:
        """The file's description of its environment, as JSON; a fault in it is only noted."""
        text = self._file.attribute("data", "env_args")
        if text is None:
            return {}
        fault = "it is no JSON object"
        try:
            value = json.loads(text) if isinstance(text, str | bytes) else None
            json.dumps(value, allow_nan=False)
            if isinstance(value, dict):
                return value
        except (ValueError, RecursionError) as error:
            fault = "it is empty" if not text else str(error)
            fault = "it is nested too deeply" if isinstance(error, RecursionError) else fault
        self._notes.append(f"the description of the environment (env_args) was left out: {fault}")
        return {}

    def _vector(self, place: str, key: str, beyond: bool, follows: bool, episode: int) -> np.ndarray:
        """A vector observation (T, P), or (T + 1, P) including the one after the last action."""
        rows = self._finite(f"{place}/obs/{key}", beyond, episode)
        return with_last(rows, self._after(place, key, episode) if follows else None)

    def _pictures(
        self, place: str, camera: str, beyond: bool, follows: bool, episode: int
    ) -> Iterator[np.ndarray]:
        """The pictures (H, W, 3) uint8 of an episode, of a camera by its name."""
        key = self.cameras[camera]
        name = f"{place}/obs/{key}"
        pictures = self._converted(camera, self._checked(name, beyond, episode), name, episode)
        after = self._after(place, key, episode) if follows else None
        if after is not None:
            after = self._converted(camera, after, self._next(place, key), episode)
        yield from with_last(pictures, after)

    def _after(self, place: str, key: str, episode: int) -> np.ndarray:
        """The next observation of the last action, (1, ...); of pictures, only the last two are compared.

        Raises:
            DataError: next observations are missing, or are not the observations of the step after.
        """
        name, here, steps = self._next(place, key), f"{place}/obs/{key}", self._steps[self._demos[episode]]
        if key in self._vectors:
            rows, following = self._finite(here, False, episode), self._finite(name, False, episode)
        else:
            self._checked(here, False, episode, rows=False)
            self._checked(name, False, episode, rows=False)
            rows, following = (self._file.read(one, max(0, steps - 2), steps) for one in (here, name))
        check_following(self.path, name, rows, following, episode, steps - len(rows))
        return following[-1:]

    def _converted(self, camera: str, rows: np.ndarray, name: str, episode: int) -> np.ndarray:
        """Pictures of any form as (T, H, W, 3) uint8; those of further cameras may stay grey."""
        try:
            return self._conversions(camera, rows)
        except UnfitError as error:
            rule, remedy = error.args
            raise DataError(Problem(self.path, name, rule, remedy, episode)) from error

    def _next(self, place: str, key: str) -> str:
        """Name of the next observations of a key.

        Raises:
            DataError: there are none, while there are of others.
        """
        name = f"{place}/next_obs/{key}"
        if name not in self._file:
            rule = f"must be present: obs has '{key}', but next_obs does not"
            raise DataError(Problem(self.path, name, rule, OTHERS))
        return name

    def _finite(self, name: str, beyond: bool, episode: int) -> np.ndarray:
        """Rows (T, P) of a vector, all of them finite; single numbers become (T, 1)."""
        rows = self._checked(name, beyond, episode)
        rows = rows[:, None] if rows.ndim == 1 else rows
        broken = np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1))
        if len(broken):
            odd = rows[broken[0]][~np.isfinite(rows[broken[0]])][0]
            rule = f"must be finite, found {odd} in row {broken[0]}"
            remedy = "leave the episode out (--mask), repair the recording, or choose other vectors"
            raise DataError(Problem(self.path, name, rule, remedy, episode))
        return rows

    def _checked(
        self, name: str, beyond: bool, episode: int, *, rows: bool = True, remedy: str = A_FRAME
    ) -> np.ndarray:
        """The rows of an array that has one for each action, and one more if `beyond`; read if `rows`."""
        demo = self._demos[episode]
        stored, steps = self._file.length(f"data/{demo}/actions"), self._steps[demo]
        found = self._file.length(name)
        if found != stored + beyond:
            rule = f"must have one row for each of {stored} actions, found {found}"
            raise DataError(Problem(self.path, name, rule, remedy, episode))
        return self._file.read(name, 0, steps + beyond) if rows else np.zeros(0)

    def _per_step(self, name: str, episode: int) -> np.ndarray:
        """Values (T,) of the steps; of T + 1, which of them is a step's would be a guess."""
        rows = self._checked(name, False, episode, remedy=A_STEP)
        if rows.size != len(rows):
            rule = f"must be one number a step, found shape {rows.shape}"
            raise DataError(Problem(self.path, name, rule, A_STEP, episode))
        return rows.reshape(-1)

    def _success(self, place: str, key: str, episode: int) -> np.ndarray:
        """The chosen success entries (T,): an array's, or an attribute of the episode at its last step."""
        if f"{place}/{key}" in self._file:
            return self._per_step(f"{place}/{key}", episode)
        steps = self._steps[self._demos[episode]]
        said = self._file.attribute(place, key)
        if isinstance(said, bool | np.bool_ | int | float | np.integer | np.floating):
            return (np.arange(steps) == steps - 1) & bool(said > 0)
        have = ", ".join(self._file.names(place))
        held = (
            "no such number among its attributes" if said is None else f"its attribute is {said!r}, no number"
        )
        what = f"{place} has no array '{key}' that marks success; it has: {have} (and {held})"
        raise UsageError(what, where=self.path, remedy=OTHER_MARK)
