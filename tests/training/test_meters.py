"""Failure meters: each against a truth by hand, and none of them felt by the run that it watches."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from cog.algorithms import ALGORITHMS, algorithm
from cog.algorithms.shared.base import Algorithm
from cog.networks.config import NetworkConfig
from cog.networks.distribution import Deterministic
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.guard import Diverged
from cog.training.meters import behaviour
from cog.training.meters.behaviour import Behaviour
from cog.training.meters.meters import Meters
from cog.training.meters.rollout import Stretches, remaining
from cog.training.meters.support import Describer, Support
from cog.training.metrics import read_metrics
from cog.training.seeds import train_seeds
from cog.training.setup import create
from cog.training.train import train
from tests.helpers.learner_data import config, noise, steps_of, suited

CPU = torch.device("cpu")
OWN = ("meter/action_distance", "meter/log_likelihood", "meter/data_distance", "meter/data_log_likelihood")
VALUES = ("meter/q_policy", "meter/q_data", "meter/q_size")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone that is hardly trained."""
    monkeypatch.setattr(behaviour, "UPDATES", 3)


def read_meters(name: str = "cql", data: Any = None, **changes: Any) -> tuple[Algorithm[Any], Meters]:
    """A small agent, and its meters."""
    settings = config(algorithm=name, **changes)
    held = suited({"algorithm": name}) if data is None else data
    buffer = Buffer(held, CPU, settings.batch_size, "uniform", *settings.algorithm.returns())
    return create(settings, buffer), Meters(settings, buffer)


class Follows(nn.Module):
    """A policy that does in every state what a function of the pose says."""

    noise_dimensions = 2

    def __init__(self, action: Any) -> None:
        super().__init__()
        self.action = action

    def forward(self, images: Tensor | None, poses: Tensor) -> Deterministic:
        return Deterministic(self.action(poses))


def smooth(poses: Any) -> Any:
    """What the data do at poses (B, 2): a smooth function of it, two components in [-1, 1]."""
    return 0.5 * torch.as_tensor(poses).clamp(-1, 1)


def smooth_data() -> Any:
    """Two hundred steps along a line, at each of which the data do what `smooth` says."""
    states = np.random.default_rng(0).uniform(-1, 1, (201, 2)).astype(np.float32)
    actions = smooth(states[:-1]).numpy()
    made = steps_of(states[:-1], actions, np.zeros(200), states[1:])
    made.proprio, made.frame_index = states, np.arange(200)
    return made


@pytest.mark.parametrize(("action", "distance", "outside"), [(smooth, 0.0, 0.05), (None, None, 1.0)])
def test_a_policy_that_copies_the_data_is_inside_and_one_far_away_is_outside(
    action: Any, distance: float | None, outside: float
) -> None:
    agent, meters = read_meters("td3_bc", smooth_data())
    away = Follows(action or (lambda poses: torch.full((len(poses), 2), -0.95) * smooth(poses).sign()))
    agent.average = away  # type: ignore[assignment]
    agent.policy = lambda: away  # type: ignore[method-assign,assignment,return-value]
    found = meters.read(agent)
    if distance is not None:
        assert found["meter/action_distance"] == distance
        assert found["meter/outside_share"] <= outside
    else:
        assert found["meter/action_distance"] > found["meter/data_distance"]
        assert found["meter/outside_share"] == outside


def test_the_distance_is_to_the_nearest_action_among_the_nearest_states() -> None:
    states = torch.tensor([[0.0], [0.1], [5.0]])
    actions = torch.tensor([[0.0, 0.0], [0.3, 0.4], [-1.0, -1.0]])
    support = Support(states, actions, neighbours=2)
    asked = torch.tensor([[-1.0, -1.0], [0.3, 0.0]])
    found = support.distance(torch.tensor([[0.0], [0.05]]), asked)  # the exact match at 5 is too far away
    assert found.tolist() == pytest.approx([math.sqrt(2), 0.3])
    # Left out of their own neighbours: 0 to 1 and 1 to 0 are 0.5 apart, 2 has only far ones.
    lone = support.distance(states, actions, apart=torch.arange(3))
    assert lone.tolist() == pytest.approx([0.5, 0.5, math.sqrt(2)])
    assert support.band == pytest.approx(float(lone.quantile(0.95)))


def test_data_that_always_do_the_same_leave_a_little_room_and_one_step_alone_is_a_reference() -> None:
    states, actions = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(30, 2)
    support = Support(states, actions)
    assert support.band == 0.01
    near, far = torch.full((30, 2), 1e-4), torch.full((30, 2), 0.1)
    assert not support.outside(states, near).any() and support.outside(states, far).all()
    assert Support(states[:1], actions[:1]).outside(states, far).all()


def test_another_setting_of_a_switch_is_two_away() -> None:
    data = noise(images=False)
    data.actions[:] = 0.6  # of which the last component counts as 1
    agent, meters = read_meters("bc", data, switches=1)
    agent.average = Follows(lambda poses: torch.tensor([[0.6, 0.6, -1.0]]).expand(len(poses), -1))  # type: ignore[assignment]
    assert meters.read(agent)["meter/action_distance"] == pytest.approx(2.0)


