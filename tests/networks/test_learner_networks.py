"""Networks, settings and the acting policy."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cog.algorithms.cql import CQL
from cog.core.configs import differences, from_json, to_json
from cog.errors import CogError, UsageError
from cog.evaluation.policy import Policy
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.encoder import Encoder, ObservationShape
from cog.replay.buffer import Buffer
from cog.training.config import TrainConfig
from cog.training.presets import preset
from cog.training.setup import create
from cog.training.train import train
from tests.helpers.learner_data import config, noise, steps_of


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_paper_networks_have_the_reference_s_number_of_parameters() -> None:
    network = preset("paper", Path("data"), Path("out")).network
    shape = ObservationShape((48, 48, 3), 10)
    assert count(Critic(shape, 8, network)) == 2 * 3_029_985
    assert count(CQL.build_policy(shape, 8, network, CQL.Config())) == 3_223_024


def test_bytes_and_unit_floats_are_the_same_image() -> None:
    encoder = Encoder(ObservationShape((16, 16, 3), 4), NetworkConfig())
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    pose = torch.randn(3, 4)
    torch.testing.assert_close(encoder(images, pose), encoder(images.float() / 255, pose))


def test_both_critics_differ_and_share_nothing_but_the_encoder() -> None:
    critic = Critic(ObservationShape(None, 4), 2, NetworkConfig())
    states = critic.project(critic.encode(None, torch.randn(5, 4)))
    q = critic.q(states, torch.rand(5, 1, 2, requires_grad=True))
    assert not torch.allclose(q[0], q[1])
    gradients = torch.autograd.grad(q[0].sum(), list(critic.hidden.parameters()))
    assert all(float(g[0].abs().sum()) > 0 and float(g[1].abs().sum()) == 0 for g in gradients)


def test_acting_is_never_augmented_whatever_the_batch_size(tmp_path: Path) -> None:
    data = noise()
    train(config(tmp_path / "run", shift=4, updates=3), data)
    policy = Policy.load(tmp_path / "run")
    together = policy.act(data.frames[:6], data.proprio[:6])
    alone = np.concatenate([policy.act(data.frames[i : i + 1], data.proprio[i : i + 1]) for i in range(6)])
    assert together.shape == (6, 3) and together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.array_equal(together, policy.act(data.frames[:6], data.proprio[:6]))


def test_training_shifts_images_only_when_asked() -> None:
    data = noise()
    for shift, same in ((0, True), (3, False)):
        buffer = Buffer(data, torch.device("cpu"), 8, "uniform", 0.9)
        agent = create(config(shift=shift), buffer)
        batch = buffer.sample(agent.generator)
        assert isinstance(agent, CQL)
        images, _ = agent.augmented(batch, agent.draws(len(batch.actions)).shifts)
        assert images is not None and batch.images is not None
        assert torch.equal(images, batch.images) == same


def test_of_the_candidates_the_one_with_the_largest_lower_q_acts(tmp_path: Path) -> None:
    data = noise()
    train(config(tmp_path / "run", updates=3), data)
    policy = Policy.load(tmp_path / "run", critics=True)
    draws = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(np.float32)
    chosen = policy.choose(data.frames[:6], data.proprio[:6], draws)
    offered = [policy.act(data.frames[:6], data.proprio[:6], draws[:, i]) for i in range(5)]
    offered.append(policy.act(data.frames[:6], data.proprio[:6]))
    images = torch.from_numpy(data.frames[:6]).permute(0, 3, 1, 2)
    critic = policy.critic
    assert critic is not None
    states = critic.project(critic.encode(images, torch.from_numpy(data.proprio[:6])))
    for row in range(6):
        here = torch.from_numpy(np.stack([actions[row] for actions in offered]))[None]
        lower = critic.q(states[:, row : row + 1], here).min(0).values[0]
        assert np.allclose(chosen[row], here[0, int(lower.argmax())].numpy(), atol=1e-6)


def test_a_policy_without_critics_refuses_to_choose(tmp_path: Path) -> None:
    train(config(tmp_path / "run", updates=1, algorithm="bc"), noise())
    with pytest.raises(CogError, match="'bc', without"):
        Policy.load(tmp_path / "run", critics=True)


def test_policy_refuses_observations_it_was_not_trained_for(tmp_path: Path) -> None:
    data = noise()
    train(config(tmp_path / "run", updates=1), data)
    policy = Policy.load(tmp_path / "run")
    with pytest.raises(CogError, match="images"):
        policy.act(data.frames[:2, :8], data.proprio[:2])
    with pytest.raises(CogError, match="images"):
        policy.act(data.frames[:2].astype(np.float32), data.proprio[:2])
    with pytest.raises(CogError, match="poses"):
        policy.act(data.frames[:2], data.proprio[:2, :3])


def test_cloning_fits_a_simple_mapping_and_acts_it_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(2.0, 3.0, (600, 3))
    actions = 0.9 * np.tanh((states - 2) @ rng.normal(size=(3, 2)) / 3)
    data = steps_of(states[:500], actions[:500], np.zeros(500), states[:500])
    settings = config(
        tmp_path / "run",
        algorithm="bc",
        batch_size=64,
        updates=400,
        lr=3e-3,
        actor_widths=(64, 64),
        schedule="cosine",
        average_decay=0.95,
        log_every=100,
        checkpoint_every=1000,
    )
    train(settings, data)
    acted = Policy.load(tmp_path / "run").act(None, states[500:])
    error = ((acted - actions[500:]) ** 2).mean()
    assert error < 0.05 * actions.var()


def test_averaged_weights_trail_the_current_ones_and_decay_zero_follows_at_once() -> None:
    data = noise()
    for decay in (0.0, 0.9):
        buffer = Buffer(data, torch.device("cpu"), 8, "uniform", 0.9)
        agent = create(config(average_decay=decay, actor_lr=1e-2), buffer)
        for _ in range(30):
            agent.update(buffer.sample(agent.generator))
        equal = torch.equal(agent.average.actor.mean.weight, agent.actor.mean.weight)
        assert equal == (decay == 0.0)


@pytest.mark.parametrize("name", ["cpu", "paper"])
def test_settings_survive_json(name: str) -> None:
    settings = preset(name, Path("data"), Path("out"))
    assert from_json(json.loads(json.dumps(to_json(settings))), TrainConfig) == settings
    assert differences(to_json(settings), to_json(settings)) == []


def test_unknown_wrong_and_contradictory_settings_are_refused_by_name() -> None:
    values = to_json(preset("cpu", Path("data"), Path("out")))
    with pytest.raises(UsageError, match="learning_rate"):
        from_json(values | {"learning_rate": 1.0}, TrainConfig)
    with pytest.raises(UsageError, match="algorithm: unknown field 'gamma'"):
        from_json(values | {"algorithm": {"name": "cql", "gamma": 0.9}}, TrainConfig)
    with pytest.raises(UsageError, match="batch_size"):
        from_json(values | {"batch_size": "many"}, TrainConfig)
    with pytest.raises(UsageError, match="algorithm"):
        from_json(values | {"algorithm": {"name": "nothing"}}, TrainConfig)
    with pytest.raises(UsageError, match="discount"):
        from_json(values | {"algorithm": {"name": "cql", "discount": 1.0}}, TrainConfig)
    with pytest.raises(UsageError, match="paper"):
        preset("laptop", Path("data"), Path("out"))


def test_settings_differences_are_named_with_their_path() -> None:
    first = to_json(preset("cpu", Path("data"), Path("out")))
    second = to_json(TrainConfig(Path("data"), Path("out"), seed=3, network=NetworkConfig(bottleneck=7)))
    assert differences(first, second) == ["network.bottleneck", "seed"]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("cog.training.config", ["torch", "numpy", "tyro"]),
        ("cog.algorithms.cql", ["pybullet", "gymnasium", "h5py", "wandb"]),
        ("cog.training.train", ["pybullet", "gymnasium", "h5py", "wandb"]),
        ("cog.evaluation.policy", ["pybullet", "gymnasium", "h5py", "wandb"]),
    ],
)
def test_importing_the_learner_loads_no_simulator_and_settings_only_the_standard_library(
    module: str, absent: list[str]
) -> None:
    code = f"import sys, {module}; sys.exit(', '.join({set(absent)!r} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_units_of_the_pose_do_not_matter_to_the_networks() -> None:
    features = []
    for scale, offset in ((1.0, 0.0), (100.0, 7.0)):
        data = noise()
        data.proprio = data.proprio * scale + offset
        buffer = Buffer(data, torch.device("cpu"), 8, "uniform", 0.9)
        agent = create(config(), buffer)
        batch = buffer.gather(torch.arange(8))
        features.append(agent.average.encoder(batch.images, batch.proprio))
    torch.testing.assert_close(features[0], features[1], rtol=1e-3, atol=1e-4)


def test_a_gradient_laid_out_otherwise_in_memory_moves_the_right_weights() -> None:
    agent = create(config(), Buffer(noise(), torch.device("cpu"), 8, "uniform", 0.9))
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    agent.add_optimizer("test", [weight], lr=1.0)
    target = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    agent.step("test", torch.autograd.grad((weight.t() * target.t().contiguous()).sum(), [weight]))
    torch.testing.assert_close(weight.detach(), -target)  # Adam's first step is the gradient's sign
