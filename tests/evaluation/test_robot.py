"""A policy takes what a robot gives and returns what a robot takes, as the data's own preparation has it."""

import dataclasses
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cog import cli
from cog.algorithms import algorithm
from cog.datasets.action_scale import ActionScale
from cog.datasets.resize import stretched
from cog.datasets.robot_interface import RobotInterface
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.writer import DatasetWriter
from cog.errors import CogError
from cog.evaluation.exported import Exported
from cog.evaluation.policy import Policy
from cog.networks.encoder import ObservationShape
from cog.training import checkpoint
from cog.training.train import train
from tests.conftest import forge
from tests.helpers.learner_data import config, noise

SIZE = 8
NAMES = ("x", "y", "z", "open")


def by_opencv(picture: np.ndarray, size: int) -> np.ndarray:
    """The definition of how data are resized: by areas if the picture shrinks, else linearly."""
    shrinks = size <= min(picture.shape[:2])
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: np.ndarray = cv2.resize(picture, (size, size), interpolation=method)
    return resized


def made(
    interface: RobotInterface | None, pose: int, actions: int, images: bool = True, seed: int = 0
) -> Policy:
    """A policy with random weights, wide enough apart that every input changes its actions."""
    shape = ObservationShape((SIZE, SIZE, 3) if images else None, pose)
    run = config(algorithm="bc")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = algorithm("bc").build_policy(shape, actions, run.network, run.algorithm)
        for value in network.parameters():
            value.data.add_(0.3 * torch.randn_like(value))
    origin = Exported(network, run.algorithm, shape, actions, run.network, 1, interface)
    return Policy(network, shape, 1, origin=origin)


sizes = st.integers(1, 70)
finite = st.floats(-1000, 1000, allow_nan=False, width=32)


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, sizes, st.sampled_from([0, 1, 2, 3]), st.integers(0, 99))
def test_pictures_are_stretched_as_opencv_does_it_to_the_bit(
    height: int, width: int, size: int, times: int, seed: int
) -> None:
    if times:  # whole ratios take another path
        height, width = size * times, size * (1 + seed % 3)
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(stretched(picture, size, size), by_opencv(picture, size))


@st.composite
def robots(draw: st.DrawFn) -> tuple[RobotInterface, int]:
    """An interface with a scale, a pose of several parts in any order, and the number of actions."""
    parts = draw(st.lists(st.sampled_from(["joint", "gripper", "force", "base"]), min_size=1, unique=True))
    pose = tuple((name, draw(st.integers(1, 4))) for name in parts)
    lows = draw(st.lists(finite, min_size=1, max_size=4))
    highs = [low + draw(st.floats(0.5, 100)) for low in lows]
    scale = draw(st.none() | st.just(ActionScale(tuple(lows), tuple(highs))))
    flip = draw(st.sampled_from(["none", "vertical", "horizontal", "both"]))
    names = NAMES[: len(lows)] if draw(st.booleans()) else ()
    rate = draw(st.none() | st.floats(1, 100))
    return RobotInterface(("front",), "stretch", flip, pose, names, scale, rate), len(lows)


