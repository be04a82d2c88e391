"""Data of several cameras are merged, learnt from, acted upon and exported, each camera by its name."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cog.classifier.config import ClassifierConfig
from cog.classifier.fit import classify
from cog.classifier.network import open_classifier
from cog.datasets.episode import Episode
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import Merge, open_merge, write_merge
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.robot_interface import KEY, RobotInterface
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.errors import CogError, UsageError
from cog.evaluation.policy import Policy
from cog.evaluation.portable import export_policy, recorded_observations
from cog.networks.config import NetworkConfig
from cog.networks.encoder import Encoder, ObservationShape
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.train import train
from tests.helpers.learner_data import config

SIZES = {"image": (8, 8, 3), "hand": (6, 10, 3), "top": (12, 12, 1)}
POSE, ACTIONS = 4, 3
CPU = torch.device("cpu")


def episode(seed: int, names: Mapping[str, str] | None = None, success: bool = True) -> Episode:
    """Random pictures of all cameras; `names` calls some otherwise."""
    draw = np.random.default_rng(seed)
    steps = int(draw.integers(2, 6))
    pictures = {
        (names or {}).get(name, name): draw.integers(0, 256, (steps + 1, *size), dtype=np.uint8)
        for name, size in SIZES.items()
    }
    return Episode(
        actions=draw.uniform(-1, 1, (steps, ACTIONS)).astype(np.float32),
        signals={"reached": (np.arange(steps + 1) == steps * success).astype(np.float32)},
        images=pictures.pop("image"),
        cameras=pictures,
        proprio=draw.normal(size=(steps + 1, POSE)).astype(np.float32),
        success=success,
    )


def dataset(folder: Path, names: Mapping[str, str] | None = None, seed: int = 0, **facts: Any) -> str:
    """Eight episodes under the view `reward`."""
    made = [episode(seed + number, names, number % 2 == 0) for number in range(8)]
    write_dataset(folder, made, {"kind": "test", "seed": seed}, {"id": "toy", **facts})
    relabel(folder, "reached > 0", "reward")
    return f"{folder}@reward"


def merged(folder: Path) -> Merge:
    """A task source and a prior source whose cameras have the same names."""
    task, prior = dataset(folder / "task"), dataset(folder / "prior", seed=100)
    return write_merge(folder / "all.json", task, prior)


def test_every_frame_of_every_camera_is_loaded_in_the_order_of_the_episodes(tmp_path: Path) -> None:
    merge = merged(tmp_path)
    transitions = load(merge)
    assert transitions.frames is not None and list(transitions.cameras) == ["hand", "top"]
    held = [one for source in merge.sources for one in labelled(source.dataset, source.view)]
    for name in SIZES:
        loaded = transitions.frames if name == "image" else transitions.cameras[name]
        np.testing.assert_array_equal(loaded, np.concatenate([one.pictures()[name] for one in held]))


def test_a_batch_holds_the_pictures_of_all_cameras_at_the_same_moments(tmp_path: Path) -> None:
    transitions = load(merged(tmp_path))
    buffer = Buffer(transitions, CPU, 8, "balanced", 0.9)
    index = buffer.draw(torch.Generator().manual_seed(0))
    batch, frames = buffer.gather(index), transitions.frame_index[index.numpy()]
    assert isinstance(batch.images, tuple) and isinstance(batch.next_images, tuple)
    for name, now, following in zip(SIZES, batch.images, batch.next_images, strict=True):
        held = transitions.frames if name == "image" else transitions.cameras[name]
        assert held is not None
        np.testing.assert_array_equal(now.permute(0, 2, 3, 1).numpy(), held[frames])
        np.testing.assert_array_equal(following.permute(0, 2, 3, 1).numpy(), held[frames + 1])


def shape_of(cameras: Mapping[str, tuple[int, int, int]]) -> ObservationShape:
    first, *further = cameras.items()
    return ObservationShape(first[1], POSE, tuple(further), first[0])


def pictures_of(cameras: Mapping[str, tuple[int, int, int]], rows: int = 5) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(1)
    return tuple(
        torch.randint(0, 256, (rows, size[2], *size[:2]), generator=draw, dtype=torch.uint8)
        for size in cameras.values()
    )


@pytest.mark.parametrize("encoder", ["patch", "paper", "strided"])
def test_each_camera_changes_the_features_of_its_own_row_alone(encoder: Any) -> None:
    network = Encoder(shape_of(SIZES), NetworkConfig(encoder=encoder))
    pictures, pose = pictures_of(SIZES), torch.zeros(5, POSE)
    before = network(pictures, pose)
    for camera in range(len(SIZES)):
        changed = tuple(one.clone() for one in pictures)
        changed[camera][2] = 255 - changed[camera][2]
        apart = (network(changed, pose) != before).any(1)
        assert apart.tolist() == [False, False, True, False, False]


def test_shared_convolutions_make_the_same_of_the_same_picture_and_cost_one_set_of_weights() -> None:
    same = {"image": (8, 8, 3), "hand": (8, 8, 3)}
    own = Encoder(shape_of(same), NetworkConfig(bottleneck=0, use_proprio=False))
    shared = Encoder(shape_of(same), NetworkConfig(bottleneck=0, use_proprio=False, camera_encoders="shared"))
    (picture, _) = pictures_of(same)
    left, right = shared((picture, picture), None).chunk(2, 1)
    assert torch.equal(left, right)
    left, right = own((picture, picture), None).chunk(2, 1)
    assert not torch.equal(left, right)
    weights = [sum(value.numel() for value in network.parameters()) for network in (own, shared)]
    assert weights[0] == 2 * weights[1]
    with pytest.raises(UsageError, match=r"grey cannot share.*top 12x12x1"):
        Encoder(shape_of(SIZES), NetworkConfig(camera_encoders="shared"))


@pytest.mark.parametrize(("side", "left"), [(32, 8), (48, 12), (64, 8), (96, 12), (128, 8), (256, 8)])
def test_strided_convolutions_leave_at_most_twelve_by_twelve(side: int, left: int) -> None:
    network = Encoder(
        ObservationShape((side, side, 3), 0), NetworkConfig("strided", bottleneck=0, use_proprio=False)
    )
    assert network.features == 16 * left**2


def _usable_torchvision() -> None:
    """Let torchvision be imported where its own operators, which ResNet lacks, are for another PyTorch."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")


