"""Data of several cameras that the real packages write come in, go out, and are read by them again."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cog import cli
from cog.datasets.episode import Episode
from cog.datasets.exporters import FORMATS
from cog.datasets.exporters.run import export
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from tests.helpers.foreign import robomimic_arrays, write_robomimic
from tests.packages.conftest import same

LENGTHS = (6, 1, 9)
FRONT, WRIST = "observation.images.front", "observation.images.wrist"
SIZES = {FRONT: (48, 64), WRIST: (32, 32)}
SETTINGS = {"lerobot": {"fps": 10}}
WRITE = f"""
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

root, video = sys.argv[1], sys.argv[2] == "video"
sizes = {SIZES}
features = {{
    "observation.state": {{"dtype": "float32", "shape": (3,), "names": None}},
    "action": {{"dtype": "float32", "shape": (2,), "names": None}},
    "next.reward": {{"dtype": "float32", "shape": (1,), "names": None}},
}}
for key, size in sizes.items():
    names = ["height", "width", "channels"]
    features[key] = {{"dtype": "video" if video else "image", "shape": (*size, 3), "names": names}}
data = LeRobotDataset.create("lab/arm", 10, features, root=root, use_videos=video)
rng = np.random.default_rng(0)
kept = {{key: [] for key in features}}
for steps in {LENGTHS}:
    for step in range(steps):
        frame = {{
            "observation.state": rng.normal(size=3).astype(np.float32),
            "action": rng.uniform(-1, 1, 2).astype(np.float32),
            "next.reward": rng.normal(size=1).astype(np.float32),
        }}
        for key, (height, width) in sizes.items():
            down, across = np.mgrid[:height, :width]
            light = 40 + 37 * len(kept["action"]) % 160
            shown = np.stack([light + across / 2, 255 - light - down / 2, down + across], axis=2)
            noise = 0 if video else rng.integers(-20, 20, shown.shape)
            frame[key] = (shown + noise).clip(0, 255).astype(np.uint8)
        for key, value in frame.items():
            kept[key].append(np.array(value))
        data.add_frame(dict(frame) | {{"task": "pick"}})
    data.save_episode(parallel_encoding=False)
