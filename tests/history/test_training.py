"""Training with a history: every learner, several cameras, resuming, refusals, a task that needs it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cog.algorithms import ALGORITHMS, algorithm
from cog.core.configs import to_json
from cog.core.sealed import read_sealed
from cog.errors import CogError, UsageError
from cog.evaluation.memory import Memory
from cog.evaluation.policy import Policy
from cog.networks.images.augment import random_shift
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.metrics import read_metrics
from cog.training.setup import create
from cog.training.train import train
from tests.helpers.learner_data import Made, config, noise
from tests.training.test_train import assert_same_run

REMEMBERING = [name for name in ALGORITHMS if algorithm(name).remembers]


class StoppedError(Exception):
    """Ends a run in its middle."""


def stop_at(number: int) -> Any:
    def stop(update: int, total: int, metrics: Mapping[str, float]) -> None:
        if update == number:
            raise StoppedError

    return stop


def two_cameras() -> Any:
    """Noise whose frames a second, grey camera of another size sees as well."""
    data = noise()
    data.cameras = {"wrist": np.random.default_rng(4).integers(0, 256, (60, 8, 12, 1), dtype=np.uint8)}
    return data


@pytest.mark.parametrize("name", REMEMBERING)
def test_every_algorithm_learns_from_a_history_and_its_policy_loads(name: str, tmp_path: Path) -> None:
    images = algorithm(name).sees_images
    train(config(tmp_path / "run", algorithm=name, updates=2, history=2, shift=1), noise(images=images))
    policy = Policy.load(tmp_path / "run", critics=algorithm(name).choosing_critics is not None)
    assert policy.shape.image == (16, 16, 6) and policy.shape.proprio == 2 * 4 + 3
    assert policy.shape.single().image == (16, 16, 3) and policy.shape.single().proprio == 4
    actions = policy.act(np.zeros((2, 16, 16, 6), np.uint8), np.zeros((2, 11)))
    assert actions.shape == (2, 3)


@pytest.mark.parametrize("changes", [{}, {"history_of": "pose", "sharing": "separate"}])
def test_a_run_with_a_history_resumes_to_the_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    settings = {"history": 3, "shift": 2, **changes}
    with pytest.raises(StoppedError):
        train(config(tmp_path / "parted", **settings), noise(), on_progress=stop_at(7))
    assert checkpoint.load(tmp_path / "parted").update == 6
    train(config(tmp_path / "parted", **settings), noise(), resume=True)
    train(config(tmp_path / "whole", **settings), noise())
    assert_same_run(tmp_path / "parted", tmp_path / "whole")
    with pytest.raises(CogError, match=r"differing: network.history"):
        train(config(tmp_path / "whole", **(settings | {"history": 2})), noise(), resume=True)


def test_two_cameras_each_show_their_own_history(tmp_path: Path) -> None:
    train(config(tmp_path / "run", updates=2, history=2), two_cameras())
    policy = Policy.load(tmp_path / "run")
    assert policy.shape.pictures() == {"image": (16, 16, 6), "wrist": (8, 12, 2)}
    assert policy.shape.single().pictures() == {"image": (16, 16, 3), "wrist": (8, 12, 1)}
    data = two_cameras()
    buffer = Buffer(data, torch.device("cpu"), 4, "uniform", 0.9, network=config(history=2).network)
    shown = buffer.gather(torch.tensor([0, 7])).images
    assert isinstance(shown, tuple)
    wrist = data.cameras["wrist"]
    np.testing.assert_array_equal(shown[1][0], np.stack([wrist[0, ..., 0], wrist[0, ..., 0]]))
    np.testing.assert_array_equal(shown[1][1], np.stack([wrist[6, ..., 0], wrist[7, ..., 0]]))


def test_failure_meters_look_at_the_policy_with_its_history(tmp_path: Path) -> None:
    train(config(tmp_path / "run", updates=2, meter_every=2, history=3), noise())
    last = read_metrics(tmp_path / "run")[-1]
    assert {"meter/action_distance", "meter/q_policy", "meter/data_distance"} <= last.keys()
    # What the data hold near a state is judged by its current frame, so it does not change.
    train(config(tmp_path / "one", updates=2, meter_every=2), noise())
    assert last["meter/data_distance"] == read_metrics(tmp_path / "one")[-1]["meter/data_distance"]


def test_a_single_frame_is_refused_with_the_way_to_stack_it(tmp_path: Path) -> None:
    train(config(tmp_path / "run", updates=1, history=3), noise())
    policy = Policy.load(tmp_path / "run")
    for images, poses in ((3, 18), (9, 4)):
        with pytest.raises(CogError, match=r"Stack 3 frames in the order that policy.expects prints"):
            policy.act(np.zeros((1, 16, 16, images), np.uint8), np.zeros((1, poses)))


def test_one_shift_moves_all_frames_of_a_picture_alike() -> None:
    frames = torch.randint(0, 256, (6, 1, 9, 9), dtype=torch.uint8)
    stacked = random_shift(frames.repeat(1, 3, 1, 1), 2, torch.Generator().manual_seed(0))
    assert torch.equal(stacked[:, :1], stacked[:, 1:2]) and torch.equal(stacked[:, :1], stacked[:, 2:])
    assert not torch.equal(stacked[:, :1], frames)


def test_a_run_of_one_frame_has_the_files_of_one_without_the_option(tmp_path: Path) -> None:
    train(config(tmp_path / "plain"), noise())
    train(config(tmp_path / "one", history=1, history_of="frames"), noise())
    one, plain = (checkpoint.load(tmp_path / name) for name in ("one", "plain"))
    assert one.hashes == plain.hashes
    state = read_sealed(plain.folder / checkpoint.STATE, "checkpoint", "a checkpoint", "")
    assert "history" not in state and state["image"] == [16, 16, 3] and state["proprio"] == 4


def test_settings_written_before_the_option_existed_mean_one_frame(tmp_path: Path) -> None:
    from cog.training.config import read_config

    written = to_json(config(tmp_path))
    for name in ("history", "history_of"):
        del written["network"][name]
    assert read_config(written, "here") == config(tmp_path)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in REMEMBERING])
def test_learned_models_refuse_a_history(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"network.history is 2, but the model of {name} predicts from one"):
        train(config(tmp_path / "run", algorithm=name, history=2), noise(images=False))
    assert not (tmp_path / "run/checkpoints").exists()
    assert {"mopo", "morel"} == set(ALGORITHMS) - set(REMEMBERING)


def test_a_history_of_what_the_data_lack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the data hold states and no images"):
        train(config(tmp_path / "a", history=2, history_of="frames"), noise(images=False))
    with pytest.raises(UsageError, match="which the policy does not see"):
        train(config(tmp_path / "b", history=2, history_of="pose", use_proprio=False), noise())


def echoes(episodes: int = 400) -> Any:
    """Episodes of two steps: the second is paid if its action has the sign of the first one's.

    The state says only which step it is.
    """
    rng = np.random.default_rng(0)
    actions = rng.choice([-0.6, 0.6], (2 * episodes, 1)) + rng.normal(0, 0.1, (2 * episodes, 1))
    right = actions[0::2, 0] * actions[1::2, 0] > 0
    last = np.arange(2 * episodes) % 2 == 1
    rewards = np.zeros(2 * episodes, np.float32)
    rewards[1::2] = right
    return Made(
        frames=None,
        proprio=np.tile(np.array([[0.0], [1.0], [2.0]], np.float32), (episodes, 1)),
        actions=actions.clip(-1, 1).astype(np.float32),
        rewards=rewards,
        terminals=last,
        frame_index=np.arange(2 * episodes) + np.arange(2 * episodes) // 2,
        source=np.zeros(2 * episodes, np.int64),
        episode=np.arange(2 * episodes) // 2,
        sources=[{"role": "task", "name": "echo", "share": 1.0, "steps": 2 * episodes}],
        fingerprint="echo",
    )


def echoed(history: int) -> float:
    """Share of first actions that a learner echoes in sign at the second step."""
    settings = config(
        algorithm="iql", history=history, batch_size=128, critic_widths=(32, 32), actor_widths=(32, 32)
    )
    settings = dataclasses.replace(
        settings, algorithm=dataclasses.replace(settings.algorithm, critic_lr=3e-3, actor_lr=3e-3)
    )
    data = echoes()
    buffer = Buffer(
        data, torch.device("cpu"), 128, "uniform", *settings.algorithm.returns(), network=settings.network
    )
    agent = create(settings, buffer)
    for _ in range(500):
        agent.update(buffer.sample(agent.generator))
    policy = Policy(agent.policy(), agent.shape, 1)
    firsts = np.array([[-0.7], [-0.5], [0.5], [0.7]], np.float32)
    memory = Memory(4, agent.shape.history)
    for row, first in enumerate(firsts):
        memory.see(row, {}, np.zeros(1, np.float32), None)
        memory.see(row, {}, np.ones(1, np.float32), first)
    return float((policy.act(None, memory.poses)[:, 0] * firsts[:, 0] > 0).mean())


def test_a_task_that_needs_memory_is_learnt_with_it_and_not_without() -> None:
    assert echoed(2) == 1.0
    assert echoed(1) == 0.5
