"""Data with the wrist camera: collected, demonstrated, read back, and rebuilt as the same scene."""

from pathlib import Path

import numpy as np
import pytest

import cog.envs
from cog import cli
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.environment import act_in
from cog.datasets.storage.dataset import Dataset, open_dataset
from cog.datasets.storage.verify import verify
from cog.envs.make import Scene, make_environment
from tests.datasets.test_teleop import DRAWER, demonstrate

COLLECT = ["collect", "--env", cog.envs.DOUBLE_DRAWER_V1, "--start", "closed", "--behaviour", "open_drawer"]
SHORT = ["--episodes", "4", "--max-steps", "5", "--episodes-per-shard", "2", "--image-size", "16"]
BEFORE = CollectionSpec(
    episodes=3,
    episodes_per_shard=2,
    seed=3,
    starts=("closed",),
    env=cog.envs.DOUBLE_DRAWER_V1,
    behaviours=(BehaviourChoice("open_drawer"),),
)
HASH_BEFORE = "0b981bf8ef3effeb74fdf52e95a25f5d38152270d8b30a35a4d926a33f9cae8d"
"""Identity of that spec before there was a wrist camera."""


def collected(out: Path, *options: str) -> Dataset:
    assert cli.run([*COLLECT, *SHORT, *options, "--out", str(out)]) == 0
    return open_dataset(out)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return collected(tmp_path_factory.mktemp("wrist") / "data", "--wrist", "--workers", "1")


def shards(dataset: Dataset) -> list[bytes]:
    return [path.read_bytes() for path in sorted((dataset.path / "shards").iterdir())]


@pytest.mark.parametrize("options", [["--wrist"], ["--env-options", "wrist=true"]], ids=" ".join)
def test_two_workers_give_the_same_bytes_and_so_does_the_option_spelt_out(
    options: list[str], data: Dataset, tmp_path: Path
) -> None:
    other = collected(tmp_path / "data", *options, "--workers", "2")
    assert other.hash == data.hash and shards(other) == shards(data)


def test_its_facts_say_what_both_cameras_show_and_the_spec_that_there_are_two(data: Dataset) -> None:
    shapes = {"image": [16, 16, 3], "proprio": [8], "wrist": [16, 16, 3]}
    assert data.environment["observations"] == shapes
    assert data.environment["options"] == data.spec["env_options"] == {"wrist": True}
    assert verify(data.path) == []


def test_its_pictures_are_those_of_the_scene_that_its_facts_rebuild(data: Dataset) -> None:
    env_id, options, steps = act_in(data.environment, "the data")
    env = make_environment(Scene(env_id, (16, 16, 3), steps, tuple(options.items())))
    for episode in data.episodes():
        assert list(episode.cameras) == ["wrist"] and len(episode.cameras["wrist"]) == len(episode) + 1
        frames = [env.reset(seed=episode.seed, options={"start": episode.start})[0]]
        frames += [env.step(action)[0] for action in episode.actions]
        for name, pictures in episode.pictures().items():
            np.testing.assert_array_equal(pictures, [frame[name] for frame in frames])
    env.close()


def test_without_it_a_collection_is_the_one_that_it_was_before(data: Dataset, tmp_path: Path) -> None:
    assert BEFORE.hash() == HASH_BEFORE
    without = collected(tmp_path / "data", "--workers", "1")
    assert "options" not in without.environment and "env_options" not in without.spec
    assert without.environment["observations"] == {"image": [16, 16, 3], "proprio": [8]}
    for plain, other in zip(without.episodes(), data.episodes(), strict=True):
        assert not plain.cameras and plain.images is not None and other.images is not None
        np.testing.assert_array_equal(plain.images, other.images)
        np.testing.assert_array_equal(plain.actions, other.actions)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--env", "tests.helpers.toy_scene:toy/Line-v0", "--behaviour", "reach"],
            "tests.helpers.toy_scene:toy/Line-v0 has no camera at the wrist: its constructor takes no wrist. "
            "Leave --wrist out",
        ),
        (
            ["--env-options", "wrist=false"],
            "--wrist asks for the camera at the wrist, but --env-options wrist=False",
        ),
        (["--observation", "state"], "wrist is true, but observation='state' shows no pictures"),
    ],
)
def test_a_wrist_camera_that_there_cannot_be_is_wrong_usage_in_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["collect", "--episodes", "1", *options, "--wrist", "--out", str(tmp_path / "data")]
    assert cli.run(arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "data").exists()


def test_a_demonstration_has_it_and_shows_it_beside_the_scene(tmp_path: Path) -> None:
    spec = CollectionSpec(
        **{**vars(DRAWER), "env_options": {"render_size": 32, "wrist": True}, "image_size": 16}
    )
    dataset, screen = demonstrate(spec, tmp_path / "data", [{"s"}, {"d"}, {"enter"}])
    (episode,) = dataset.episodes()
    assert episode.cameras["wrist"].shape == (3, 16, 16, 3)
    (shown,) = screen.further
    np.testing.assert_array_equal(shown, episode.cameras["wrist"][-1])
    assert screen.screens[-1][0].shape == (32, 32, 3)


def test_a_window_shows_further_pictures_beside_the_first_at_its_height() -> None:
    pytest.importorskip("tkinter")
    from cog.datasets.teleop.window import side_by_side

    draw = np.random.default_rng(0)
    first = draw.integers(0, 256, (12, 10, 3), np.uint8)
    colour, grey = draw.integers(0, 256, (6, 5, 3), np.uint8), draw.integers(0, 256, (4, 8, 1), np.uint8)
    np.testing.assert_array_equal(side_by_side([first]), first)
    row = side_by_side([first, colour, grey])
    assert row.shape == (12, 10 + 10 + 24, 3) and row.dtype == np.uint8
    np.testing.assert_array_equal(row[:, 10:20], colour.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(row[:, 20:], np.broadcast_to(grey.repeat(3, 0).repeat(3, 1), (12, 24, 3)))


def test_a_policy_of_both_cameras_acts_in_its_scene_and_one_of_another_name_is_refused_before_it_is_trained(
    data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["relabel", str(data.path), "--rule", "zero", "--name", "none"]) == 0
    task, train = f"{data.path}@none", ["train", "--updates", "2", "--evaluate-episodes", "1"]
    train += ["--evaluate-starts", "closed", "--wandb", "disabled"]
    for name, options in (("both", []), ("hand", ["--camera", "wrist=hand"])):
        merged = tmp_path / f"{name}.json"
        assert cli.run(["merge", "--out", str(merged), "--task", task, *options]) == 0
        done = cli.run([*train, "--data", str(merged), "--out", str(tmp_path / name)])
        assert done == (0 if name == "both" else 1)
    said = " ".join(capsys.readouterr().err.split())
    assert "trained with hand (16, 16, 3), but cog/DoubleDrawer-v1 gives none" in said
    assert not (tmp_path / "hand" / "checkpoints").exists()
