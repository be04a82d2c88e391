"""Acting with a history: evaluations, exploration and robots see what the buffer gathers from the episode."""

import dataclasses
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cog.datasets.collection.collect import collect
from cog.datasets.collection.recorder import Recorder
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.robot_interface import RobotInterface
from cog.datasets.transitions import from_episodes
from cog.envs.make import Scene, make_environment
from cog.errors import CogError
from cog.evaluation.check import check_scene
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.evaluation.memory import Memory
from cog.evaluation.policy import Policy
from cog.evaluation.rollout import Fleet, Group
from cog.networks.encoder import ObservationShape
from cog.online.config import FinetuneConfig
from cog.online.explore import Explorer
from cog.online.finetune import finetune
from cog.online.payment import AtSuccess
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.train import train
from tests.helpers.learner_data import config
from tests.helpers.toy_recipe import ENV
from tests.history.stacks import line_run, made, plain_images, plain_pose

SCENE = Scene(ENV, (16, 16, 3), 9, terminate_on_success=False)
ARM = RobotInterface(("front",), "stretch", pose=(("joint", 3),))


class Watched:
    """A policy's `act` that keeps what it was given."""

    def __init__(self, policy: Policy) -> None:
        self.given: list[tuple[np.ndarray, np.ndarray]] = []
        self._act = policy.act
        policy.act = self  # type: ignore[method-assign]

    def __call__(self, images: Any, poses: Any, noise: Any = None) -> np.ndarray:
        self.given.append((images["image"].copy(), poses.copy()))
        return self._act(images, poses, noise)


@pytest.mark.parametrize("of", ["frames", "pose", "both"])
def test_a_policy_acts_on_what_the_buffer_gathers_from_the_recorded_episode(of: Any, tmp_path: Path) -> None:
    run = line_run(tmp_path / "run", algorithm="cql", history=3, history_of=of)
    policy = Policy.load(run)
    watched = Watched(policy)
    with closing(Explorer(SCENE, "middle", 4, 0, AtSuccess(10.0))) as explorer:
        # Two groups, so that rows hold the end of earlier episodes when the next ones begin.
        groups = [(range(3), explorer.roll(policy, range(3)))]
        first = len(watched.given)
        groups.append((range(4, 7), explorer.roll(policy, range(4, 7))))
    network = checkpoint.load(run).config.network
    calls = [watched.given[:first], watched.given[first:]]
    assert len({len(one) for _, episodes in groups for one in episodes}) > 1
    for (numbers, episodes), given in zip(groups, calls, strict=True):
        buffer = Buffer(
            from_episodes(episodes, "made"), torch.device("cpu"), 4, "uniform", 0.9, network=network
        )
        step = 0
        for number, one in zip(numbers, episodes, strict=True):
            batch = buffer.gather(torch.arange(step, step + len(one)))
            assert isinstance(batch.images, torch.Tensor)
            for time in range(len(one)):
                images, poses = given[time]
                np.testing.assert_array_equal(images[number % 4], batch.images[time].permute(1, 2, 0))
                np.testing.assert_array_equal(poses[number % 4], batch.proprio[time])
            step += len(one)


def test_an_evaluated_episode_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    run = line_run(tmp_path / "run", algorithm="bc", history=3)
    policy = Policy.load(run)
    with closing(Fleet(run, SCENE, rows=2)) as fleet:
        outcomes = fleet.roll(Group("left", (0, 1), (11, 12)))
    for outcome in outcomes:
        env = make_environment(SCENE)
        recorder = Recorder(env, outcome.seed, "left")
        seen = [recorder.observation]
        while not recorder.over:
            frame, acted = len(recorder), np.array([*recorder.actions, np.zeros(8)], np.float32)
            images = plain_images(np.stack([one["image"] for one in seen]), frame, 3)
            pose = plain_pose(np.stack([one["proprio"] for one in seen]), acted, frame, 3)
            # As the fleet has it, in one batch of two rows: rounding may depend on its size.
            both = policy.act(np.stack([images] * 2), np.stack([pose] * 2).astype(np.float32))
            recorder.step(both[0])
            seen.append(recorder.observation)
        env.close()
        np.testing.assert_allclose(np.stack(recorder.actions), outcome.actions, atol=1e-5)


def test_an_evaluation_compares_the_scene_with_one_frame(tmp_path: Path) -> None:
    run = line_run(tmp_path / "run", algorithm="cql", history=3)
    asked = EvaluateConfig(
        checkpoint=run,
        out=tmp_path / "out",
        starts=("left",),
        episodes=3,
        acting="critic",
        candidates=2,
        env=ENV,
        max_episode_steps=6,
        workers=1,
        videos=0,
    )
    assert evaluate(asked).result("left").rate.episodes == 3
    wanted = checkpoint.load(run).shape
    assert check_scene(SCENE, wanted, 8, ("left",), {})
    assert wanted.history is not None
    longer = wanted._replace(history=wanted.history._replace(pose=2))
    with pytest.raises(CogError, match=r"trained with proprio \(2,\), but .* gives \(1,\)"):
        check_scene(SCENE, longer, 8, ("left",), {})


