"""Demonstrations by keyboard: every key does what the screen says, every saved episode stays, all replay."""

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from cog.datasets.collection.spec import CollectionSpec
from cog.datasets.load import load
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from cog.datasets.teleop.keyboard import KEYS, MOVES, action_of, help_lines
from cog.datasets.teleop.teleop import teleoperate
from cog.envs.make import make_environment
from cog.errors import CogError, UsageError
from tests.helpers.toy_scene import Line

DRAWER = CollectionSpec(episodes=1, max_episode_steps=100, seed=5, env_options={"render_size": 16})
LINE = CollectionSpec(
    episodes=2,
    env="tests.helpers.toy_scene:toy/Line-v0",
    starts=("left",),
    image_size=16,
    max_episode_steps=8,
)
TO_THE_END = [{"s"}] * 5  # from the left at full speed


class Script:
    """A front end whose keys are written down beforehand; it quits at their end."""

    def __init__(self, keys):
        self.left = [frozenset(entry) for entry in keys]
        self.screens = []
        self.waits = []

    def show(self, picture, text, further):
        self.further = further
        self.screens.append((picture.copy(), text))

    def keys(self, seconds):
        self.waits.append(seconds)
        return self.left.pop(0) if self.left else frozenset({"Q"})


def demonstrate(spec, out, keys, **options):
    """Run a script of keys; the dataset and the front end."""
    script = Script(keys)
    options = {"speed": 1.0, **options}
    return teleoperate(spec, out, lambda: contextlib.nullcontext(script), **options), script


# --- Keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys, expected",
    [
        ({"w"}, [-0.5, 0, 0, 0, 0, 0, 0.7, -0.7]),
        ({"s"}, [0.5, 0, 0, 0, 0, 0, 0.7, -0.7]),
        ({"a"}, [0, -0.5, 0, 0, 0, 0, 0.7, -0.7]),
        ({"d"}, [0, 0.5, 0, 0, 0, 0, 0.7, -0.7]),
        ({"r"}, [0, 0, 0.5, 0, 0, 0, 0.7, -0.7]),
        ({"f"}, [0, 0, -0.5, 0, 0, 0, 0.7, -0.7]),
        ({"u"}, [0, 0, 0, -0.5, 0, 0, 0.7, -0.7]),
        ({"o"}, [0, 0, 0, 0.5, 0, 0, 0.7, -0.7]),
        ({"i"}, [0, 0, 0, 0, 0.5, 0, 0.7, -0.7]),
        ({"k"}, [0, 0, 0, 0, -0.5, 0, 0.7, -0.7]),
        ({"j"}, [0, 0, 0, 0, 0, 0.5, 0.7, -0.7]),
        ({"l"}, [0, 0, 0, 0, 0, -0.5, 0.7, -0.7]),
        ({"n"}, [0, 0, 0, 0, 0, 0, 0.7, 0.7]),
        ({"w", "d", "r"}, [-0.5, 0.5, 0.5, 0, 0, 0, 0.7, -0.7]),
        ({"w", "s", "Q", "enter", "space", "?"}, [0, 0, 0, 0, 0, 0, 0.7, -0.7]),
    ],
)
def test_keys_give_the_action_of_the_table(keys, expected):
    action = action_of(keys, gripper_open=True, speed=0.5)
    assert action.dtype == np.float32
    np.testing.assert_array_equal(action, np.array(expected, np.float32))
    expected[6] = -0.7
    np.testing.assert_array_equal(action_of(keys, False, 0.5), np.array(expected, np.float32))


def test_no_keys_leave_the_range_of_an_action():
    assert np.abs(action_of(KEYS, True, 1.0)).max() <= 1
    for key in KEYS:
        assert np.abs(action_of({key}, False, 1.0)).max() <= 1


def test_every_key_is_on_the_screen():
    shown = {word for line in help_lines() for word in line.split()}
    assert shown >= KEYS


def test_the_pictures_directions_are_those_of_the_keys():
    """Where the gripper's tip moves in the image, by the camera's own matrices."""
    env = make_environment(replace(DRAWER, observation="state").scene())
    env.reset(seed=0)
    camera, api = env.unwrapped.camera, env.unwrapped._client.api
    view = np.array(api.computeViewMatrix(camera.eye, camera.target, (0, 0, 1))).reshape(4, 4).T
    for key, axis, sign in (("d", 0, 1), ("a", 0, -1), ("r", 1, 1), ("f", 1, -1), ("s", 2, 1), ("w", 2, -1)):
        move = view[:3, :3] @ action_of({key}, True, 1.0)[:3]  # right, up, towards the eye
        assert move[axis] * sign > 0.5, MOVES[key]
    env.close()


