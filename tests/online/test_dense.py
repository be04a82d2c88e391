"""Dense rewards online: the rule of the task pays every step, and episodes end as those of the data did."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cog.datasets.collection.collect import collect
from cog.datasets.collection.recorder import Recorder
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.load import load
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset
from cog.envs.make import Scene, make_environment
from cog.errors import CogError
from cog.evaluation.result import open_evaluation
from cog.online.config import FinetuneConfig
from cog.online.curve import handover_table, read_curve
from cog.online.finetune import finetune
from cog.online.payment import payment_of
from cog.replay.buffer import Buffer
from cog.training.train import train
from tests.helpers.learner_data import config

ENV = "tests.helpers.state_scene:toy/StateLine-v0"
STEPS = 5


def tuned(root: Path, rule: str, *, terminate: bool, ends: bool = True) -> FinetuneConfig:
    """A finished fine-tuning run of two rounds on data whose rewards are those of a rule."""
    reach = BehaviourChoice("reach", options={"speed": 0.6})
    spec = CollectionSpec(
        4,
        (reach,),
        ("middle",),
        ENV,
        observation="state",
        max_episode_steps=STEPS,
        noise=0.5,
        terminate_on_success=ends,
    )
    collect(spec, root / "task", workers=1)
    relabel(root / "task", rule, "v", terminate=terminate)
    write_merge(root / "m.json", [f"{root / 'task'}@v"])
    train(dataclasses.replace(config(root / "run", updates=2), data=root / "m.json"))
    run = FinetuneConfig(
        checkpoint=root / "run",
        data=root / "m.json",
        out=root / "online",
        start="middle",
        episodes=4,
        round_episodes=2,
        updates_per_episode=1,
        evaluate_every=2,
        evaluate_episodes=2,
    )
    finetune(run)
    return run


def test_a_negative_distance_pays_every_online_step_and_only_the_environment_ends_it(tmp_path):
    run = tuned(tmp_path, "place - 1", terminate=True)
    episodes = list(open_dataset(run.out / "online").episodes())
    assert len(episodes) == 4
    for episode in episodes:
        np.testing.assert_array_equal(episode.rewards, episode.signals["place"][1:] - np.float32(1))
        assert episode.terminals.tolist() == [*[False] * (len(episode) - 1), episode.terminated]
        assert episode.terminated == episode.success and set(episode.signals) == {"place"}
    last = read_curve(run.out)[-1]
    sums = [float(episode.rewards.sum()) for episode in episodes]
    assert last.collected_return == pytest.approx(np.mean(sums))
    report = open_evaluation(run.out / "evaluations/0000004")
    returns = [episode["return"] for episode in report.episodes]
    assert last.mean_return == report.result("middle").mean_return == pytest.approx(np.mean(returns))
    assert "mean return" in [column.header for column in handover_table(read_curve(run.out)).columns]


def test_a_persistent_reward_pays_up_to_the_time_limit_where_the_data_went_on(tmp_path):
    run = tuned(tmp_path, "1 / (2 - place)", terminate=False, ends=False)
    for episode in open_dataset(run.out / "online").episodes():
        np.testing.assert_allclose(episode.rewards, 1 / (2 - episode.signals["place"][1:]), rtol=1e-6)
        assert len(episode) == STEPS and not episode.terminals.any() and episode.truncated


def test_a_success_that_must_last_is_paid_where_it_has_lasted_and_a_plain_one_where_it_comes(tmp_path):
    spec = CollectionSpec(
        4,
        (BehaviourChoice("reach", options={"speed": 0.8}),),
        ("middle",),
        ENV,
        observation="state",
        max_episode_steps=9,
        noise=0.1,
        terminate_on_success=False,
    )
    collect(spec, tmp_path / "task", workers=1)
    scene = Scene(ENV, None, 9, (), False)
    paid = {}
    for name, rule in (("lasting", "place > 0.9 for 3 steps"), ("plain", "place > 0.9")):
        relabel(tmp_path / "task", rule, name, scale=10)
        merge = write_merge(tmp_path / f"{name}.json", [f"{tmp_path / 'task'}@{name}"])
        buffer = Buffer(load(merge), torch.device("cpu"), 4, "uniform", 0.95)
        payment = payment_of(buffer, merge, scene)
        assert payment.at_success is (name == "plain")
        env = make_environment(scene)
        recorder = Recorder(env, 3, "middle")
        while not (recorder.over or (payment.at_success and recorder.success)):
            recorder.step(np.full(env.action_space.shape, 0.8, np.float32))
        env.close()
        paid[name] = payment(recorder, recorder.episode("policy", {}, 0.0))
    first = len(paid["plain"])
    assert paid["plain"].rewards.tolist() == [0.0] * (first - 1) + [10.0]
    assert paid["lasting"].rewards.tolist() == [0.0] * (first + 1) + [10.0]
    assert paid["lasting"].terminals.tolist() == [False] * (first + 1) + [True]


def test_data_without_any_reward_are_refused(tmp_path):
    with pytest.raises(CogError, match="no step is rewarded, so there is no reward to fine-tune on"):
        tuned(tmp_path, "zero", terminate=True)
    assert not (tmp_path / "online").exists()