@pytest.mark.parametrize("images", [True, False])
def test_pose_and_picture_count_the_same_in_a_description(images: bool) -> None:
    buffer = Buffer(noise(images=images), CPU, 8, "uniform", 0.9)
    steps = torch.arange(len(buffer.actions))
    described = Describer(buffer, steps)(torch.arange(60))
    assert described.shape[1] == 4 + images * 3 * 12 * 12
    assert float(described[:, :4].var(0, correction=0).sum()) == pytest.approx(1, rel=1e-3)
    if images:
        seen = Describer(buffer, steps)(buffer.frame_index)
        assert float(seen[:, 4:].var(0, correction=0).sum()) == pytest.approx(1, rel=1e-3)


def test_the_likelihood_of_a_known_gaussian_is_that_by_hand() -> None:
    cloned = Behaviour(2, 3, NetworkConfig(), CPU)
    with torch.no_grad():
        for head, values in ((cloned.actor.mean, [0.1, -0.4, 0.9]), (cloned.actor.log_std, [-1.0, 0.0, 0.5])):
            head.weight.zero_()
            head.bias.copy_(torch.tensor(values))
    actions = np.array([[0.2, -0.5, 0.7], [-0.9, 0.1, 0.0]])
    expected = norm.logpdf(np.arctanh(actions), [0.1, -0.4, 0.9], np.exp([-1.0, 0.0, 0.5]))
    expected = (expected - np.log(1 - actions**2)).sum(1)
    found = cloned.log_likelihood(torch.zeros(2, 2), torch.tensor(actions, dtype=torch.float32))
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_the_clone_finds_the_behaviour_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "UPDATES", 200)
    monkeypatch.setattr(behaviour, "WIDTHS", (16,))
    data = noise(frames=3001, images=False, actions=1)
    drawn = np.random.default_rng(1).normal(0.5, 0.3, (3000, 1))
    data.actions = np.tanh(drawn).astype(np.float32)
    agent, meters = read_meters("bc", data)
    agent.average = Follows(lambda poses: torch.full((len(poses), 1), math.tanh(0.5)))  # type: ignore[assignment]
    found = meters.read(agent)
    density = norm.logpdf(drawn, 0.5, 0.3) - np.log(1 - data.actions**2)
    assert found["meter/data_log_likelihood"] == pytest.approx(density.mean(), abs=0.15)
    mode = norm.logpdf(0.5, 0.5, 0.3) - math.log(1 - math.tanh(0.5) ** 2)
    assert found["meter/log_likelihood"] == pytest.approx(mode, abs=0.15)


def test_values_are_those_of_the_choosing_critics_and_growth_is_in_powers_of_ten() -> None:
    agent, meters = read_meters("cql", noise(images=False))
    first = meters.read(agent)
    assert "meter/q_growth" not in first
    buffer = meters.buffer
    probed = buffer.draw(torch.Generator().manual_seed(0 ^ 1_000_003), 256).unique()
    batch = buffer.gather(probed)
    with torch.no_grad():
        states = agent.target.project(agent.target.encode(None, batch.proprio))  # type: ignore[operator,union-attr]
        data = agent.target.q(states, batch.actions[:, None])[..., 0]  # type: ignore[operator,union-attr]
        acting = agent.average(None, batch.proprio).mode()
        policy = agent.target.q(states, acting[:, None])[..., 0]  # type: ignore[operator,union-attr]
        assert first["meter/q_data"] == pytest.approx(float(data.amin(0).mean()), rel=1e-4)
        assert first["meter/q_policy"] == pytest.approx(float(policy.amin(0).mean()), rel=1e-4)
        size = max(float(data.abs().max()), float(policy.abs().max()))
        assert first["meter/q_size"] == pytest.approx(size, rel=1e-4)
        for weight in agent.target.last.parameters():  # type: ignore[union-attr]
            weight *= 100
    assert meters.read(agent)["meter/q_growth"] == pytest.approx(2, abs=1e-4)


class Drifts:
    """A model of episodes that add their first actions to the state, off by `drift` a step; two members."""

    def __init__(self, drift: float) -> None:
        self.drift = drift

    def predict(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        true = states + actions[:, :2]
        spread = torch.tensor([[[0.3]], [[-0.3]]])  # whose mean is the truth
        return true + self.drift + spread, torch.zeros(2, len(states))


@pytest.mark.parametrize("drift", [0.0, 0.25])
def test_the_error_of_a_perfect_model_is_zero_and_that_of_a_drift_grows_with_the_horizon(
    drift: float,
) -> None:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (36, 3)).astype(np.float32)
    # Episodes of 24 and 12 steps: only the longer one has stretches of 20.
    walks = [
        np.vstack([np.zeros((1, 2)), actions[part, :2].cumsum(0)]) for part in (slice(24), slice(24, 36))
    ]
    data = steps_of(np.zeros((36, 2)), actions, np.zeros(36), np.zeros((36, 2)))
    data.proprio = np.vstack(walks).astype(np.float32)
    data.frame_index = np.concatenate([np.arange(24), np.arange(25, 37)])
    buffer = Buffer(data, CPU, 8, "uniform", 0.9)
    assert remaining(buffer.frame_index).tolist() == [*range(24, 0, -1), *range(12, 0, -1)]
    stretches = Stretches(buffer, torch.Generator().manual_seed(0))
    assert stretches.states.shape == (5, 21, 2)
    found = stretches.errors(Drifts(drift))
    unit = float((drift / buffer.pose_statistics()[1]).square().mean().sqrt())
    assert found == pytest.approx({h: h * unit for h in (1, 5, 10, 20)}, rel=1e-3, abs=1e-5)