# --- Demonstrations -------------------------------------------------------------------------------


def someone_grasps(spec, number):
    """Keys that lift the object, found by looking into the simulator, and the frames they lead through."""
    env = make_environment(spec.scene())
    observation, _ = env.reset(seed=spec.episode_seed(number, 0), options={"start": "open"})
    keys, frames, success = [], [observation["image"]], False

    def press(held, gripper_open):
        nonlocal success
        assert len(keys) < spec.max_episode_steps, "this test's own hand is too clumsy"
        observation, _, success, _, _ = env.step(action_of(held, gripper_open, 0.4))
        keys.append(held)
        frames.append(observation["image"])

    def missing(height):
        return env.unwrapped.object_position() + np.array([0, 0, height]) - env.unwrapped.gripper_position()

    for height in (0.13, 0.006):
        while np.abs(missing(height)).max() > 0.015:
            ways = zip("sdr", "waf", missing(height), strict=True)
            press({plus if way > 0 else minus for plus, minus, way in ways if abs(way) > 0.012}, True)
    press({"space"}, False)
    while not success:
        press({"r"}, False)
    env.close()
    return keys, np.stack(frames)


def test_a_demonstration_is_saved_verified_relabelled_merged_and_replays_bit_for_bit(tmp_path):
    keys, frames = someone_grasps(DRAWER, 0)
    dataset, script = demonstrate(DRAWER, tmp_path / "mine", [*keys, {"enter"}], speed=0.4)
    (episode,) = dataset.episodes()
    assert (episode.behaviour, episode.start, episode.noise) == ("teleop", "open", 0.0)
    assert episode.options == {"speed": 0.4} and episode.seed == DRAWER.episode_seed(0, 0)
    assert episode.success and episode.terminated and not episode.truncated
    assert "success: enter or backspace?" in script.screens[-1][1]
    np.testing.assert_array_equal(episode.images, frames)

    env = make_environment(DRAWER.scene())
    observation, info = env.reset(seed=episode.seed, options={"start": episode.start})
    for t, action in enumerate(episode.actions):
        np.testing.assert_array_equal(observation["image"], episode.images[t])
        np.testing.assert_array_equal(observation["proprio"], episode.proprio[t])
        observation, _, _, _, info = env.step(action)
    np.testing.assert_array_equal(observation["image"], episode.images[-1])
    assert np.float32(info["signals"]["object_height"]) == episode.signals["object_height"][-1] > 0.1
    env.close()

    assert verify(tmp_path / "mine") == []
    relabel(tmp_path / "mine", "grasp_success", "success", scale=10)
    merge = write_merge(tmp_path / "merge.json", [f"{tmp_path}/mine@success"])
    transitions = load(merge)
    np.testing.assert_array_equal(transitions.rewards, [0] * (len(keys) - 1) + [10])
    np.testing.assert_array_equal(transitions.frames, frames)
    assert verify(tmp_path / "merge.json") == [] and verify(tmp_path / "mine") == []


def test_the_manifest_says_that_a_person_acted(tmp_path):
    dataset, _ = demonstrate(LINE, tmp_path / "mine", [*TO_THE_END, {"enter"}])
    manifest = json.loads((tmp_path / "mine/manifest.json").read_text())
    assert manifest["spec"]["kind"] == "teleoperation" and "person" in manifest["spec"]["acted_by"]
    assert not {"behaviours", "noise", "episodes"} & manifest["spec"].keys()
    assert manifest["environment"]["id"] == LINE.env and dataset.success_count == 1


def test_the_scene_stands_still_while_no_key_is_held(tmp_path):
    keys = [set(), {"s"}, set(), {"s"}, {"s"}, set(), {"w", "s"}, {"enter"}]
    dataset, script = demonstrate(LINE, tmp_path / "mine", keys, speed=0.25)
    (episode,) = dataset.episodes()
    np.testing.assert_array_equal(episode.actions[:, 0], np.float32([0.25, 0.25, 0.25, 0]))
    assert all(0 <= wait <= 0.1 for wait in script.waits)  # the scene shows 10 frames a second
    assert max(script.waits) > 0.05
    assert [f"step {step} of 8" in text for step, (_, text) in enumerate(script.screens[:5])] == [True] * 5


def test_a_held_toggle_switches_once_and_the_gripper_stays_as_it_was_told(tmp_path):
    keys = [{"a"}, {"space"}, {"space"}, {"space", "a"}, {"a"}, {"space"}, {"a"}, {"n"}, {"enter"}]
    dataset, script = demonstrate(replace(LINE, starts=("middle",)), tmp_path / "mine", keys)
    (episode,) = dataset.episodes()
    np.testing.assert_array_equal(episode.actions[:, 6], np.float32([0.7, -0.7, -0.7, -0.7, 0.7, 0.7, 0.7]))
    np.testing.assert_array_equal(episode.actions[:, 7], np.float32([-0.7] * 6 + [0.7]))
    assert "gripper closed" in script.screens[2][1] and "gripper open" in script.screens[-2][1]


