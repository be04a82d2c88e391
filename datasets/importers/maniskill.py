"""ManiSkill 3 trajectories as a source: an HDF5 file with groups `traj_N`, and the JSON file beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cog.core.files import read_json
from cog.datasets.importers.foreign.hdf5 import ANOTHER, ForeignFile
from cog.datasets.importers.foreign.observed import Taken, as_columns
from cog.datasets.importers.pictures import Declared
from cog.datasets.importers.source import ObservationOptions, Recording
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


@dataclass(frozen=True)
class ManiSkillOptions(ObservationOptions):
    """What to take from ManiSkill trajectories."""

    format: ClassVar[str] = "maniskill"

    success: str | None = SUCCESS
    """What marks success: reward>NUMBER, or the name of an array of flags. Default: ManiSkill's own."""

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
            self._beside = self._read_beside()
            self.environment = self._describe()
            first = self._names[0]
            self._taken = self._choose(first)
            self.environment |= self._taken.robot
            self._success = self._flags(first)
            arrays = [name for name in self._file.names(first) if name not in (OBSERVATIONS, STATES)]
            extra = sorted(set(arrays) - TAKEN - {str(self._success)})
            if extra:
                self._notes.append(f"arrays not taken: {', '.join(extra)}")

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
                f"{len(self._going_on)} trajectories go on after a step that is flagged as terminated; only "
                "the flag of their last step counts as their end"
            )
        return notes

    def actions(self, episode: int) -> np.ndarray:
        return as_columns(self._file.read(f"{self._names[episode]}/{ACTIONS}"))

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
        return Recording(
            name=name,
            actions=actions,
            closed=True,
            images=self._taken.pictures(observed),
            vectors=self._taken.joined(observed),
            rewards=self._steps(name, REWARDS),
            success=None if self._success is None else self._steps(name, self._success),
            terminated=self._ends(name, TERMINATED),
            truncated=self._ends(name, TRUNCATED),
            seed=_seed(facts),
            options={"control_mode": facts["control_mode"]} if "control_mode" in facts else {},
        )

    def _choose(self, first: str) -> Taken:
        """The camera and vectors to take; keys are paths below `obs`, or of the simulator's states."""
        arrays = self._file.arrays(f"{first}/{OBSERVATIONS}")
        if not arrays and OBSERVATIONS in self._file.arrays(first):
            arrays = {OBSERVATIONS: self._file.arrays(first)[OBSERVATIONS]}  # one vector, from obs_mode state
        states = {f"{STATES}/{key}": value for key, value in self._file.arrays(f"{first}/{STATES}").items()}
        named = {key: states[key] for key in self._choice.proprio if key in states}
        if not arrays and not named:
            have = f"; it has {', '.join(states)}" if states else ""
            rule = f"holds no observations, only what the simulator needs to replay it{have}"
            raise DataError(Problem(self.path, f"{first}/{OBSERVATIONS}", rule, REPLAY))
        cameras = {key: value for key, value in arrays.items() if not key.startswith(PARAMETERS)}
        declared = {key: Declared(KINDS[key.split("/")[-1]], "last") for key in cameras if _shown(key)}
        for name in (PARAMETERS, *({STATES} if states else ())):
            if any(key.startswith(name) for key in (*arrays, *states)) and not named:
                self._notes.append(f"not taken: {name}/...")
        return Taken(self.path, self._choice, {**cameras, **named}, declared)

    def _observed(self, name: str, key: str, steps: int) -> np.ndarray:
        """An observation (T + 1, ...)."""
        alone = key == OBSERVATIONS or key.startswith(f"{STATES}/")
        field = f"{name}/{key}" if alone else f"{name}/{OBSERVATIONS}/{key}"
        rows = self._file.read(field)
        if len(rows) != steps + 1:
            rule = f"must have one row before, between and after {steps} actions, found {len(rows)}"
            raise DataError(Problem(self.path, field, rule, ANOTHER))
        return rows

    def _flags(self, first: str) -> str | None:
        """Name of the array that marks success, if one does."""
        key = self._choice.success
        if key is None or ">" in key:
            return None
        arrays = self._file.arrays(first)
        if key in arrays:
            return key
        if key == SUCCESS:
            self._notes.append("the task defines no success")
            return None
        what = (
            f"{first} has no array '{key}' that marks success; it has: {', '.join(self._file.names(first))}"
        )
        raise UsageError(what, where=self.path)

    def _steps(self, name: str, key: str) -> np.ndarray | None:
        """One number a step (T,), if the trajectory has them."""
        field = f"{name}/{key}"
        return self._file.read(field).reshape(-1) if field in self._file else None

    def _ends(self, name: str, key: str) -> bool:
        """The flag of the last step; trajectories recorded without regard to ends have more of them."""
        flags = self._steps(name, key)
        if key == TERMINATED and flags is not None and flags[:-1].any():
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
