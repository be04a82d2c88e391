"""Contents: what an export contains in any format: episodes with rewards, and their origin."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from cog.core.files import code_version
from cog.datasets.action_scale import ActionScale
from cog.datasets.episode import Episode
from cog.datasets.merge import Merge, Source
from cog.datasets.relabel.view import labelled
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import UsageError

ORIGIN = "cog"  # name under which every export records its origin

Progress = Callable[[int, str], None]
"""Called with the number of episodes written, and a note."""
Units = Literal["robot", "unit"]
"""The robot's own units, where an action scale records them, or [-1, 1]."""


@dataclass(frozen=True)
class Numbered:
    """One episode of an export."""

    number: int
    """Its number in the export."""
    source: int
    """Number of its source."""
    episode: Episode
    """The episode, with rewards and terminals."""
    cameras: tuple[str, ...]
    """Names of the cameras that are exported."""

    def observations(self) -> dict[str, np.ndarray]:
        """Name -> (T+1, ...): `image` (H, W, 3) uint8, each further camera by its name, (H, W, 3 or 1) uint8,
        and `proprio` (P,) float32, or `state` (N,) float32.
        """
        pictures = {name: self.episode.pictures()[name] for name in self.cameras}
        found = {**pictures, "proprio": self.episode.proprio, "state": self.episode.state}
        return {name: values for name, values in found.items() if values is not None}

    def truncated(self) -> bool:
        """Whether the episode stops without a terminal step, so that its last frame still has a value."""
        return not bool(_flags(self.episode)[-1])

    def facts(self) -> dict[str, Any]:
        """Further facts about the episode, as numbers, strings and booleans."""
        names = ("seed", "start", "behaviour", "noise", "success")
        return {**{name: getattr(self.episode, name) for name in names}, "source": self.source}


@dataclass(frozen=True)
class Contents:
    """A merge, or a single dataset under a view, to be written episode by episode."""

    merge: Merge
    """The sources."""
    on_progress: Progress
    """Called after every episode."""
    units: Units = "robot"
    """Units in which actions are written."""
    chosen: tuple[str, ...] = ()
    """Names of the cameras to write; empty for all."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of the result; formats add to it as they write."""

    def __post_init__(self) -> None:
        """Say in which units actions are written, if there is a choice.

        Raises:
            UsageError: a chosen camera is not in the data.
        """
        held = self.merge.sources[0].camera_names
        for name in self.chosen:
            if name not in held:
                have = (
                    f"choose from: {', '.join(held)}" if held else "leave out --cameras: there are no images"
                )
                raise UsageError(f"camera {name!r} is not in the data", remedy=have)
        scale = ActionScale.of(self.environment)
        if scale is not None and self.units == "robot":
            self.notes.append(
                f"actions are written in the robot's units, from {_short(scale.low)} to "
                f"{_short(scale.high)}; --units unit writes them in [-1, 1]"
            )
        elif scale is not None:
            self.notes.append(
                f"actions are written in [-1, 1], where -1 is {_short(scale.low)} and 1 is "
                f"{_short(scale.high)} for the robot; --units robot writes its units"
            )

    @property
    def scale(self) -> ActionScale | None:
        """The map to the units in which actions are written, or None where they stay in [-1, 1]."""
        return ActionScale.of(self.environment) if self.units == "robot" else None

    @property
    def action_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest values (A,) of an action, as it is written."""
        if self.scale is not None:
            return np.array(self.scale.low), np.array(self.scale.high)
        return np.full(self.action_shape, -1.0), np.full(self.action_shape, 1.0)

    @property
    def episode_count(self) -> int:
        """Number of episodes."""
        return sum(source.episodes for source in self.merge.sources)

    @property
    def step_count(self) -> int:
        """Number of steps."""
        return sum(source.view.steps for source in self.merge.sources)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that are written, in the order of `Episode.pictures`."""
        held = self.merge.sources[0].camera_names
        return tuple(name for name in held if name in (self.chosen or held))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each observation of one frame; those of cameras have three axes."""
        found = self.merge.observations
        return {name: tuple(found[name]) for name in (*self.cameras, "proprio", "state") if name in found}

    @property
    def grey(self) -> tuple[str, ...]:
        """Names of the cameras that are written and have one channel."""
        return tuple(name for name in self.cameras if self.shapes[name][2] == 1)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape (A,) of an action."""
        return tuple(self.merge.sources[0].dataset.environment["action"])

    @property
    def environment(self) -> dict[str, Any]:
        """Facts of the first source's environment."""
        return dict(self.merge.sources[0].dataset.environment)

    def episodes(self, *, whole: bool) -> Iterator[Numbered]:
        """All episodes in order, actions in the chosen units, one shard in memory at a time.

        `whole` refuses a terminal step before the last, for formats that cannot express it.

        Raises:
            CogError: a shard is damaged, a rule fails or has changed, or a terminal step is refused.
        """
        number, scale, cameras = 0, self.scale, self.cameras
        for index, source in enumerate(self.merge.sources):
            for episode in map(source.as_merged, labelled(source.dataset, source.view)):
                if whole and _flags(episode)[:-1].any():
                    raise _ends_early(source, number)
                if scale is not None:
                    episode = replace(episode, actions=scale.to_robot(episode.actions).astype(np.float32))
                yield Numbered(number, index, episode, cameras)
                number += 1
                self.on_progress(number, source.name)

    def origin(self) -> dict[str, Any]:
        """Origin of the episodes, as JSON: the code version, and each source with its hash and view.

        `action_units` is there only where an action scale leaves a choice, `cameras` where some were chosen.
        """
        choice: dict[str, Any] = {"cameras": list(self.cameras)} if self.chosen else {}
        choice |= {} if ActionScale.of(self.environment) is None else {"action_units": self.units}
        return {
            "code_version": code_version(),
            **choice,
            "sources": [
                {
                    "name": source.name,
                    "role": source.role,
                    "share": source.share,
                    "dataset_hash": source.dataset.hash,
                    "relabel": source.view.to_json(),
                    "relabel_hash": source.view.hash(),
                    "environment": dict(source.dataset.environment),
                }
                for source in self.merge.sources
            ],
        }


def _short(numbers: tuple[float, ...]) -> str:
    """Numbers for people: (-90, 90, 0.08)."""
    return f"({', '.join(f'{number:g}' for number in numbers)})"


def _flags(episode: Episode) -> np.ndarray:
    """Terminals (T,) of an episode that has rewards."""
    return np.asarray(episode.terminals, bool)


def _ends_early(source: Source, number: int) -> DataError:
    rule = "a step before the last is terminal, which this format cannot express"
    remedy = "export a view that ends its episodes there (cog relabel)"
    return DataError(Problem(source.dataset.path, "terminals", rule, remedy, number))