def test_a_gripper_that_starts_closed_stays_closed(tmp_path):
    spec = replace(DRAWER, env="cog/PickPlace-v0", starts=("held",))
    dataset, _ = demonstrate(spec, tmp_path / "mine", [{"r"}, {"r"}, {"space"}, {"enter"}])
    (episode,) = dataset.episodes()
    np.testing.assert_array_equal(episode.actions[:, 6], np.float32([-0.7, -0.7, 0.7]))


def test_a_discarded_episode_starts_again_from_the_same_state_and_leaves_nothing(tmp_path):
    keys = [{"s"}, {"s"}, {"space"}, {"backspace"}, {"s"}, {"enter"}]
    dataset, script = demonstrate(LINE, tmp_path / "mine", keys, speed=0.5)
    (episode,) = dataset.episodes()
    assert len(episode) == 1 and episode.actions[0, 6] > 0.5
    again = next(screen for screen in script.screens if "started again" in screen[1])
    np.testing.assert_array_equal(again[0], script.screens[0][0])
    assert "step 0 of 8, gripper open" in again[1]


def test_an_empty_episode_is_not_saved_and_an_ended_one_takes_no_more_steps(tmp_path):
    keys = [{"enter"}, *TO_THE_END, {"w"}, {"w"}, {"enter"}, *[{"w"}] * 12, {"enter"}]
    dataset, script = demonstrate(LINE, tmp_path / "mine", keys)
    reached, lost = dataset.episodes()
    assert reached.success and reached.terminated and reached.signals["place"][-1] > 0.9
    assert (len(lost), lost.success, lost.terminated, lost.truncated) == (8, False, False, True)
    assert any("ended without success" in text for _, text in script.screens)


def test_quitting_before_anything_is_saved_leaves_no_dataset_and_the_folder_usable(tmp_path):
    assert demonstrate(LINE, tmp_path / "mine", [{"s"}, {"Q"}])[0] is None
    with pytest.raises(CogError, match="unfinished"):
        open_dataset(tmp_path / "mine")
    assert demonstrate(LINE, tmp_path / "mine", [{"s"}, {"enter"}])[0].episode_count == 1


def test_the_same_command_continues_and_append_adds(tmp_path):
    one = [{"s"}, {"enter"}]
    assert demonstrate(LINE, tmp_path / "mine", one)[0].episode_count == 1
    dataset, script = demonstrate(LINE, tmp_path / "mine", one * 3)
    assert "1 saved before" in script.screens[0][1] and "episode 2 of 2" in script.screens[0][1]
    assert dataset.episode_count == 2 and len(script.left) == 4
    again, script = demonstrate(LINE, tmp_path / "mine", one)
    assert again.hash == dataset.hash and script.screens == []
    dataset, _ = demonstrate(LINE, tmp_path / "mine", one * 3, append=True, speed=0.5)
    assert [episode.seed for episode in dataset.episodes()] == [LINE.episode_seed(i, 0) for i in range(4)]
    assert [episode.options["speed"] for episode in dataset.episodes()] == [1.0, 1.0, 0.5, 0.5]
    assert verify(tmp_path / "mine") == []


def test_other_settings_and_other_folders_are_refused_untouched(tmp_path, make_dataset, frozen):
    demonstrate(LINE, tmp_path / "mine", [{"s"}, {"enter"}])
    before = frozen(tmp_path / "mine")
    for change, named in (({"seed": 1}, "seed 0"), ({"starts": ("middle",)}, r"starts \['left'\]")):
        with pytest.raises(CogError, match=f"holds another collection, with {named}"):
            demonstrate(replace(LINE, **change), tmp_path / "mine", [{"s"}, {"enter"}])
    assert frozen(tmp_path / "mine") == before
    other = make_dataset("other").path
    before = frozen(other)
    with pytest.raises(CogError, match="nothing was written"):
        demonstrate(LINE, other, [{"s"}, {"enter"}])
    assert frozen(other) == before


def test_two_people_never_share_a_folder(tmp_path):
    class Second(Script):
        def keys(self, seconds):
            with pytest.raises(CogError, match="another process"):
                demonstrate(LINE, tmp_path / "mine", [])
            return {"Q"}

    assert teleoperate(LINE, tmp_path / "mine", lambda: contextlib.nullcontext(Second([]))) is None


