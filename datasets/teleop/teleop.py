"""Teleoperation: a person demonstrates with the keyboard, and every saved episode is a shard of a dataset.

The scene stands still while no key is pressed, so thinking costs no steps; pressed keys act at the
environment's rate, or slower if drawing takes longer. An episode is on disk, and the folder a complete
dataset, before the next one begins. The initial state of episode i depends only on (seed, i), however often
it is restarted, and its recorded actions repeat the same frames from its recorded seed.
"""

import time
from collections.abc import Callable, Sequence, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cog.core.files import hash_json
from cog.datasets.collection.recorder import Recorder
from cog.datasets.collection.rollout import describe_environment
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.episode import Episode
from cog.datasets.storage.claim import claimed
from cog.datasets.storage.dataset import Dataset, shard_name
from cog.datasets.storage.growing import GrowingDataset
from cog.datasets.storage.shard import read_shard
from cog.datasets.teleop.keyboard import (
    ACTION_SIZE,
    DISCARD,
    MOVES,
    QUIT,
    RETURN,
    SAVE,
    TOGGLE,
    action_of,
    check_speed,
    help_lines,
    is_open,
)
from cog.envs.contract import draws_pictures, number, try_out
from cog.envs.make import make_environment
from cog.errors import UsageError
from cog.signals.pictures import OBSERVED

BEHAVIOUR = BehaviourChoice("teleop")
STEPS_PER_SECOND = 24  # if the environment names no rate


class FrontEnd(Protocol):
    """A screen and a keyboard."""

    def show(self, picture: np.ndarray, text: str, further: Sequence[np.ndarray]) -> None:
        """Show a picture (H, W, 3) uint8 and lines of text, replacing the previous ones.

        Where there is room, also what `further` cameras see, (h, w, 3 or 1) uint8 each.
        """

    def keys(self, seconds: float) -> Set[str]:
        """Wait, then return the keys that are down or were pressed since the last call."""


def teleoperate(
    spec: CollectionSpec,
    out: Path,
    front_end: Callable[[], AbstractContextManager[FrontEnd]],
    *,
    speed: float = 0.5,
    append: bool = False,
) -> Dataset | None:
    """Let a person demonstrate until the folder holds `spec.episodes` episodes, or they quit.

    Args:
        spec: scene, starts and seed; its behaviours, noise and `keep` are ignored.
        out: folder of the dataset; new, empty, or begun with the same scene, starts and seed.
        front_end: opens the screen and the keyboard.
        speed: magnitude in (0, 1] of an action component while its key is pressed.
        append: whether to add `spec.episodes` to those in the folder.

    Returns:
        The dataset, or None if no episode has been saved.

    Raises:
        UsageError: the environment or a start does not exist, or the speed is out of range.
        CogError: the folder holds something else or the disk is full; episodes saved before stay.
    """
    check_speed(speed)
    env = make_environment(spec.scene(), "rgb_array")
    try:
        facts = describe_environment(env, spec)
        _check_scene(env, spec)
        with front_end() as screen, claimed(out, origin(spec), facts):
            dataset = GrowingDataset(out, origin(spec), facts)
            _recover(dataset)
            total = spec.episodes + (len(dataset) if append else 0)
            note = f"{len(dataset)} saved before" if len(dataset) else ""
            while (number := len(dataset)) < total:
                title = f"episode {number + 1} of {total}"
                episode = _Demonstration(env, spec, number, screen, speed, title).run(note)
                if episode is None:
                    break
                dataset.append([episode])
                outcome = "success" if episode.success else "no success"
                note = f"saved episode {number + 1} ({outcome})"
            return dataset.dataset
    finally:
        env.close()


def origin(spec: CollectionSpec) -> dict[str, Any]:
    """The origin of demonstrations for the manifest: a person acts, so the spec does not determine them."""
    scene = spec.to_json()
    for name in ("episodes", "episodes_per_shard", "behaviours", "noise", "keep"):
        del scene[name]
    return {"kind": "teleoperation", "acted_by": "a person at the keyboard", **scene}