def test_short_episodes_have_fewer_horizons_and_a_model_that_runs_away_is_cut_off() -> None:
    data = smooth_data()
    data.frame_index = np.arange(200) + np.arange(200) // 7  # episodes of seven steps
    data.proprio = np.zeros((230, 2), np.float32)
    stretches = Stretches(Buffer(data, CPU, 8, "uniform", 0.9), torch.Generator().manual_seed(0))
    assert stretches.horizons == (1, 5)
    assert stretches.errors(Drifts(math.inf)) == {1: 1e6, 5: 1e6}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_can_be_metered(name: str) -> None:
    agent, meters = read_meters(name)
    before, everywhere = agent.generator.get_state(), torch.get_rng_state()
    weights = {key: value.clone() for key, value in agent.state_dict().items()}
    meters.read(agent)
    found = meters.read(agent)
    expected = set(OWN)
    if algorithm(name).choosing_critics is not None:
        expected |= {*VALUES, "meter/q_growth"}
    if algorithm(name).bootstraps_from == "policy":
        expected.add("meter/outside_share")
    assert {key for key in found if not key.startswith("meter/model_error_")} == expected
    assert all(math.isfinite(value) for value in found.values())
    assert torch.equal(agent.generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), everywhere)
    assert all(torch.equal(value, weights[key]) for key, value in agent.state_dict().items())


def split(run: Path) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """The lines of a run without its meters, and its meters."""
    lines = read_metrics(run)
    plain = [{key: value for key, value in line.items() if "meter/" not in key} for line in lines]
    return plain, [{key: value for key, value in line.items() if "meter/" in key} for line in lines]


@pytest.mark.parametrize("name", ["cql", "td3_bc"])
def test_a_run_with_meters_learns_to_the_bit_what_one_without_learns(tmp_path: Path, name: str) -> None:
    changes: dict[str, Any] = {"algorithm": name, "shift": 2, "sampling": "balanced"}
    train(config(tmp_path / "plain", **changes), noise())
    train(config(tmp_path / "watched", meter_every=2, **changes), noise())
    for kind in checkpoint.TENSOR_FILES:
        plain, watched = (checkpoint.find(tmp_path / run) / kind for run in ("plain", "watched"))
        assert plain.read_bytes() == watched.read_bytes()
    assert split(tmp_path / "plain")[0] == split(tmp_path / "watched")[0]
    metered = [bool(line) for line in split(tmp_path / "watched")[1]]
    assert metered == [False, True] * 4


def test_a_run_that_was_interrupted_logs_the_same_meters(tmp_path: Path) -> None:
    train(config(tmp_path / "whole", updates=8, meter_every=2), noise())
    train(config(tmp_path / "parts", updates=5, meter_every=2), noise())
    train(config(tmp_path / "parts", updates=8, meter_every=2), noise(), resume=True)
    whole, parts = ((tmp_path / run / "metrics.jsonl").read_bytes() for run in ("whole", "parts"))
    assert whole == parts and whole.count(b"meter/q_growth") == 3


def test_meters_between_two_logged_lines_have_a_line_of_their_own_that_a_longer_run_keeps(
    tmp_path: Path,
) -> None:
    train(config(tmp_path / "whole", updates=8, log_every=4, meter_every=3), noise())
    assert [line["update"] for line in read_metrics(tmp_path / "whole")] == [3, 4, 6, 8]
    train(config(tmp_path / "parts", updates=6, log_every=4, meter_every=3), noise())
    train(config(tmp_path / "parts", updates=8, log_every=4, meter_every=3), noise(), resume=True)
    whole, parts = ((tmp_path / run / "metrics.jsonl").read_bytes() for run in ("whole", "parts"))
    assert whole == parts


def test_each_of_several_seeds_logs_the_meters_that_it_logs_alone(tmp_path: Path) -> None:
    settings = config(tmp_path / "together", updates=4, meter_every=2)
    train_seeds(settings, (0, 1), noise())
    for seed in (0, 1):
        train(dataclasses.replace(settings, out=tmp_path / f"alone{seed}", seed=seed), noise())
        together, alone = (
            tmp_path / run / "metrics.jsonl" for run in (f"together/seed{seed}", f"alone{seed}")
        )
        assert together.read_bytes() == alone.read_bytes()
        assert "meter/q_size" in json.loads(alone.read_text().splitlines()[-1])


def test_a_meter_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meters, "read", lambda *_: {"meter/q_policy": math.nan})
    with pytest.raises(Diverged, match="meter/q_policy not finite"):
        train(config(tmp_path / "run", meter_every=2), noise())