data.finalize()
np.savez(root + ".npz", **{{key: np.stack(values) for key, values in kept.items()}})
"""


def brought(kind: str, source: Path, out: Path, *options: str) -> list[Episode]:
    """The episodes of an import that keeps the sizes, with a view of their rewards."""
    assert cli.run(["import", kind, str(source), "--out", str(out), "--image-size", "0", *options]) == 0
    assert verify(out) == []
    relabel(out, "recorded", "view", terminate=False)
    return [one for part in open_merge(out).sources for one in labelled(part.dataset, part.view)]


def learned(data: Path, out: Path) -> None:
    """Train on the data of an import for 200 updates."""
    assert cli.run(["merge", "--out", str(out / "merge.json"), "--task", f"{data}@view"]) == 0
    command = ["train", "--data", str(out / "merge.json"), "--out", str(out / "run"), "--updates", "200"]
    command += ["--batch-size", "8", "--log-every", "100", "--wandb", "disabled"]
    assert cli.run(command) == 0
    lines = (out / "run/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["update"] == 200


def sent(kind: str, data: Path, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    export(FORMATS[kind].load()(**SETTINGS.get(kind, {})), open_merge(data), out)
    return out


@pytest.mark.parametrize("stored", ["image", "video"])
def test_two_cameras_of_lerobot_come_in_and_go_out_again(stored: str, tmp_path: Path) -> None:
    for package in ("lerobot", "pyarrow", "av"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    root = tmp_path / "source"
    command = [sys.executable, "-P", "-W", "ignore", "-c", WRITE, str(root), stored]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    given = dict(np.load(f"{root}.npz"))
    options = ("--image", FRONT, WRIST, "--proprio", "observation.state", "--last-frame", "repeat")
    episodes = brought("lerobot", root, tmp_path / "data", *options)
    assert [len(episode) for episode in episodes] == list(LENGTHS)
    for name, key in {"image": FRONT, "wrist": WRIST}.items():
        shown = np.concatenate([episode.pictures()[name][:-1] for episode in episodes])
        if stored == "image":
            same(shown, given[key])
            continue
        assert shown.shape == given[key].shape
        error = np.abs(shown.astype(int) - given[key]).mean(axis=(1, 2, 3))
        others = np.abs(shown.astype(int) - np.roll(given[key], 1, axis=0)).mean(axis=(1, 2, 3))
        assert (error < 4).all() and (error < others).all(), "each camera has its own video"
    learned(tmp_path / "data", tmp_path / "learned")
    sent("lerobot", tmp_path / "data", tmp_path / "out")

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset("cog/made", root=tmp_path / "out")
    names = {"image": "observation.images.image", "wrist": WRIST}
    assert {data.features[key]["shape"] for key in names.values()} == {(48, 64, 3), (32, 32, 3)}
    assert data.num_frames == sum(LENGTHS)
    row = 0
    for episode in episodes:
        for step in range(len(episode)):
            for name, key in names.items():
                pixels = np.rint(np.moveaxis(data[row][key].numpy(), 0, 2) * 255).astype(np.uint8)
                same(pixels, episode.pictures()[name][step])
            np.testing.assert_array_equal(data[row]["action"], episode.actions[step])
            row += 1
    again = ("--image", *names.values(), *options[3:])
    for back, episode in zip(
        brought("lerobot", tmp_path / "out", tmp_path / "b", *again), episodes, strict=True
    ):
        for name, shown in episode.pictures().items():
            same(back.pictures()[name], shown)


def test_two_cameras_of_robomimic_come_in_and_go_out_again(tmp_path: Path) -> None:
    pytest.importorskip("robomimic")
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    def read(path: Path, cameras: list[str], vectors: list[str]) -> Any:
        obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": vectors, "rgb": cameras}})
        return SequenceDataset(
            hdf5_path=str(path),
            obs_keys=(*cameras, *vectors),
            dataset_keys=("actions", "rewards"),
            load_next_obs=True,
            hdf5_cache_mode=None,
        )

    keys = {"image": "agentview_image", "wrist": "robot0_eye_in_hand_image"}
    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays(LENGTHS))
    choice = ("--image", "agentview_image", "wrist=robot0_eye_in_hand_image", "--proprio", "robot0_eef_pos")
    episodes = brought("robomimic", source, tmp_path / "data", *choice)
    learned(tmp_path / "data", tmp_path / "learned")
    theirs = read(source, list(keys.values()), ["robot0_eef_pos"])
    ours = read(sent("robomimic", tmp_path / "data", tmp_path / "out.hdf5"), list(keys), ["proprio"])
    for number, episode in enumerate(episodes):
        first, second = theirs.get_trajectory_at_index(number), ours.get_trajectory_at_index(number)
        for name, key in keys.items():
            for part, frames in (("obs", slice(0, -1)), ("next_obs", slice(1, None))):
                same(episode.pictures()[name][frames], first[part][key])
                same(second[part][name], first[part][key])
        same(second["actions"], first["actions"].astype(np.float32))


@pytest.mark.parametrize("form", ["hdf5", "arrow"])
def test_a_camera_of_minari_and_one_more_come_in_and_go_out_again(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    if form == "arrow":
        pytest.importorskip("pyarrow")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    import gymnasium
    from minari.data_collector import EpisodeBuffer

    shapes = {"camera": (32, 32, 3), "side/rgb": (40, 36, 3), "side/ir": (32, 36, 1)}
    rng = np.random.default_rng(0)
    given = [
        {key: rng.integers(0, 256, (steps + 1, *shape), dtype=np.uint8) for key, shape in shapes.items()}
        for steps in LENGTHS
    ]
    boxes = {key: gymnasium.spaces.Box(0, 255, shape, np.uint8) for key, shape in shapes.items()}
    side = gymnasium.spaces.Dict(rgb=boxes["side/rgb"], ir=boxes["side/ir"])
    buffers = []
    for number, (steps, one) in enumerate(zip(LENGTHS, given, strict=True)):
        last = (np.arange(steps) == steps - 1).tolist()
        observations = {
            "camera": list(one["camera"]),
            "side": {"rgb": list(one["side/rgb"]), "ir": list(one["side/ir"])},
        }
        buffers.append(
            EpisodeBuffer(
                id=None,
                seed=number,
                options=None,
                observations=observations,
                actions=list(rng.uniform(-1, 1, (steps, 3)).astype(np.float32)),
                rewards=rng.normal(size=steps).tolist(),
                terminations=[False] * steps,
                truncations=last,
                infos={},
            )
        )
    minari.create_dataset_from_buffers(
        dataset_id="lab/raw-v0",
        buffer=buffers,
        observation_space=gymnasium.spaces.Dict(camera=boxes["camera"], side=side),
        action_space=gymnasium.spaces.Box(-1, 1, (3,), np.float32),
        jpeg_encoding=False,
        data_format=form,
    )
    source = tmp_path / "minari/lab/raw-v0"
    one = brought("minari", source, tmp_path / "one", "--image", "camera")
    several = brought("minari", source, tmp_path / "all", "--image", "camera", "side/rgb", "ir=side/ir")
    keys = {"image": "camera", "side": "side/rgb", "ir": "side/ir"}
    for episodes, data, names in ((one, "one", ["image"]), (several, "all", ["image", "ir", "side"])):
        learned(tmp_path / data, tmp_path / f"learned-{data}")
        sent("minari", tmp_path / data, tmp_path / f"minari/cog/{data}-v0")
        theirs = minari.load_dataset(f"cog/{data}-v0")
        for number, (episode, wanted) in enumerate(zip(episodes, given, strict=True)):
            assert list(episode.pictures()) == names
            for name in names:
                same(episode.pictures()[name], wanted[keys[name]])
                same(theirs[number].observations[name], wanted[keys[name]])
            frame = {name: values[0] for name, values in theirs[number].observations.items()}
            assert theirs.observation_space.contains(frame)
    assert open_dataset(tmp_path / "all").environment["observations"]["ir"] == [32, 36, 1]


def test_d3rlpy_loads_a_tuple_of_every_camera(tmp_path: Path) -> None:
    d3rlpy = pytest.importorskip("d3rlpy")
    lengths = (6, 3, 9)  # d3rlpy keeps no episode of which it can draw nothing
    source = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays(lengths))
    options = ("--image", "agentview_image", "wrist=robot0_eye_in_hand_image", "--proprio", "object")
    episodes = brought("robomimic", source, tmp_path / "data", *options)
    with sent("d3rlpy", tmp_path / "data", tmp_path / "a.h5").open("rb") as file:
        buffer = d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())
    for found, episode in zip(buffer.episodes, episodes, strict=True):
        image, wrist, pose = found.observations
        same(image, np.moveaxis(episode.images[:-1], 3, 1))
        same(wrist, np.moveaxis(episode.cameras["wrist"][:-1], 3, 1))
        same(pose, episode.proprio[:-1])
    drawn = buffer.transition_picker(buffer.episodes[0], 1)
    same(drawn.next_observation[1], np.moveaxis(episodes[0].cameras["wrist"], 3, 1)[2])
