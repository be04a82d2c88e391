"""What lies between a robot and its data is recorded, joined over sources, and refused where it cannot be."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog import cli
from cog.datasets.robot_interface import RobotInterface, disagreements, joined
from cog.datasets.storage.dataset import open_dataset
from cog.errors import UsageError
from cog.evaluation.policy import Policy
from cog.training.train import train
from tests.evaluation.test_robot import ARM, SCALE, recorded
from tests.helpers.foreign import robomimic_arrays, write_robomimic
from tests.helpers.learner_data import config


def test_imports_record_camera_pose_and_its_order(tmp_path: Path) -> None:
    file = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays())
    keys = ["--image", "agentview_image", "--proprio", "robot0_gripper_qpos", "robot0_eef_pos"]
    assert cli.run(["import", "robomimic", str(file), "--out", str(tmp_path / "a"), *keys]) == 0
    held = RobotInterface.from_json(open_dataset(tmp_path / "a").environment["robot_interface"])
    pose = (("robot0_gripper_qpos", 2), ("robot0_eef_pos", 3))
    assert held == RobotInterface(("agentview_image",), "stretch", pose=pose)


def test_a_merge_of_other_cameras_and_pose_orders_says_so_and_keeps_the_task_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = dataclasses.replace(ARM, cameras=("wrist",), pose=(("gripper", 1), ("joint", 2)))
    recorded(tmp_path / "a", interface=ARM, action_scale=SCALE)
    recorded(tmp_path / "b", interface=other, action_scale=SCALE, seed=1)
    sources = ["--task", f"{tmp_path}/a@success", "--prior", f"{tmp_path}/b@success"]
    assert cli.run(["merge", "--out", f"{tmp_path}/both.json", *sources]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "different cameras (a: front, b: wrist)" in said
    assert "different pose (a: joint (2) + gripper (1), b: gripper (1) + joint (2))" in said
    told: list[str] = []
    run = dataclasses.replace(config(tmp_path / "run", updates=1), data=tmp_path / "both.json")
    train(run, on_message=told.append)
    assert sum("different cameras" in text for text in told) == 1
    assert Policy.load(tmp_path / "run").expects.known.cameras == ("front",)


interfaces = st.builds(
    RobotInterface,
    cameras=st.sampled_from([(), ("front",), ("wrist",)]),
    resize=st.sampled_from([None, "stretch", "keep"]),
    pose=st.sampled_from([None, (), (("joint", 2),), (("joint", 1), ("gripper", 1))]),
    rate=st.sampled_from([None, 10.0, 20.0]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(interfaces, min_size=1, max_size=4))
def test_of_several_sources_the_first_that_knows_a_fact_tells_it(sources: list[RobotInterface]) -> None:
    found = joined(sources)
    notes = disagreements([(str(number), one) for number, one in enumerate(sources)])
    for field, unknown in (("cameras", ()), ("resize", None), ("pose", None), ("rate", None)):
        said = [value for one in sources if (value := getattr(one, field)) != unknown]
        assert getattr(found, field) == (said[0] if said else unknown)
        words = "different sizes" if field == "resize" else f"different {field}"
        assert any(words in note for note in notes) == (len(set(said)) > 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cameras": ("a", "a")}, "cameras must differ"),
        ({"pose": (("joint", 0),)}, "lengths above 0"),
        ({"pose": (("joint", 1), ("joint", 2))}, "different names"),
        ({"rate": float("nan")}, "rate must be a positive"),
        ({"resize": "crop"}, "resize must be one of"),
        ({"cameras": "front"}, "cameras must be a tuple, got 'front'"),
        ({"cameras": ("",)}, "none of it empty"),
        ({"action_names": "ab"}, "action_names must be a tuple"),
        ({"pose": ("a", "b")}, "pose must be pairs of a name and a length"),
        ({"pose": 3}, "pose must be a tuple"),
    ],
)
def test_an_interface_that_cannot_be_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RobotInterface(**wrong)


def test_an_interface_that_does_not_fit_the_episodes_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    for wrong, words in (
        (RobotInterface(pose=(("joint", 2),)), "pose joint \\(2\\) has 2 numbers, but the data 3"),
        (RobotInterface(action_names=("lift",)), "action_names are 1, but actions have 2"),
        (RobotInterface(action_names=("lift", "lift")), "name one twice"),
        (
            RobotInterface(cameras=("front", "side")),
            r"2 cameras are named \(front \+ side\), but the data have 1 \(image\)",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            recorded(tmp_path / "arm", interface=wrong, action_scale=SCALE)
        assert not any((tmp_path / "arm").glob("*.json"))


def test_a_collection_records_its_scene_s_rate_and_continues_one_that_did_not(tmp_path: Path) -> None:
    from cog.datasets.collection.collect import collect
    from cog.datasets.collection.spec import CollectionSpec
    from tests.conftest import forge

    spec = CollectionSpec(episodes=2, episodes_per_shard=1, image_size=16, max_episode_steps=2)
    whole = collect(spec, tmp_path / "data", workers=1)
    held = RobotInterface.from_json(whole.environment["robot_interface"])
    assert held == RobotInterface(resize="keep", rate=24.0)
    before = {name: value for name, value in whole.environment.items() if name != "robot_interface"}
    forge(tmp_path / "data" / "collection.json", environment=before)
    (tmp_path / "data" / "manifest.json").unlink()
    (tmp_path / "data" / whole.shards[1].file).unlink()
    again = collect(spec, tmp_path / "data", workers=1)
    assert again.hash == whole.hash and again.environment == whole.environment