def test_resnet18_sees_a_picture_of_any_size_and_nothing_of_the_rest_of_its_batch() -> None:
    _usable_torchvision()
    cameras = {"image": (64, 96, 3), "top": (64, 64, 1)}
    network = Encoder(shape_of(cameras), NetworkConfig("resnet18", bottleneck=0, use_proprio=False))
    assert network.features == 2 * 512
    pictures = pictures_of(cameras, rows=2)
    alone = network(tuple(one[:1] for one in pictures), None)
    torch.testing.assert_close(network(pictures, None)[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cameras", [(), ("top", "image"), ("hand",)])
def test_a_run_sees_the_cameras_that_it_names_and_resumes_to_the_bit(
    tmp_path: Path, cameras: tuple[str, ...]
) -> None:
    merge = merged(tmp_path)
    chosen = cameras or tuple(SIZES)
    settings = dataclasses.replace(
        config(tmp_path / "whole", updates=6, cameras=cameras, schedule="constant"), data=merge.path
    )
    parted = dataclasses.replace(settings, out=tmp_path / "parted")
    one = checkpoint.load(train(settings))
    train(dataclasses.replace(parted, updates=3))
    two = checkpoint.load(train(parted, resume=True))
    assert one.hashes == two.hashes
    assert list(one.shape.pictures().items()) == [(name, SIZES[name]) for name in chosen]
    policy = Policy.load(tmp_path / "whole")
    seen = {name: np.zeros((2, *SIZES[name]), np.uint8) for name in SIZES}
    pose = np.zeros((2, POSE), np.float32)
    base = policy.act(seen, pose)
    for name in SIZES:
        changed = policy.act({**seen, name: seen[name] + 200}, pose)
        assert np.array_equal(changed, base) == (name not in chosen)
    lacking = {name: seen[name] for name in SIZES if name != chosen[0]}
    with pytest.raises(CogError, match=r"the policy needs images.*got none"):
        policy.act(lacking, pose)


def test_a_camera_that_the_data_lack_is_refused_by_name(tmp_path: Path) -> None:
    data = merged(tmp_path).path
    for cameras, told in (
        (("side",), "no camera 'side'; the data hold image, hand, top"),
        (("top",) * 2, "twice"),
    ):
        with pytest.raises(UsageError, match=told):
            train(dataclasses.replace(config(tmp_path / "run", cameras=cameras), data=data))


def test_a_robot_gives_raw_pictures_by_the_names_that_its_data_record(tmp_path: Path) -> None:
    held = RobotInterface(cameras=("front", "gripper", "ceiling"), resize="stretch")
    data = dataset(tmp_path / "data", **{KEY: held.to_json()})
    train(dataclasses.replace(config(tmp_path / "run", cameras=("top", "hand")), data=data))
    policy = Policy.load(tmp_path / "run")
    assert policy.expects.known.cameras == ("ceiling", "gripper")
    draw = np.random.default_rng(0)
    raw = {
        "ceiling": draw.integers(0, 256, (24, 24, 1), dtype=np.uint8),
        "gripper": draw.integers(0, 256, SIZES["hand"], dtype=np.uint8),
        "unseen": np.zeros((3, 3, 3), np.uint8),
    }
    action = policy.act_robot(raw, np.zeros(POSE))
    small = raw["ceiling"].reshape(12, 2, 12, 2, 1).astype(float).mean((1, 3))
    exact = np.abs(small - small.round()) < 0.49  # halves may be rounded either way
    seen, _ = policy.expects.inputs(raw, np.zeros(POSE), None)
    assert seen is not None
    np.testing.assert_array_equal(seen["top"][0][exact], small.round()[exact])
    by_hand = policy.act({"top": seen["top"], "hand": raw["gripper"][None]}, np.zeros((1, POSE)))
    np.testing.assert_array_equal(action, by_hand[0])
    with pytest.raises(CogError, match="camera 'gripper', got ceiling"):
        policy.act_robot({"ceiling": raw["ceiling"]}, np.zeros(POSE))
    with pytest.raises(CogError, match=r"several cameras \(ceiling, gripper\), got one picture"):
        policy.act_robot(raw["ceiling"], np.zeros(POSE))


def test_an_exported_policy_has_an_input_for_each_camera_and_acts_the_same(tmp_path: Path) -> None:
    data = merged(tmp_path).path
    train(dataclasses.replace(config(tmp_path / "run"), data=data))
    policy = Policy.load(tmp_path / "run")
    images, poses = recorded_observations(data, 6)
    assert images is not None
    done = export_policy(policy, tmp_path / "policy.pt2", "torch", images, poses)
    assert done.largest < 1e-5
    graph = torch.export.load(tmp_path / "policy.pt2").module()
    inputs = [torch.from_numpy(images[name][:1]) for name in SIZES]
    action = graph(*inputs, torch.from_numpy(poses[:1]).float()).numpy()
    expected = policy.act({name: images[name][:1] for name in SIZES}, poses[:1])
    np.testing.assert_allclose(action, expected, atol=1e-5)
    policy.export(tmp_path / "small")
    again = Policy.load(tmp_path / "small")
    np.testing.assert_array_equal(again.act(images, poses), policy.act(images, poses))


OTHER = {"hand": "wrist"}


def test_sources_of_other_cameras_are_refused_by_name_or_mapped(tmp_path: Path) -> None:
    task, prior = dataset(tmp_path / "task"), dataset(tmp_path / "prior", OTHER, seed=100)
    with pytest.raises(CogError, match=r"first has image, hand, top, the second image, top, wrist.*--camera"):
        write_merge(tmp_path / "no.json", task, prior)
    merge = write_merge(tmp_path / "all.json", task, prior, cameras={"wrist": "hand"})
    same = write_merge(tmp_path / "same.json", task, dataset(tmp_path / "twin", seed=100), cameras=None)
    one, other = load(open_merge(merge.path)), load(same)
    np.testing.assert_array_equal(one.cameras["hand"], other.cameras["hand"])
    assert one.fingerprint == other.fingerprint
    copy = load(materialise(merge.path, tmp_path / "copy"))
    assert copy.fingerprint == one.fingerprint
    assert merge.hash != write_merge(tmp_path / "t.json", task, cameras={"top": "none"}).hash


def test_cameras_are_left_out_and_exchanged(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    plain, alone = load(open_merge(data)), write_merge(tmp_path / "a.json", data, cameras={"hand": "none"})
    assert list(alone.observations) == ["image", "proprio", "top"] and list(load(alone).cameras) == ["top"]
    turned = load(write_merge(tmp_path / "b.json", data, cameras={"image": "hand", "hand": "image"}))
    assert turned.frames is not None and plain.frames is not None
    np.testing.assert_array_equal(turned.frames, plain.cameras["hand"])
    np.testing.assert_array_equal(turned.cameras["hand"], plain.frames)
    replaced = load(write_merge(tmp_path / "c.json", data, cameras={"hand": "image", "image": "none"}))
    assert replaced.frames is not None and list(replaced.cameras) == ["top"]
    np.testing.assert_array_equal(replaced.frames, plain.cameras["hand"])


@pytest.mark.parametrize(
    ("cameras", "told"),
    [
        ({"side": "hand"}, "no source has a camera 'side'"),
        ({"hand": "top"}, "no source has a camera 'hand' that could be called 'top'.*--camera top=none"),
        ({"hand": "proprio"}, "cannot be called 'proprio'"),
        ({"image": "none"}, "none of its cameras would be called 'image'"),
        ({"hand": "one", "top": "one"}, "two of its cameras would have the same name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, cameras: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        write_merge(tmp_path / "no.json", dataset(tmp_path / "data"), cameras=cameras)
    assert not (tmp_path / "no.json").exists()


def test_a_classifier_finds_success_that_one_camera_alone_shows(tmp_path: Path) -> None:
    made = []
    for number in range(40):
        one = episode(number, success=number % 2 == 0)
        top = np.zeros_like(one.cameras["top"])
        top[-1] = 255 * one.success
        made.append(dataclasses.replace(one, cameras={**one.cameras, "top": top}))
    write_dataset(tmp_path / "data", made, {"kind": "test"})
    settings = ClassifierConfig(
        out=tmp_path / "seen", updates=150, batch_size=32, use_proprio=False, label="reached > 0"
    )
    classify([tmp_path / "data"], settings)
    judge = open_classifier(tmp_path / "seen")
    right = [bool(judge(one)[-1]) == one.success for one in open_dataset(tmp_path / "data").episodes()]
    assert sum(right) >= 38
    classify([tmp_path / "data"], dataclasses.replace(settings, out=tmp_path / "one", cameras=("top",)))
    alone = open_classifier(tmp_path / "one")
    assert list(alone.network.shape.pictures()) == ["top"]
    assert alone(dataclasses.replace(made[0], cameras={"top": made[0].cameras["top"]}))[-1]
    with pytest.raises(CogError, match=r"needs images of 'hand'.*the data have none"):
        judge(dataclasses.replace(made[0], cameras={"top": made[0].cameras["top"]}))