def test_a_robot_s_policy_remembers_what_it_saw_and_did() -> None:
    policy = made(ObservationShape((8, 8, 3), 3), 2, ARM, history=3)
    rng = np.random.default_rng(0)
    for _ in range(2):
        policy.reset()
        cameras = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
        poses = rng.normal(size=(5, 3)).astype(np.float32)
        acted = np.zeros((5, 2), np.float32)
        for frame in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = policy.act_robot(cameras[frame], {"joint": poses[frame]})
            images = plain_images(cameras, frame, 3)[None]
            acted[frame] = policy.act(images, plain_pose(poses, acted, frame, 3)[None])[0]
            np.testing.assert_array_equal(found, acted[frame].astype(np.float64))
    text = str(policy.expects)
    assert "front: (H, W, 3) uint8" in text and "stretched to 8x8" in text and "joint (3)" in text
    assert "memory  3 frames, this one included" in text
    assert "pose: 3 poses of 3, the oldest first, then the 2 actions between them" in text


def test_a_robot_that_never_says_where_an_episode_begins_is_warned_once() -> None:
    policy = made(ObservationShape(None, 3), 2, RobotInterface(), history=2)
    with pytest.warns(UserWarning, match=r"reset\(\) was never called") as told:
        first = policy.act_robot(pose=np.ones(3))
        policy.act_robot(pose=np.zeros(3))
    assert len(told) == 1
    assert Path(told[0].filename).name == "test_acting.py"
    policy.reset()
    np.testing.assert_array_equal(policy.act_robot(pose=np.ones(3)), first)


def test_an_observation_that_is_refused_is_not_remembered() -> None:
    policy = made(ObservationShape(None, 3), 2, RobotInterface(), history=2)
    poses = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    found = []
    for faulty in (False, True):
        policy.reset()
        policy.act_robot(pose=poses[0])
        if faulty:
            for broken in (np.full(3, np.nan), np.zeros(4)):
                with pytest.raises(CogError):
                    policy.act_robot(pose=broken)
        found.append([policy.act_robot(pose=pose) for pose in poses[1:]])
    np.testing.assert_array_equal(found[0], found[1])


def test_a_policy_of_one_frame_needs_no_reset() -> None:
    policy = made(ObservationShape((8, 8, 3), 3), 2, ARM)
    camera = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = policy.act_robot(camera, np.ones(3))
        policy.reset()
        two = policy.act_robot(camera, np.ones(3))
    np.testing.assert_array_equal(one, two)
    assert "memory" not in str(policy.expects)


def test_a_row_of_the_memory_keeps_its_content_while_others_go_on() -> None:
    policy = made(ObservationShape(None, 1), 1, None, history=2)
    memory = Memory(2, policy.shape.history)
    for row in (0, 1):
        memory.see(row, {}, np.array([row + 1.0]), None)
    memory.see(1, {}, np.array([5.0]), np.array([0.25]))
    assert memory.poses is not None
    assert memory.poses.tolist() == [[1, 1, 0], [2, 5, 0.25]]
    memory.see(1, {}, np.array([7.0]), None)
    assert memory.poses.tolist() == [[1, 1, 0], [7, 7, 0]]


def test_fine_tuning_goes_on_with_the_history_and_resumes_to_the_bit(tmp_path: Path) -> None:
    choice = BehaviourChoice("reach", options={"speed": 0.5})
    spec = CollectionSpec(
        5, (choice,), ("middle",), ENV, image_size=16, max_episode_steps=6, seed=3, noise=0.3
    )
    collect(spec, tmp_path / "task", workers=1)
    relabel(tmp_path / "task", "tests.envs.test_own_scene:arrived", "arrived", scale=10.0)
    write_merge(tmp_path / "arrived.json", [f"{tmp_path / 'task'}@arrived"])
    settings = config(tmp_path / "cql", updates=4, history=3)
    train(dataclasses.replace(settings, data=tmp_path / "arrived.json"))
    whole = FinetuneConfig(
        checkpoint=tmp_path / "cql",
        data=tmp_path / "arrived.json",
        out=tmp_path / "whole",
        start="left",
        episodes=4,
        round_episodes=2,
        updates_per_episode=2,
        evaluate_every=4,
        evaluate_episodes=2,
    )
    finetune(whole)

    def stop(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    parted = dataclasses.replace(whole, out=tmp_path / "parted")
    with pytest.raises(KeyboardInterrupt):
        finetune(parted, on_progress=stop)
    finetune(parted)
    one, two = (checkpoint.load(tmp_path / name) for name in ("whole", "parted"))
    assert one.shape.history is not None and one.shape.history.frames == 3 and one.update == 12
    assert one.hashes == two.hashes
