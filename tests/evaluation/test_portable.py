"""An exported policy acts as the original does, without this toolkit, and says what the robot must know."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cog import cli
from cog.algorithms import ALGORITHMS, algorithm
from cog.core.sealed import read_sealed
from cog.datasets.action_scale import ActionScale
from cog.datasets.robot_interface import RobotInterface
from cog.errors import CogError, UsageError
from cog.evaluation import portable
from cog.evaluation.exported import Exported
from cog.evaluation.policy import Policy
from cog.evaluation.portable import export_policy, fixed_draws
from cog.networks.encoder import ObservationShape
from cog.training.train import train
from tests.evaluation.test_robot import ARM, SCALE, recorded
from tests.helpers.learner_data import config

SIZE, POSE, ACTIONS, ROWS = 8, 4, 3, 6
SUFFIX = {"torch": ".pt2", "onnx": ".onnx"}


def policy_of(
    name: str, images: bool, scale: ActionScale | None = None, critics: bool = False, **changes: Any
) -> Policy:
    """A policy of an algorithm with random weights, wide enough apart that its inputs count."""
    kind, run = algorithm(name), config(algorithm=name, **changes)
    shape = ObservationShape((SIZE, SIZE, 3) if images and kind.sees_images else None, POSE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind.build_policy(shape, ACTIONS, run.network, run.algorithm)
        critic = kind.build_critics(shape, ACTIONS, run.network) if critics else None
        for value in [*network.parameters(), *(critic.parameters() if critic else ())]:
            value.data.add_(0.2 * torch.randn_like(value))
    interface = RobotInterface(scale=scale)
    origin = Exported(network, run.algorithm, shape, ACTIONS, run.network, 1, interface)
    return Policy(network, shape, 1, critic, origin)


def observations(policy: Policy, seed: int = 0) -> tuple[dict[str, np.ndarray] | None, np.ndarray]:
    """Random observations that fit a policy."""
    rng = np.random.default_rng(seed)
    images = None
    if policy.shape.image is not None:
        images = {"image": rng.integers(0, 256, (ROWS, *policy.shape.image), dtype=np.uint8)}
    return images, rng.normal(size=(ROWS, POSE)).astype(np.float32)


def runner(file: Path) -> Callable[..., np.ndarray]:
    """What the packages alone compute from an exported file."""
    if file.suffix == ".pt2":
        module = torch.export.load(file).module()
        return lambda *inputs: module(*map(torch.from_numpy, inputs)).detach().numpy()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    assert names == [
        entry["name"] for entry in json.loads(file.with_name(f"{file.name}.json").read_text())["inputs"]
    ]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


WAYS = ("bc", "bcq", "bear", "fql", "idql", "mopo", "q_cem", "td3")
"""An algorithm for each way of acting; the others build the same networks."""


def way(name: str) -> set[type]:
    """The kinds of modules of which an algorithm's policy consists."""
    return {type(part) for part in policy_of(name, images=True).network.modules()}


def test_no_algorithm_acts_in_a_way_that_is_not_exported_here() -> None:
    assert {frozenset(way(name)) for name in ALGORITHMS} == {frozenset(way(name)) for name in WAYS}


@pytest.fixture(autouse=True)
def few_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "TIMED", 2)


@pytest.mark.parametrize("kind", ["torch", "onnx"])
@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_acting_leaves_and_acts_the_same(name: str, kind: Any, tmp_path: Path) -> None:
    switches = {} if name in ("td3", "mopo") else {"switches": 1}
    policy = policy_of(name, images=True, scale=ActionScale((-2.0, 0.0, -1.0), (3.0, 0.5, 1.0)), **switches)
    images, poses = observations(policy)
    out = tmp_path / f"policy{SUFFIX[kind]}"
    done = export_policy(policy, out, kind, images, poses)
    assert done.observations == ROWS and done.largest < 1e-5 and done.apart == 0
    run = runner(out)
    for row in range(ROWS):
        here = slice(row, row + 1)
        seen = None if images is None else images["image"][here]
        inputs = [poses[here]] if seen is None else [seen, poses[here]]
        expected = policy.expects.outputs(policy.act(seen, poses[here]))
        np.testing.assert_allclose(run(*inputs), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "images"), [("torch", True), ("torch", False), ("onnx", True)])
def test_the_critics_choice_and_draws_leave_too(kind: Any, images: bool, tmp_path: Path) -> None:
    policy = policy_of("cql", images, critics=True, switches=1)
    seen, poses = observations(policy)
    chooser, drawer = tmp_path / f"choice{SUFFIX[kind]}", tmp_path / f"draw{SUFFIX[kind]}"
    export_policy(policy, chooser, kind, seen, poses, "critic", 4)
    export_policy(policy, drawer, kind, seen, poses, "sample")
    noise = np.random.default_rng(1).normal(size=(ROWS, 1, ACTIONS)).astype(np.float32)
    choose, draw_one, picked = runner(chooser), runner(drawer), set()
    for row in range(ROWS):
        image = None if seen is None else seen["image"][row : row + 1]
        inputs = [one for one in (image, poses[row : row + 1]) if one is not None]
        offered = [policy.act(image, poses[row : row + 1], draw[None]) for draw in fixed_draws(4, ACTIONS)]
        offered.append(policy.act(image, poses[row : row + 1]))
        values = [policy.value(image, poses[row : row + 1], action)[0] for action in offered]
        picked.add(int(np.argmax(values)))
        np.testing.assert_allclose(choose(*inputs), offered[int(np.argmax(values))], atol=1e-5)
        drawn = policy.act(image, poses[row : row + 1], noise[row])
        np.testing.assert_allclose(draw_one(*inputs, noise[row]), drawn, atol=1e-5)
    assert len(picked) > 1


