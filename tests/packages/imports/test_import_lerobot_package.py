"""What the real LeRobot writes comes in; it runs in a process of its own, away from folders of like names."""

import importlib.metadata
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from cog import cli
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify

for package in ("lerobot", "pyarrow", "av"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)
ffmpeg = pytest.importorskip("imageio_ffmpeg")

LENGTHS, SIZE, CAMERA = (7, 4, 9), 64, "observation.images.top"
WRITE = f"""
import inspect
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

root, codec, parts = sys.argv[1:]
parts = int(parts)
features = {{
    "observation.state": {{"dtype": "float32", "shape": (parts + 1,), "names": None}},
    "action": {{"dtype": "float32", "shape": (parts,), "names": None}},
    "next.reward": {{"dtype": "float32", "shape": (1,), "names": None}},
    "next.success": {{"dtype": "bool", "shape": (1,), "names": None}},
    "{CAMERA}": {{
        "dtype": "image" if codec == "png" else "video",
        "shape": ({SIZE}, {SIZE}, 3),
        "names": ["height", "width", "channels"],
    }},
}}
options = dict(use_videos=False) if codec == "png" else dict(vcodec=codec)
if codec == "depth":
    shape, info = ({SIZE}, {SIZE}, 1), {{"is_depth_map": True}}
    features["{CAMERA}"] |= {{"dtype": "video", "shape": shape, "info": info}}
    options = {{}}
elif "vcodec" in options and "vcodec" not in inspect.signature(LeRobotDataset.create).parameters:
    from lerobot.configs.video import RGBEncoderConfig  # since 0.6

    options = dict(rgb_encoder=RGBEncoderConfig(**options))
data = LeRobotDataset.create("lab/arm", 10, features, root=root, robot_type="so100", **options)
rng = np.random.default_rng(0)
kept = {{key: [] for key in features}}
down, across = np.mgrid[:{SIZE}, :{SIZE}]
for steps in {LENGTHS}:
    for step in range(steps):
        # Smooth pictures of a brightness of their own, since codecs lose noise.
        light = int(rng.integers(40, 200))
        picture = np.stack([light + across / 2, 255 - light - down / 2, down + across], axis=2).clip(0, 255)
        frame = {{
            "observation.state": rng.normal(size=parts + 1).astype(np.float32),
            "action": rng.uniform(-1, 1, parts).astype(np.float32),
            "next.reward": rng.normal(size=1).astype(np.float32),
            "next.success": np.array([step == steps - 1]),
            "{CAMERA}": picture.astype(np.uint8),
        }}
        if codec == "depth":
            frame["{CAMERA}"] = (1000 + 10 * picture[:, :, :1]).astype(np.uint16)
        for key, value in frame.items():
            kept[key].append(np.array(value))
        data.add_frame(dict(frame) | {{"task": "pick"}})
    data.save_episode(parallel_encoding=False)
data.finalize()
np.savez(root + ".npz", **{{key: np.stack(values) for key, values in kept.items()}})
"""


def recorded(tmp_path, codec, parts=2):
    """A folder that LeRobot wrote, and the arrays that went in, all episodes in one."""
    root = tmp_path / "source"
    command = [sys.executable, "-P", "-W", "ignore", "-c", WRITE, str(root), codec, str(parts)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return root, dict(np.load(f"{root}.npz"))


def imported(source, out):
    options = ["--proprio", "observation.state", "--success", "next.success", "--image-size", "0"]
    options += ["--last-frame", "repeat"]
    assert cli.run(["import", "lerobot", str(source), "--out", str(out), *options]) == 0
    assert verify(out) == []
    dataset = open_dataset(out)
    assert (dataset.episode_count, dataset.step_count, dataset.success_count) == (3, sum(LENGTHS), 3)
    return list(dataset.episodes())


def assert_same_numbers(episodes, given):
    assert [len(episode) for episode in episodes] == list(LENGTHS)
    states = np.concatenate([episode.proprio[:-1] for episode in episodes])
    np.testing.assert_array_equal(states, given["observation.state"])
    actions = np.concatenate([episode.actions for episode in episodes])
    np.testing.assert_array_equal(actions, given["action"])
    rewards = np.concatenate([episode.signals["reward"][1:] for episode in episodes])
    np.testing.assert_array_equal(rewards, given["next.reward"][:, 0])


def test_pictures_in_tables_come_in_to_the_bit(tmp_path):
    source, given = recorded(tmp_path, "png")
    episodes = imported(source, tmp_path / "data")
    assert_same_numbers(episodes, given)
    np.testing.assert_array_equal(
        np.concatenate([episode.images[:-1] for episode in episodes]), given[CAMERA]
    )


@pytest.mark.parametrize("codec", ["libsvtav1", "h264"])
def test_pictures_in_videos_are_those_that_were_recorded_as_far_as_the_codec_kept_them(codec, tmp_path):
    source, given = recorded(tmp_path, codec)
    episodes = imported(source, tmp_path / "data")
    assert_same_numbers(episodes, given)
    pictures = np.concatenate([episode.images[:-1] for episode in episodes])
    error = np.abs(pictures.astype(int) - given[CAMERA]).mean(axis=(1, 2, 3))
    assert error.max() < 4, error
    others = np.abs(pictures.astype(int) - np.roll(given[CAMERA], 1, axis=0)).mean(axis=(1, 2, 3))
    assert (error < others).all()
    # Another decoder, of another build, shows the same pictures but for the rounding of colours.
    (file,) = (source / f"videos/{CAMERA}").rglob("*.mp4")
    reader = ffmpeg.read_frames(str(file), pix_fmt="rgb24")
    next(reader)
    theirs = np.stack([np.frombuffer(frame, np.uint8).reshape(SIZE, SIZE, 3) for frame in reader])
    assert np.abs(pictures.astype(int) - theirs).max() <= 3


def test_one_motor_and_a_state_of_two_numbers_come_in(tmp_path):
    source, given = recorded(tmp_path, "png", parts=1)
    assert_same_numbers(imported(source, tmp_path / "data"), given)


def test_a_depth_camera_is_refused_by_name(tmp_path, capsys):
    if tuple(map(int, importlib.metadata.version("lerobot").split(".")[:2])) < (0, 6):
        pytest.skip("LeRobot before 0.6 records no depth")
    source, _ = recorded(tmp_path, "depth")
    run = ["import", "lerobot", str(source), "--out", str(tmp_path / "data"), "--last-frame", "repeat"]
    assert cli.run([*run, "--image", CAMERA, "--proprio", "none"]) == 2
    assert f"'{CAMERA}' must be colour pictures (H, W, 3), found depth" in capsys.readouterr().err
    assert cli.run(run) == 0
    assert open_dataset(tmp_path / "data").environment["observations"] == {"state": [3]}
