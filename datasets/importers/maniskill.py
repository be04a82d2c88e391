"""ManiSkill 3 trajectories as a source: an HDF5 file with groups `traj_N`, and the JSON file beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cog.core.files import read_json
from cog.datasets.importers.foreign.actions import continuous
from cog.datasets.importers.foreign.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.foreign.observed import Taken, as_columns
from cog.datasets.importers.held import Held, counted, some
from cog.datasets.importers.pictures import Array, Declared
from cog.datasets.importers.source import OTHER_MARK, ObservationOptions, Recording, as_flags
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, UsageError

OBSERVATIONS, STATES, ACTIONS, REWARDS = "obs", "env_states", "actions", "rewards"
SUCCESS, TERMINATED, TRUNCATED = "success", "terminated", "truncated"
TAKEN = {ACTIONS, REWARDS, TERMINATED, TRUNCATED}
PARAMETERS = "sensor_param"
KINDS = {"rgb": "colour", "depth": "depth", "segmentation": "segmentation", "position": "positions"}
"""What a camera's pictures show, by ManiSkill's name of them."""
REPLAY = (
    "record observations with mani_skill.trajectory.replay_trajectory (-o rgb or state), or take the "
    "simulator's states with --proprio env_states/..."
)


class _Unasked(str):
    """A default that nobody asked for by name: the source may lack it."""


UNASKED = _Unasked(SUCCESS)


@dataclass(frozen=True)
class ManiSkillOptions(ObservationOptions):
    """What to take from ManiSkill trajectories."""

    format: ClassVar[str] = "maniskill"

    success: str | None = UNASKED
    """What marks success: reward>NUMBER, or an array of flags; "none": nothing. Default: its own."""

    def open(self, path: Path) -> "ManiSkillSource":
        return ManiSkillSource(path, self)


class ManiSkillSource:
    """A file of trajectories, open; each has T + 1 observations for T actions, and failures are kept."""

    def __init__(self, path: Path, choice: ManiSkillOptions) -> None:
        """Open the file and choose what to take.

        Raises:
            UsageError: a chosen key does not exist.
            DataError: these are not ManiSkill trajectories, or they hold no observations.
        """
        self.path, self.files, self._choice = path, [path], choice
        self._file = ForeignFile(path)
        with self._file.closed_on_error():
            names = [name for name in self._file.names("") if re.fullmatch(r"traj_\d+", name)]
            if not names:
                rule = "must contain trajectories traj_0, traj_1, ...; this is not a ManiSkill file"
                raise DataError(Problem(path, "traj_*", rule, ANOTHER))
            self._names = sorted(names, key=lambda name: int(name.removeprefix("traj_")))
            self._notes: list[str] = []
            self._going_on: set[str] = set()
            self._otherwise: set[str] = set()
            self._beside = self._read_beside()
            self.environment = self._describe()
            stepped = [name for name in self._names if self._has_steps(name)] or self._names
            self._taken = self._choose(stepped)
            self.cameras = self._taken.cameras
            self.environment |= self._taken.robot
            held = {name: self._file.names(name) for name in stepped}
            self._success = self._flags(held)
            taken = TAKEN | {OBSERVATIONS, STATES, str(self._success)}
            extra = sorted({*chain.from_iterable(held.values())} - taken)
            if extra:
                self._notes.append(f"arrays not taken: {', '.join(counted(extra, held, 'trajectories'))}")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def notes(self) -> list[str]:
        notes = [*self._notes, *self._taken.notes]
        if self._going_on:
            notes.append(
                f"{len(self._going_on)} trajectories go on after a step that is flagged as their end; only "
                "the flag of their last step counts as their end"
            )
        if self._otherwise:
            notes.append(
                f"{len(self._otherwise)} trajectories succeed by their flags and not by the JSON file, or "
                "the other way round; the flags count"
            )
        return notes

    def actions(self, episode: int) -> np.ndarray:
        field = f"{self._names[episode]}/{ACTIONS}"
        return continuous(self.path, field, as_columns(self._file.read(field)), episode)

    def read(self, episode: int) -> Recording:
        name = self._names[episode]
        actions = self.actions(episode)

        def observed(key: str) -> np.ndarray:
            return self._observed(name, key, len(actions))

        facts = self._beside.get(name, {})
        told = facts.get("elapsed_steps")
        if told is not None and told != len(actions):
            rule = f"says that {name} has {told} steps, but it has {len(actions)} actions"
            remedy = "put the JSON file of the same recording beside it"
            raise DataError(Problem(self.path.with_suffix(".json"), "episodes", rule, remedy))
        success = None if self._success is None else self._steps(name, self._success)
        said = facts.get("success")
        if success is not None and isinstance(said, bool) and said != bool((success > 0).any()):
            self._otherwise.add(name)
        return Recording(
            name=name,
            actions=actions,
            closed=True,
            images=self._taken.pictures(observed),
            cameras=self._taken.further(observed),
            vectors=self._taken.joined(observed),
            rewards=self._steps(name, REWARDS),
            success=success,
            terminated=self._ends(name, TERMINATED),
            truncated=self._ends(name, TRUNCATED),
            seed=_seed(facts),
            options={"control_mode": facts["control_mode"]} if "control_mode" in facts else {},
        )

    def _has_steps(self, name: str) -> bool:
        """Whether a trajectory has a step; one without actions is refused where it is read."""
        actions = f"{name}/{ACTIONS}"
        return actions not in self._file or self._file.length(actions) > 0

    def _choose(self, names: list[str]) -> Taken:
        """The camera and vectors to take; keys are paths below `obs`, or of the simulator's states."""
        found = {name: self._arrays(name) for name in names}
        states = {name: self._file.arrays(f"{name}/{STATES}") for name in names}
        held: dict[str, dict[str, Array]] = {}
        for name in names:
            cameras = {key: value for key, value in found[name].items() if not key.startswith(PARAMETERS)}
            simulated = {f"{STATES}/{key}": value for key, value in states[name].items()}
            named = {key: simulated[key] for key in self._choice.proprio if key in simulated}
            held[name] = {**cameras, **named}
        every = Held(self.path, held, label=_label, unit="trajectories")
        named_any = any(key.startswith(f"{STATES}/") for key in every.arrays)
        if not any(found.values()) and not named_any:
            keys = dict.fromkeys(f"{STATES}/{key}" for one in states.values() for key in one)
            have = f"; it has {', '.join(keys)}" if keys else ""
            rule = f"holds no observations, only what the simulator needs to replay it{have}"
            raise DataError(Problem(self.path, f"{names[0]}/{OBSERVATIONS}", rule, REPLAY))
        declared = {key: Declared(KINDS[key.split("/")[-1]], "last") for key in every.arrays if _shown(key)}
        parameters = any(key.startswith(PARAMETERS) for one in found.values() for key in one)
        for name, there in {PARAMETERS: parameters, STATES: any(states.values())}.items():
            if there and not named_any:
                self._notes.append(f"not taken: {name}/...")
        return Taken(self.path, self._choice, every, declared)

    def _arrays(self, name: str) -> dict[str, Array]:
        """Type and shape of the observations of a trajectory; obs_mode state has one vector alone."""
        arrays = self._file.arrays(f"{name}/{OBSERVATIONS}")
        if arrays or f"{name}/{OBSERVATIONS}" not in self._file:
            return arrays
        alone = self._file.arrays(name)
        return {OBSERVATIONS: alone[OBSERVATIONS]} if OBSERVATIONS in alone else {}

    def _observed(self, name: str, key: str, steps: int) -> np.ndarray:
        """An observation (T + 1, ...)."""
        field = f"{name}/{_label(key)}"
        rows = self._file.read(field)
        if len(rows) != steps + 1:
            rule = f"must have one row before, between and after {steps} actions, found {len(rows)}"
            raise DataError(Problem(self.path, field, rule, ANOTHER))
        return rows

    def _flags(self, held: Mapping[str, list[str]]) -> str | None:
        """Name of the array that marks success, if one does; `held` are the names in every trajectory.

        Raises:
            UsageError: no trajectory has the chosen one.
            DataError: some trajectories have it, others lack it.
        """
        key = self._choice.success
        if key is None or ">" in key:
            return None
        lacking = [name for name, names in held.items() if key not in names]
        if not lacking:
            return str(key)
        if len(lacking) < len(held):
            rule = (
                f"has no '{key}' that marks success, {next(name for name in held if name not in lacking)} has"
            )
            remedy = f"replay all of them alike with mani_skill.trajectory.replay_trajectory, or {OTHER_MARK}"
            raise DataError(Problem(self.path, lacking[0], rule, remedy))
        if key is UNASKED:
            said = sum(one.get("success") is True for one in self._beside.values())
            also = f", though its JSON file calls {said} of them successes" if said else ""
            self._notes.append(f"no trajectory has an array of success{also}: none counts as one")
            return None
        have = ", ".join(held[lacking[0]])
        what = f"{lacking[0]} has no array '{key}' that marks success; it has: {have}"
        raise UsageError(what, where=self.path, remedy=OTHER_MARK)

    def _steps(self, name: str, key: str) -> np.ndarray | None:
        """One number a step (T,), if the trajectory has them."""
        field = f"{name}/{key}"
        return self._file.read(field).reshape(-1) if field in self._file else None

    def _ends(self, name: str, key: str) -> bool:
        """The flag of the last step; trajectories recorded without regard to ends have more of them."""
        flags = self._steps(name, key)
        flags = None if flags is None else as_flags(self.path, f"{name}/{key}", flags)
        if flags is not None and flags[:-1].any():
            self._going_on.add(name)
        return flags is not None and bool(flags[-1])

    def _read_beside(self) -> Mapping[str, Mapping[str, Any]]:
        """What the JSON file says of every trajectory, by its name."""
        beside = self.path.with_suffix(".json")
        self._told: Mapping[str, Any] = {}
        if not beside.exists():
            self._notes.append(
                f"there is no {beside.name} beside it: task, control mode and seeds are unknown"
            )
            return {}
        try:
            self._told = read_json(beside, "the description of ManiSkill trajectories")
            episodes = {f"traj_{one['episode_id']}": one for one in self._told["episodes"]}
            assert all(isinstance(one, dict) for one in episodes.values())
        except CogError as error:
            raise DataError(Problem(beside, "", error.what, ANOTHER)) from error
        except (KeyError, TypeError) as error:
            rule = "must list the episodes with their 'episode_id'"
            raise DataError(Problem(beside, "episodes", rule, ANOTHER)) from error
        self.files = [self.path, beside]
        unknown = [name for name in self._names if name not in episodes]
        if unknown:
            self._notes.append(f"{len(unknown)} trajectories are not in {beside.name} ({some(unknown)})")
        lacking = [name for name in episodes if name not in self._names]
        if lacking:
            self._notes.append(
                f"{beside.name} lists {len(lacking)} trajectories that the file lacks ({some(lacking)})"
            )
        return episodes

    def _describe(self) -> dict[str, Any]:
        """Facts of the environment."""
        found = self._told.get("env_info")
        facts = found if isinstance(found, dict) else {}
        modes = sorted({str(one["control_mode"]) for one in self._beside.values() if "control_mode" in one})
        kept: dict[str, Any] = {"id": str(facts.get("env_id", "unknown"))}
        if "env_kwargs" in facts:
            kept["env_kwargs"] = facts["env_kwargs"]
        if len(modes) == 1:
            kept["control_mode"] = modes[0]
        elif modes:
            self._notes.append(f"episodes were recorded in several control modes: {', '.join(modes)}")
        try:
            json.dumps(kept, allow_nan=False)
        except ValueError:
            del kept["env_kwargs"]
        return kept


def _label(key: str) -> str:
    """Path of an observation within its trajectory."""
    alone = key == OBSERVATIONS or key.startswith(f"{STATES}/")
    return key if alone else f"{OBSERVATIONS}/{key}"


def _shown(key: str) -> bool:
    """Whether a key is a camera's picture of one of the known kinds."""
    return key.startswith("sensor_data/") and key.split("/")[-1] in KINDS


def _seed(facts: Mapping[str, Any]) -> int:
    """The episode's seed, which stands in one of two places."""
    reset = facts.get("reset_kwargs")
    for value in (facts.get("episode_seed"), reset.get("seed") if isinstance(reset, dict) else None):
        one = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63:
            return one
    return 0