bounds = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(0.01, 1e3)), min_size=ACTIONS, max_size=ACTIONS)


@settings(max_examples=8, deadline=None)
@given(bounds, st.integers(0, 99))
def test_actions_leave_in_the_robot_s_units_whatever_they_are(
    tmp_path_factory: pytest.TempPathFactory, bounds: list[tuple[float, float]], seed: int
) -> None:
    low = np.array([one for one, _ in bounds])
    high = low + np.array([width for _, width in bounds])
    policy = policy_of("bc", images=False, scale=ActionScale(tuple(low), tuple(high)))
    _, poses = observations(policy, seed)
    out = tmp_path_factory.mktemp("units") / "policy.pt2"
    export_policy(policy, out, "torch", None, poses)
    unit = policy.act(None, poses[:1]).astype(np.float64)
    np.testing.assert_allclose(runner(out)(poses[:1]), low + (unit + 1) / 2 * (high - low), rtol=1e-12)


def test_the_command_exports_a_run_compares_and_tells_the_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=data))
    out = tmp_path / "policy.pt2"
    line = ["export", "policy", str(tmp_path / "run"), "--out", str(out), "--acting", "critic"]
    assert cli.run([*line, "--candidates", "3", "--observations", "10"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "10 recorded observations: largest difference",
        "ms in cog",
        "ms exported",
        "front",
        "lift",
    ):
        assert words in said
    facts = read_sealed(tmp_path / "policy.pt2.json", "portable policy", "facts", "")
    expected = dataclasses.replace(ARM, resize="stretch", scale=SCALE)
    assert RobotInterface.from_json(facts["robot_interface"]) == expected
    assert facts["inputs"] == [
        {"name": "image", "shape": [1, 8, 8, 3], "type": "uint8"},
        {"name": "pose", "shape": [1, 3], "type": "float32"},
    ]
    assert (facts["acting"], facts["candidates"], facts["output"]["units"]) == ("critic", 3, "the robot's")
    before = out.read_bytes()
    assert cli.run(line) == 1 and out.read_bytes() == before
    assert "exists already" in capsys.readouterr().err


def test_an_exported_policy_needs_data_to_be_compared_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recorded(tmp_path / "arm", interface=ARM, action_scale=SCALE)
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=data))
    Policy.load(tmp_path / "run").export(tmp_path / "small")
    line = ["export", "policy", str(tmp_path / "small"), "--out", str(tmp_path / "p.pt2")]
    assert cli.run(line) == 1 and "--data" in capsys.readouterr().err
    assert cli.run([*line, "--data", str(data), "--observations", "5"]) == 0
    capsys.readouterr()
    for command in (
        ["why", "small"],
        *(["evaluate", "--out", "e", "--checkpoint", x] for x in ("small", "p.pt2")),
    ):
        assert cli.run([*command[:-1], str(tmp_path / command[-1])]) == 1
        assert "is an exported policy" in capsys.readouterr().err
    data.rename(tmp_path / "gone")
    line[2], line[4] = str(tmp_path / "run"), str(tmp_path / "q.pt2")
    assert cli.run(line) == 1 and "--data" in capsys.readouterr().err


def test_a_file_that_acts_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("bc", images=False)
    _, poses = observations(policy)
    real = portable._runner
    monkeypatch.setattr(portable, "_runner", lambda *given: lambda inputs: real(*given)(inputs) + 0.01)
    with pytest.raises(CogError, match=rf"otherwise at {ROWS} of {ROWS} observations, by up to 0\.005"):
        export_policy(policy, tmp_path / "policy.pt2", "torch", None, poses)
    assert not any(tmp_path.iterdir())


def test_a_name_that_says_another_format_is_refused(tmp_path: Path) -> None:
    policy = policy_of("bc", images=False)
    with pytest.raises(UsageError, match=r"must end in \.onnx for format onnx"):
        export_policy(policy, tmp_path / "policy.pt2", "onnx", *observations(policy))


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cog.core import lazy

    real = lazy.importlib.util.find_spec
    monkeypatch.setattr(
        lazy.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else real(name)
    )
    policy = policy_of("bc", images=False)
    with pytest.raises(CogError, match=r"'onnxscript' \(of the extra 'onnx'\)"):
        export_policy(policy, tmp_path / "policy.onnx", "onnx", *observations(policy))


ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split():
            raise ImportError(f"{name} is not on this machine")

sys.meta_path.insert(0, Refuse())
"""


def alone(script: str, *arguments: str, refused: str) -> str:
    """What a script prints in a new Python that cannot import the packages named in `refused`."""
    command = [sys.executable, "-c", ALONE + script, arguments[0], refused, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_file_for_pytorch_needs_pytorch_alone(tmp_path: Path) -> None:
    policy = policy_of("bcq", images=False)
    _, poses = observations(policy)
    export_policy(policy, tmp_path / "policy.pt2", "torch", None, poses)
    script = """
import torch
module = torch.export.load(sys.argv[1]).module()
print(module(torch.zeros(1, 4)).tolist())
"""
    said = alone(script, str(tmp_path / "policy.pt2"), refused="cog safetensors h5py cv2 gymnasium")
    found = np.array(json.loads(said))
    np.testing.assert_allclose(found, policy.act(None, np.zeros((1, POSE))), atol=1e-6)
