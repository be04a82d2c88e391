"""What critics predict at the first step of an episode, and what the episode returned in the same units."""

import dataclasses
import json
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from cog.envs.make import Scene, make_environment
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate, results_table
from cog.evaluation.policy import Policy
from cog.evaluation.prediction import Payment, payment
from cog.evaluation.result import open_evaluation
from cog.evaluation.rollout import Fleet, Group, episode_seeds
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from tests.helpers.learner_data import noise
from tests.helpers.policies import SIZE, tiny_run
from tests.helpers.toy_recipe import ENV

CPU = torch.device("cpu")

EPISODES = 3


def settings(run: Path, out: Path, **changes: Any) -> EvaluateConfig:
    """A short evaluation of a run on the toy scene."""
    config = EvaluateConfig(
        run,
        out,
        starts=("left", "middle"),
        episodes=EPISODES,
        env=ENV,
        max_episode_steps=4,
        envs_per_worker=2,
        workers=1,
        videos=0,
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with critics that fit the toy scene."""
    return tiny_run(tmp_path_factory.mktemp("policy") / "cql", proprio=1, algorithm="cql")


@pytest.mark.parametrize(
    ("success", "rewards", "successes", "expected"),
    [
        (10.0, [0, 0, 1], [False, False, False, True], 10 * 0.9**2),
        (10.0, [1, 1, 1], [False, True, True, True], 10.0),  # the data end at the first
        (10.0, [1, 0, 1], [True, False, False, True], 10 * 0.9**2),  # no step led to the first frame
        (10.0, [5, 5], [False, False, False], 0.0),
        (None, [-1, 2, 4], [False, True, True, True], -1 + 0.9 * 2 + 0.81 * 4),
    ],
)
def test_an_episode_earns_the_data_s_reward_at_its_first_success_or_what_the_environment_pays(
    success: float | None, rewards: list[float], successes: list[bool], expected: float
) -> None:
    episode: Any = SimpleNamespace(rewards=rewards, successes=successes)
    assert Payment(0.9, success).discounted(episode) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rewards", "terminals", "expected"),
    [
        ([0, 10, 0, 10], [0, 1, 0, 1], 10.0),
        ([0, 0, 0, 0], [0, 0, 0, 1], 0.0),
        ([0, 10, 0, 10], [0, 1, 0, 0], None),  # it persists
        ([0, 10, 0, 5], [0, 1, 0, 1], None),
        ([-1, -1, -1, 0], [0, 0, 0, 1], None),
        ([-1, -1, -1, -1], [1, 1, 1, 1], None),
    ],
)
def test_data_that_pay_one_number_at_the_end_alone_pay_for_success(
    rewards: list[float], terminals: list[int], expected: float | None
) -> None:
    data = noise(frames=5, images=False)
    data.rewards, data.terminals = np.array(rewards, np.float32), np.array(terminals, bool)
    assert Buffer(data, CPU, 4, "uniform", 0.9).success_reward() == expected


def test_the_prediction_is_the_lowest_critic_s_value_of_the_action_taken_at_the_first_state(
    run: Path, tmp_path: Path
) -> None:
    found = evaluate(settings(run, tmp_path / "one"))
    policy = Policy.load(run, critics=True)
    scene = Scene(ENV, (SIZE, SIZE, 3), 4)
    env = make_environment(scene)
    seeds = episode_seeds(0, EPISODES)
    for episode in found.episodes:
        seen, _ = env.reset(seed=seeds[episode["number"]], options={"start": episode["start"]})
        images, poses = seen["image"][None], seen["proprio"][None]
        action = policy.act(images, poses)
        expected = policy.value(images, poses, action)
        assert episode["predicted_return"] == pytest.approx(float(expected[0]), rel=1e-4, abs=1e-6)
        assert episode["discounted_return"] == 0.0  # it does not reach the end in four steps
    env.close()
    for entry in found.results:
        here = [one for one in found.episodes if one["start"] == entry.start]
        assert entry.predicted_return == pytest.approx(np.mean([one["predicted_return"] for one in here]))
        assert entry.discounted_return == 0.0
    value = json.loads((tmp_path / "one" / "evaluation.json").read_text())
    assert value["payment"] == {"discount": 0.97, "success": 10.0}
    console = Console(width=200)
    with console.capture() as shown:
        console.print(results_table(found))
    assert "over-estimated by" in shown.get()


def test_a_success_is_paid_as_the_data_pay_and_predictions_stay_with_their_episodes(run: Path) -> None:
    scene = Scene(ENV, (SIZE, SIZE, 3), 9)
    group = Group("middle", (2, 3, 4), (7, 8, 9))
    with closing(Fleet(run, scene, rows=3, payment=Payment(0.5, 8.0))) as fleet:
        fleet.policy.act = lambda images, poses, noise=None: np.ones((len(poses), 8), np.float32)  # type: ignore[method-assign]
        outcomes = fleet.roll(group)
        alone = fleet.roll(Group("middle", (3,), (8,)))[0]
    for outcome in outcomes:
        assert outcome.success and outcome.discounted == 8 * 0.5 ** (outcome.steps - 1)
    assert alone.predicted == outcomes[1].predicted != outcomes[0].predicted


def test_results_do_not_depend_on_the_number_of_workers(run: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        evaluate(settings(run, tmp_path / str(workers), workers=workers, acting="critic"))
    one, two = (tmp_path / str(workers) / "evaluation.json" for workers in (1, 2))
    assert one.read_text() == two.read_text()


def test_without_critics_or_with_a_checkpoint_that_records_no_rewards_an_evaluation_is_as_before(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloned = tiny_run(tmp_path / "bc", proprio=1)
    assert payment(checkpoint.load(cloned)) is None
    old = dataclasses.replace(checkpoint.load(run), rewards={})
    assert payment(old) is None
    found = evaluate(settings(cloned, tmp_path / "evaluation"))
    value = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert "payment" not in value and "predicted_return" not in value["results"][0]
    assert "predicted_return" not in found.episodes[0] and found.results[0].predicted_return is None
    assert open_evaluation(tmp_path / "evaluation") == found