@settings(max_examples=60, deadline=None)
@given(robots(), st.integers(4, 40), st.integers(4, 40), st.booleans(), st.integers(0, 9))
def test_a_raw_observation_gives_the_action_of_its_preparation_by_hand(
    robot: tuple[RobotInterface, int], height: int, width: int, bgr: bool, seed: int
) -> None:
    interface, actions = robot
    assert interface.pose is not None
    rng = np.random.default_rng(seed)
    policy = made(interface, sum(size for _, size in interface.pose), actions, seed=seed)
    camera = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pose = {name: rng.normal(size=size) for name, size in interface.pose}
    found = policy.act_robot({"other": camera // 2, "front": camera}, pose, colour="bgr" if bgr else "rgb")

    picture = cv2.cvtColor(camera, cv2.COLOR_BGR2RGB) if bgr else camera
    code = {"none": None, "vertical": 0, "horizontal": 1, "both": -1}[interface.flip]
    picture = by_opencv(picture if code is None else cv2.flip(picture, code), SIZE)
    vector = np.concatenate([pose[name] for name, _ in interface.pose]).astype(np.float32)
    unit = policy.act(picture[None], vector[None])[0].astype(np.float64)
    expected = unit
    if interface.scale is not None:
        low, high = np.array(interface.scale.low), np.array(interface.scale.high)
        expected = low + (unit + 1) / 2 * (high - low)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    shuffled = dict(sorted(pose.items(), reverse=True))
    np.testing.assert_array_equal(
        policy.act_robot({"front": picture}, shuffled), _plain(policy, picture, vector)
    )
    assert RobotInterface.from_json(json.loads(json.dumps(interface.to_json()))) == interface


def _plain(policy: Policy, picture: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The action at a prepared picture, which a flip in the interface turns over once more."""
    flips = {"none": (), "vertical": (0,), "horizontal": (1,), "both": (0, 1)}[policy.expects.known.flip]
    unit = policy.act(np.flip(picture, flips)[None], vector[None])[0]
    scale = policy.action_scale
    return unit.astype(np.float64) if scale is None else scale.to_robot(unit)


def recorded(folder: Path, seed: int = 0, **options: Any) -> Path:
    """A dataset of a robot with cameras of 12x20, relabelled."""
    rng = np.random.default_rng(seed)
    options = {"image_size": SIZE, **options}
    with DatasetWriter(folder, **options) as writer:
        for number in range(3):
            writer.add_episode(
                rng.uniform(-1, 2, (6, 2)),
                images=rng.integers(0, 256, (7, 12, 20, 3), dtype=np.uint8),
                proprio=rng.normal(size=(7, 3)),
                success=number > 0,
            )
    assert cli.run(["relabel", str(folder), "--rule", "recorded_success", "--name", "success"]) == 0
    return folder


ARM = RobotInterface(
    ("front",), pose=(("joint", 2), ("gripper", 1)), action_names=("lift", "turn"), rate=20.0
)
SCALE = ActionScale((-2.0, -1.0), (3.0, 2.0))


def test_a_checkpoint_and_an_exported_policy_hold_all_that_the_robot_needs(tmp_path: Path) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=data))
    policy = Policy.load(tmp_path / "run")
    expected = dataclasses.replace(ARM, resize="stretch", scale=SCALE)
    assert policy.expects.known == expected and policy.action_scale == SCALE
    policy.export(tmp_path / "exported")
    assert Policy.load(tmp_path / "exported").expects.known == expected
    text = str(policy.expects)
    for word in ("front", "8x8", "joint (2), gripper (1)", "lift, turn", "[-2.0, -1.0]", "20 actions"):
        assert word in text
    rng = np.random.default_rng(0)
    camera = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        action = policy.act_robot({"front": camera}, {"gripper": [0.5], "joint": [0.1, 0.2]})
    by_hand = policy.act(by_opencv(camera, SIZE)[None], np.array([[0.1, 0.2, 0.5]]))
    np.testing.assert_array_equal(action, SCALE.to_robot(by_hand)[0])


def test_one_picture_of_any_size_is_seen_as_the_data_hold_it(tmp_path: Path) -> None:
    dataset = open_dataset(recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE))
    rng = np.random.default_rng(0)
    rng.uniform(-1, 2, (6, 2))  # as `recorded` draws its actions first
    camera = rng.integers(0, 256, (7, 12, 20, 3), dtype=np.uint8)
    held = dataset.read(0)[0].images
    assert held is not None
    policy = made(dataclasses.replace(ARM, resize="stretch"), 3, 2)
    for frame, stored in zip(camera, held, strict=True):
        pictures, _ = policy.expects.inputs(frame, np.zeros(3), "rgb")
        assert pictures is not None
        np.testing.assert_array_equal(pictures["image"], stored[None])


@pytest.mark.parametrize(("device", "words"), [("gpu", "must be cpu, cuda"), ("cuda:77", "CUDA devices")])
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(
    tmp_path: Path, device: str, words: str
) -> None:
    with pytest.raises(CogError, match=words):
        Policy.load(tmp_path, device=device)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_channels_are_taken_in_the_order_of_the_data_s_source(tmp_path: Path, colour: Any) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE, colour=colour)
    edited = tmp_path / "edited"
    assert cli.run(["filter", str(data), "--success", "true", "--out", str(edited)]) == 0
    assert cli.run(["relabel", str(edited), "--rule", "recorded_success", "--name", "success"]) == 0
    camera = np.random.default_rng(1).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    seen = by_opencv(camera[:, :, ::-1] if colour == "bgr" else camera, SIZE)
    for number, source in enumerate((data, edited)):
        train(dataclasses.replace(config(tmp_path / f"run{number}", updates=1), data=source))
        policy = Policy.load(tmp_path / f"run{number}")
        assert policy.expects.known.colour == colour and colour.upper() in str(policy.expects)
        by_hand = SCALE.to_robot(policy.act(seen[None], np.zeros((1, 3))))[0]
        np.testing.assert_array_equal(policy.act_robot(camera, np.zeros(3)), by_hand)
        other = policy.act_robot(camera[:, :, ::-1], np.zeros(3), colour="rgb" if colour == "bgr" else "bgr")
        np.testing.assert_array_equal(other, by_hand)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"images": {"wrist": 0}}, "camera 'front', got wrist"),
        ({"images": None}, r"one picture \(H, W, 3\) uint8, got none"),
        ({"images": np.zeros((9, 9, 3))}, "got float64"),
        ({"images": np.zeros((1, 9, 9, 3), np.uint8)}, r"got uint8 \(1, 9, 9, 3\)"),
        ({"images": np.zeros((9, 9, 4), np.uint8)}, r"got uint8 \(9, 9, 4\)"),
        ({"pose": {"joint": [0, 0]}}, r"joint \(2\), gripper \(1\), got joint"),
        ({"pose": {"joint": [0], "gripper": [0]}}, "'joint' must have 2 numbers, got 1"),
        ({"pose": np.zeros(4)}, r"pose of 3 numbers, got shape \(4,\)"),
        ({"pose": ["a", "b", "c"]}, r"the pose must be 3 real numbers \(type <U1\)"),
        ({"pose": "left"}, "the pose must be 3 real numbers"),
        ({"pose": [[0], [0, 0]]}, "the pose must be 3 real numbers"),
        ({"pose": [0, None, 0]}, "pose in row 0 is not finite"),
        ({"pose": [0, 1j, 0]}, r"the pose must be 3 real numbers \(type complex128\)"),
        ({"pose": {"joint": ["a", "b"], "gripper": [0]}}, "the pose's part 'joint' must be 2 real numbers"),
        ({"pose": None}, "pose of 3 numbers, got none"),
        ({"pose": np.ma.masked_equal(np.arange(3), 1)}, r"3 real numbers \(entries are masked\)"),
        (
            {"pose": {"joint": np.ma.masked_equal(np.arange(2), 1), "gripper": [0]}},
            "'joint' must be 2 real numbers",
        ),
        ({"pose": np.array([0, np.nan, 0])}, "pose in row 0 is not finite"),
        ({"pose": np.array([0, 1e39, 0])}, "pose in row 0 is not finite"),
        ({"colour": "bgra"}, "rgb or bgr"),
        ({"noise": np.zeros(5)}, r"noise of shape \(1, 2\)"),
        ({"noise": np.full(2, np.inf)}, "not finite"),
        ({"noise": "left"}, "the noise must be real numbers, found type <U4"),
    ],
)
def test_what_a_policy_cannot_use_is_named_with_what_it_wants(given: dict[str, Any], words: str) -> None:
    policy = made(dataclasses.replace(ARM, resize="stretch"), 3, 2)
    sound: dict[str, Any] = {"images": np.zeros((9, 9, 3), np.uint8), "pose": np.zeros(3)}
    policy.act_robot(**sound)
    with pytest.raises(CogError, match=words):
        policy.act_robot(**sound | given)


@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"proprio": np.zeros((1, 3)) * 1j}, "the poses must be real numbers, found type complex128"),
        ({"proprio": np.array([["a", "b", "c"]])}, "the poses must be real numbers, found type <U1"),
        ({"proprio": [[0, 0], [0]]}, "the poses are no array"),
        ({"images": [1]}, r"images uint8 .* got int64 \(1,\)"),
        ({"noise": np.array([["a", "b"]])}, "the noise must be real numbers, found type <U1"),
    ],
)
def test_what_a_batch_cannot_be_is_named_with_its_type(given: dict[str, Any], words: str) -> None:
    policy = made(None, 3, 2)
    sound: dict[str, Any] = {"images": np.zeros((1, SIZE, SIZE, 3), np.uint8), "proprio": np.zeros((1, 3))}
    listed = sound | {"proprio": [[0.0, 0.0, 0.0]]}
    np.testing.assert_array_equal(policy.act(**listed), policy.act(**sound))
    with pytest.raises(CogError, match=words):
        policy.act(**sound | given)


def test_data_that_kept_the_size_of_their_pictures_want_that_size() -> None:
    policy = made(dataclasses.replace(ARM, resize="keep"), 3, 2)
    with pytest.raises(CogError, match="pictures of 8x8, got 9x8"):
        policy.act_robot(np.zeros((9, 8, 3), np.uint8), np.zeros(3))


def test_what_was_not_recorded_is_warned_of_once_when_it_matters() -> None:
    camera = np.zeros((9, 9, 3), np.uint8)
    policy = made(None, 3, 2)
    policy.act(camera[None, :SIZE, :SIZE], np.zeros((1, 3)))
    with pytest.warns(UserWarning) as told:
        for _ in range(2):
            policy.act_robot({"any": camera}, np.zeros(3))
    assert [sum(word in str(one.message) for one in told) for word in ("action scale", "camera; 'any'")] == [
        1,
        1,
    ]
    assert sum("is stretched" in str(one.message) for one in told) == 1
    with pytest.raises(CogError, match="do not record the names of their pose's parts"):
        policy.act_robot(camera, {"joint": [0, 0, 0]})
    with pytest.raises(CogError, match="were given: left, right"):
        policy.act_robot({"left": camera, "right": camera}, np.zeros(3))


def test_a_pose_that_the_data_lack_is_not_asked_of_the_robot() -> None:
    policy = made(RobotInterface(("front",), "stretch", pose=()), 1, 2)
    camera = np.full((SIZE, SIZE, 3), 7, np.uint8)
    np.testing.assert_array_equal(policy.act_robot(camera), policy.act(camera[None], np.zeros((1, 1)))[0])


def test_a_checkpoint_from_before_loads_and_warns_only_when_it_drives_a_robot(tmp_path: Path) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=data))
    forge(checkpoint.find(tmp_path / "run") / "state.json", scene={"id": "arm"})
    policy = Policy.load(tmp_path / "run")
    assert policy.action_scale is None and "not recorded" in str(policy.expects)
    with pytest.warns(UserWarning, match="action scale"):
        policy.act_robot(np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros(3))


def broken(run: Path, **changes: Any) -> None:
    """Change tensors of the latest checkpoint and give it valid hashes; None takes one away."""
    from safetensors.torch import load_file, save_file

    from cog.core.files import hash_file

    folder = checkpoint.find(run)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name, change in changes.items():
        value = tensors.pop(name)
        if change is not None:
            tensors[name] = change(value)
    save_file(tensors, file)
    hashes = json.loads((folder / "state.json").read_text())["hashes"]
    forge(folder / "state.json", hashes={**hashes, file.name: hash_file(file)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value * torch.nan, "not finite"),
        (lambda value: value[:-1].clone(), "shape"),
        (None, "tensor"),
    ],
)
def test_weights_that_are_not_finite_or_do_not_fit_are_refused_when_loaded(
    tmp_path: Path, change: Any, words: str
) -> None:
    train(config(tmp_path / "run", updates=1), noise())
    broken(tmp_path / "run", **{"average.actor.mean.bias": change})
    with pytest.raises(CogError, match=f"model.safetensors: .*{words}"):
        Policy.load(tmp_path / "run")


def test_an_action_that_is_not_finite_never_reaches_the_robot() -> None:
    policy = made(dataclasses.replace(ARM, resize="stretch", scale=SCALE), 3, 2)
    policy.network.actor.mean.bias.data[1] = torch.nan
    with pytest.raises(CogError, match="actions in row 0 are not finite"):
        policy.act_robot(np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros(3))


LIGHT = """
import sys

ALLOWED = {"cog", "torch", "torchgen", "functorch", "numpy", "safetensors"}
ALLOWED |= {"sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock", "typing_extensions"}

class Bare:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        own = top in sys.stdlib_module_names or top.startswith(("__editable__", "_sysconfigdata"))
        return self.finder.find_spec(name, path, target) if own or top in ALLOWED else None

sys.meta_path[:] = [Bare(finder) for finder in sys.meta_path]
import numpy
import torch
from cog import Policy

torch.set_num_threads(1)
for path in sys.argv[1:]:
    policy = Policy.load(path)
    print(policy.act_robot(numpy.full((12, 20, 3), 9, numpy.uint8), numpy.ones(3)).tolist())
"""


def test_a_robot_s_computer_needs_pytorch_numpy_and_safetensors_alone(tmp_path: Path) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=data))
    policy = Policy.load(tmp_path / "run")
    policy.export(tmp_path / "small")
    command = [sys.executable, "-c", LIGHT, str(tmp_path / "run"), str(tmp_path / "small")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    expected = policy.act_robot(np.full((12, 20, 3), 9, np.uint8), np.ones(3))
    for line in ended.stdout.splitlines():
        np.testing.assert_allclose(json.loads(line), expected, atol=1e-6)
    assert len(ended.stdout.splitlines()) == 2
