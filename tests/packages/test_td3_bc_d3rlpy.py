"""TD3+BC learns from the same data what d3rlpy's own TD3+BC learns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("d3rlpy", reason="needs d3rlpy: make packages")

from cog.core.files import json_text
from cog.datasets.transitions import from_episodes
from tests.packages.compare_d3rlpy import PACKAGES, Budget, compare
from tests.packages.conftest import same
from tests.packages.d3rlpy_models import replay
from tests.packages.d3rlpy_tasks import TASKS, record


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The comparison of the page of results, learned anew; its figures show with `-s` or on failure."""
    budget = {"pendulum": Budget(4000, batch=256)}
    found = compare(["td3_bc"], ["pendulum"], budget, tmp_path_factory.mktemp("jobs"))["pendulum"]
    print(json_text(found))
    return found


@pytest.mark.parametrize("task", TASKS)
def test_both_are_given_the_same_transitions(task):
    episodes = record(replace(TASKS[task], episodes=3))
    ours, theirs = from_episodes(episodes, "made"), replay(episodes)
    drawn = [
        theirs.transition_picker(episode, step)
        for episode in theirs.episodes
        for step in range(episode.transition_count)
    ]
    frames = ours.proprio if ours.frames is None else np.moveaxis(ours.frames, -1, 1)
    same([one.observation for one in drawn], frames[ours.frame_index])
    same([one.action for one in drawn], ours.actions)
    same([one.reward[0] for one in drawn], ours.rewards)
    same(np.array([one.terminal for one in drawn]) > 0, ours.terminals)
    going_on = np.flatnonzero(~ours.terminals)  # d3rlpy makes the state after a terminal step up
    same([drawn[one].next_observation for one in going_on], frames[ours.frame_index[going_on] + 1])
    assert ours.terminals.any() == (task != "pendulum")  # a time limit is no end


def test_a_comparison_goes_on_where_it_stopped_and_refuses_another_budget(tmp_path: Path):
    budget = {"pendulum": Budget(1, batch=2, seeds=(0,))}
    first = compare(["td3_bc"], ["pendulum"], budget, tmp_path, processes=1)
    (made,) = tmp_path.glob("*-cog-0.json")
    made.write_text(json_text(json.loads(made.read_text()) | {"return": 7.0}))
    again = compare(["td3_bc"], ["pendulum"], budget, tmp_path, processes=1)
    assert again["pendulum"]["algorithms"]["td3_bc"]["cog"]["returns"] == [7.0]
    assert (
        again["pendulum"]["algorithms"]["td3_bc"]["d3rlpy"]
        == first["pendulum"]["algorithms"]["td3_bc"]["d3rlpy"]
    )
    with pytest.raises(AssertionError):
        compare(["td3_bc"], ["pendulum"], {"pendulum": Budget(2, batch=2, seeds=(0,))}, tmp_path)


@pytest.mark.timeout(3600)
def test_the_intervals_of_both_returns_overlap(result):
    assert result["algorithms"]["td3_bc"]["verdict"] == "equal", result


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("package", PACKAGES)
def test_either_return_is_clearly_above_that_of_the_data(package, result):
    assert result["algorithms"]["td3_bc"][package]["low"] > result["behaviour"]["high"], result