class _Demonstration:
    """One episode at the keyboard, which the person may restart any number of times."""

    def __init__(
        self, env: Any, spec: CollectionSpec, number: int, screen: FrontEnd, speed: float, title: str
    ) -> None:
        self.env, self.screen, self.speed = env, screen, speed
        self.seed, self.start = spec.episode_seed(number, 0), spec.plan(number).start
        self.horizon = spec.max_episode_steps
        self.title = f"{title}, start {self.start}"
        self.period = 1 / _rate(env.metadata.get("render_fps"))
        self._restart()

    def run(self, note: str) -> Episode | None:
        """The saved episode, or None if the person quits; `note` is shown until the first key."""
        previous: Set[str] = frozenset()
        self._show(note)
        tick = time.monotonic()
        while True:
            keys = self.screen.keys(max(0.0, tick + self.period - time.monotonic()))
            tick = time.monotonic()
            pressed, previous = keys - previous, keys
            if QUIT in pressed:
                return None
            if DISCARD in pressed:
                self._restart()
                self._show("started again")
            elif SAVE in pressed and len(self.recorder):
                return self.recorder.episode(BEHAVIOUR.name, {"speed": self.speed}, noise=0.0)
            elif not self.recorder.over and self._act(keys, toggled=TOGGLE in pressed):
                self._show(self._advice())

    def _restart(self) -> None:
        """Reset to the initial state of this episode."""
        self.recorder = Recorder(self.env, self.seed, self.start)
        observation = self.recorder.observation
        self.gripper_open = is_open(observation["proprio" if "proprio" in observation else "state"])

    def _act(self, keys: Set[str], toggled: bool) -> bool:
        """Take the step of the keys; return whether there was one."""
        if toggled:
            self.gripper_open = not self.gripper_open
        elif not keys & {*MOVES, RETURN}:
            return False
        self.recorder.step(action_of(keys, self.gripper_open, self.speed))
        return True

    def _advice(self) -> str:
        if not self.recorder.over:
            return ""
        ended = "success" if self.recorder.success else "ended without success"
        return f"{ended}: {SAVE} or {DISCARD}?"

    def _show(self, note: str) -> None:
        recorder = self.recorder
        lines = [
            self.title,
            f"step {len(recorder)} of {self.horizon}, gripper {'open' if self.gripper_open else 'closed'}",
            f"success {'yes' if recorder.success else 'no'}",
            note,
            "",
            *help_lines(),
            "",
            *(f"{name:<25}{value:6.2f}" for name, value in recorder.signals[-1].items()),
        ]
        further = [seen for name, seen in recorder.observation.items() if name not in OBSERVED]
        self.screen.show(self.env.render(), "\n".join(lines), further)


def _rate(named: Any) -> float:
    """Steps a second: those that the environment names, if they are such a number."""
    rate = number(named)
    return rate if rate is not None and rate > 0 else STEPS_PER_SECOND


def _check_scene(env: Any, spec: CollectionSpec) -> None:
    """Refuse a scene with other actions than the keys give, or without pictures.

    Raises:
        UsageError: it is such a scene.
    """
    if env.action_space.shape != (ACTION_SIZE,):
        raise UsageError(
            f"the keys give actions of shape ({ACTION_SIZE},); {spec.env} takes {env.action_space.shape}"
        )
    try_out(env, spec.env)
    if not draws_pictures(env):
        raise UsageError(f"{spec.env}: render() must give a picture (H, W, 3)")


def _recover(dataset: GrowingDataset) -> None:
    """Add to the manifest an episode that was written just before the process was killed."""
    while (path := dataset.folder / shard_name(len(dataset))).exists():
        dataset.append(read_shard(path, spec_hash=hash_json(dataset.spec), index=len(dataset)))
