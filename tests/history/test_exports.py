"""A policy with a history leaves the toolkit with it, and is compared on the histories of its data."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cog import cli
from cog.core.sealed import read_sealed
from cog.datasets.storage.dataset import open_dataset
from cog.evaluation import portable
from cog.evaluation.policy import Policy
from cog.evaluation.portable import recorded_observations
from cog.networks.encoder import ObservationShape
from cog.networks.history import History
from cog.training.train import train
from tests.evaluation.test_portable import SUFFIX, runner
from tests.evaluation.test_robot import ARM, SCALE, recorded
from tests.helpers.learner_data import config
from tests.history.stacks import made, plain_images, plain_pose


@pytest.fixture(autouse=True)
def few_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "TIMED", 2)


def test_an_exported_policy_remembers_as_the_original_does(tmp_path: Path) -> None:
    policy = made(ObservationShape((8, 8, 3), 3), 2, ARM, history=3)
    policy.export(tmp_path / "policy")
    other = Policy.load(tmp_path / "policy")
    assert other.shape == policy.shape and str(other.expects) == str(policy.expects)
    rng = np.random.default_rng(0)
    for one in (policy, other):
        one.reset()
    for _ in range(4):
        seen = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), rng.normal(size=3)
        np.testing.assert_array_equal(policy.act_robot(*seen), other.act_robot(*seen))


@pytest.mark.parametrize("history", [None, History(3, 3, 3, 2), History(2, 1, 3, 2), History(1, 2, 3, 2)])
def test_recorded_observations_are_those_of_their_episodes(history: History | None, tmp_path: Path) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    images, poses = recorded_observations(data, 21, history)  # every frame
    assert images is not None
    row = 0
    for episode in open_dataset(data).episodes():
        assert episode.images is not None and episode.proprio is not None
        for frame in range(len(episode) + 1):
            depth = (1, 1) if history is None else (history.images, history.poses)
            np.testing.assert_array_equal(images["image"][row], plain_images(episode.images, frame, depth[0]))
            acted = np.concatenate([episode.actions, np.zeros((1, 2), np.float32)])
            np.testing.assert_array_equal(poses[row], plain_pose(episode.proprio, acted, frame, depth[1]))
            row += 1
    assert row == len(poses) == 21


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_the_command_writes_a_file_that_takes_the_history_and_says_its_order(
    kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1, history=3), data=data))
    out = tmp_path / f"policy{SUFFIX[kind]}"
    line = ["export", "policy", str(tmp_path / "run"), "--out", str(out), "--format", kind]
    assert cli.run([*line, "--observations", "10"]) == 0
    assert "10 recorded observations" in " ".join(capsys.readouterr().out.split())
    facts = read_sealed(out.with_name(f"{out.name}.json"), "portable policy", "facts", "")
    assert facts["inputs"] == [
        {"name": "image", "shape": [1, 8, 8, 9], "type": "uint8"},
        {"name": "pose", "shape": [1, 3 * 3 + 2 * 2], "type": "float32"},
    ]
    assert facts["history"] == {
        "images": 3,
        "poses": 3,
        "pose": 3,
        "actions": 2,
        "order": [
            "images: the channels of 3 frames, the oldest first",
            "pose: 3 poses of 3, the oldest first, then the 2 actions between them, in [-1, 1]",
        ],
    }
    policy = Policy.load(tmp_path / "run")
    images, poses = recorded_observations(data, 5, policy.shape.history)
    assert images is not None
    run = runner(out)
    for row in range(5):
        given = images["image"][row : row + 1], poses[row : row + 1]
        np.testing.assert_allclose(run(*given), SCALE.to_robot(policy.act(*given)), atol=1e-5)


def test_data_of_other_sizes_are_refused_with_the_number_of_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1, history=3), data=data))
    other = recorded(tmp_path / "other", interface=ARM, action_scale=SCALE, image_size=12)
    line = ["export", "policy", str(tmp_path / "run"), "--out", str(tmp_path / "p.pt2"), "--data", str(other)]
    assert cli.run(line) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "'image' 8x8x9 and 13 numbers in 3 frames at once" in said and "12x12x9" in said


def test_a_policy_of_one_frame_has_no_history_in_its_facts(tmp_path: Path) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=data))
    out = tmp_path / "policy.pt2"
    assert cli.run(["export", "policy", str(tmp_path / "run"), "--out", str(out), "--observations", "3"]) == 0
    assert "history" not in read_sealed(tmp_path / "policy.pt2.json", "portable policy", "facts", "")
    assert torch.export.load(out) is not None