def test_an_interrupted_episode_costs_no_saved_one(tmp_path):
    class Interrupted(Script):
        def keys(self, seconds):
            if not self.left:
                raise KeyboardInterrupt
            return super().keys(seconds)

    script = Interrupted([{"s"}, {"enter"}, {"s"}])
    with pytest.raises(KeyboardInterrupt):
        teleoperate(LINE, tmp_path / "mine", lambda: contextlib.nullcontext(script))
    assert open_dataset(tmp_path / "mine").episode_count == 1 and verify(tmp_path / "mine") == []


KILLED = """
import os, signal, sys
import cog.core.files
left = [int(sys.argv[2])]
real = os.fsync
def fsync(descriptor):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)
os.fsync = fsync
from pathlib import Path
from tests.datasets.test_teleop import LINE, demonstrate
demonstrate(LINE, Path(sys.argv[1]), [{"s"}, {"enter"}] * 2)
"""


@pytest.mark.parametrize("writes, saved", [(6, 0), (7, 1), (10, 1), (11, 2)])
def test_a_kill_at_a_write_leaves_every_whole_episode_and_a_sound_dataset(writes, saved, tmp_path):
    """Lock, header, shard, manifest, shard, manifest: the file is pushed to the disk, then its folder.

    The folders of dataset and shards are as well when they are made. After an odd number of these writes the
    shard has got its name, so the episode is whole.
    """
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "mine"), str(writes)], check=False)
    assert run.returncode == -signal.SIGKILL
    dataset, script = demonstrate(LINE, tmp_path / "mine", [])
    assert (0 if dataset is None else dataset.episode_count) == saved
    assert not script.screens or f"episode {saved + 1} of 2" in script.screens[0][1]
    dataset, _ = demonstrate(LINE, tmp_path / "mine", [{"s"}, {"enter"}] * 2)
    assert dataset.episode_count == 2 and verify(tmp_path / "mine") == []
    assert not list((tmp_path / "mine").rglob("*.partial"))


class Narrow(Line):
    """A scene that takes other actions."""

    def __init__(self, **options):
        super().__init__(**options)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)


class Dark(Line):
    """A scene without a picture for people."""

    def render(self):
        return None


for scene in (Narrow, Dark):
    gymnasium.register(f"toy/{scene.__name__}-v0", entry_point=scene)


@pytest.mark.filterwarnings("ignore:.*RGB-array rendering")
@pytest.mark.parametrize(
    "change, speed, message",
    [
        ({"env": "cog/Nowhere-v0"}, 1.0, "cannot be built"),
        ({"starts": ("right",)}, 1.0, "has no start 'right'.* left, middle"),
        ({"env": "toy/Narrow-v0"}, 1.0, r"shape \(8,\); toy/Narrow-v0 takes \(2,\)"),
        ({"env": "toy/Dark-v0"}, 1.0, r"render\(\) must give a picture"),
        ({}, 0.0, "speed must lie in"),
        ({}, 1.5, "speed must lie in"),
        ({}, float("nan"), "speed must lie in"),
    ],
)
def test_what_cannot_be_demonstrated_is_refused_before_anything_is_written(change, speed, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        demonstrate(replace(LINE, **change), tmp_path / "mine", [], speed=speed)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda seen, info: seen.update(image=seen["image"] / 255), "image must be uint8"),
        (lambda seen, info: seen.update(proprio=np.full(1, np.nan)), r"proprio\[0\] is nan"),
        (lambda seen, info: info["signals"].update(place=np.inf), "'place' must be a finite number"),
    ],
)
def test_a_scene_that_breaks_its_contract_ends_the_session_and_what_was_saved_stays(
    tmp_path, monkeypatch, change, said
):
    see = Line._see

    def breaking(self):
        seen, info = see(self)
        if self.place > 0.5 and (tmp_path / "mine" / "manifest.json").exists():
            change(seen, info)
        return seen, info

    monkeypatch.setattr(Line, "_see", breaking)
    with pytest.raises(CogError, match=rf"Line-v0, frame \d of the episode with seed \d+: .*{said}"):
        demonstrate(LINE, tmp_path / "mine", [*TO_THE_END, {"enter"}, *TO_THE_END])
    assert open_dataset(tmp_path / "mine").episode_count == 1 and verify(tmp_path / "mine") == []


@pytest.mark.parametrize("rate", [None, 0, -3, float("nan"), "10"])
def test_a_scene_that_names_no_rate_is_shown_at_the_usual_one(tmp_path, monkeypatch, rate):
    monkeypatch.setattr(Line, "metadata", {"render_modes": ["rgb_array"], "render_fps": rate})
    _, script = demonstrate(LINE, tmp_path / "mine", TO_THE_END)
    assert 0 <= max(script.waits) <= 1 / 24
