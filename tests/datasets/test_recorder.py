"""A recorder shows and keeps what the environment showed, and no more than it is asked to."""

import gymnasium
import numpy as np
import pytest

from cog.datasets.collection.recorder import Recorder
from tests.helpers.toy_scene import Line


class Reused(Line):
    """A scene that fills the same arrays and the same action again, and pays 0.25 a step."""

    def _see(self):
        observation, info = super()._see()
        kept = self.__dict__.setdefault("kept", {name: value.copy() for name, value in observation.items()})
        for name, value in observation.items():
            kept[name][:] = value
        signals = self.__dict__.setdefault("values", {})
        signals.update(info["signals"])
        return kept, {**info, "signals": signals}

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        action[:] = 9.0
        return observation, 0.25, terminated, truncated, info


def recorded(actions, **options):
    """A recorder of the scene from `left` after these first components of actions."""
    recorder = Recorder(gymnasium.make("toy/Line-v0", disable_env_checker=True).unwrapped, 3, "left")
    reused = Recorder(Reused(terminate_on_success=False), 3, "left", **options)
    for number in actions:
        recorder.step(np.full(8, number, np.float32))
        reused.step(np.full(8, number, np.float32))
    return recorder, reused


def test_frames_signals_and_actions_are_copies():
    plain, reused = (recorder.episode("made", {}, 0.0) for recorder in recorded([0.5, -0.2, 0.7]))
    for name in ("images", "proprio", "actions"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(reused, name))
    np.testing.assert_array_equal(plain.signals["place"], reused.signals["place"])
    assert len(np.unique(plain.signals["place"])) == 4 and plain.signals["place"].dtype == np.float32


class Watched(Reused):
    """The scene with a second camera, in grey."""

    def _see(self):
        observation, info = super()._see()
        self.grey = self.__dict__.get("grey", np.zeros((4, 6, 1), np.uint8))
        self.grey[:] = int(200 * self.place)
        return {**observation, "wrist": self.grey}, info


def test_what_further_cameras_see_is_kept_by_their_names_as_copies():
    recorder = Recorder(Watched(terminate_on_success=False), 3, "left")
    for _ in range(3):
        recorder.step(np.full(8, 0.5, np.float32))
    episode = recorder.episode("made", {}, 0.0)
    assert list(episode.pictures()) == ["image", "wrist"] and episode.cameras["wrist"].shape == (4, 4, 6, 1)
    shown = np.floor(200 * recorder.signal_values()["place"])
    np.testing.assert_array_equal(episode.cameras["wrist"][:, 0, 0, 0], shown)
    assert len(np.unique(shown)) == 4


def test_success_is_that_of_the_last_frame_and_succeeded_that_of_any():
    _, recorder = recorded([1.0] * 5)
    assert recorder.success and recorder.succeeded
    _, recorder = recorded([1.0] * 5 + [-1.0])
    assert not recorder.success and recorder.succeeded
    _, recorder = recorded([0.1])
    assert not recorder.succeeded and not recorder.over


def test_rewards_of_the_environment_add_up_and_signals_have_one_frame_more_than_steps():
    _, recorder = recorded([0.1, 0.1, 0.1])
    assert recorder.total == 0.75 and len(recorder) == 3
    values = recorder.signal_values()["place"]
    assert values.shape == (4,) and values.dtype == np.float64
    np.testing.assert_allclose(np.diff(values), 0.02, atol=1e-7)


def test_a_recorder_that_keeps_no_observations_has_the_last_one_and_makes_no_episode():
    kept, last = recorded([0.5, 0.5], keep_observations=False)
    np.testing.assert_array_equal(kept.observation["image"], last.observation["image"])
    with pytest.raises(ValueError, match="does not keep observations"):
        last.episode("made", {}, 0.0)
    images = [value for value in vars(last).values() if isinstance(value, list) and value]
    assert not any(isinstance(entry, dict) and "image" in entry for entries in images for entry in entries)
