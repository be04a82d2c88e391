"""TD3+BC learns from the same data what d3rlpy's own TD3+BC learns."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("d3rlpy", reason="needs d3rlpy: make packages")

from cog.core.files import json_text
from cog.datasets.transitions import from_episodes
from tests.packages.compare_td3_bc import PACKAGES, Comparison, compare, d3rlpy_buffer, record
from tests.packages.conftest import same


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """The comparison of the page of results, learned anew; its figures show with `-s` or on failure."""
    found = compare()
    print(json_text(found))
    return found


def test_both_are_given_the_same_transitions():
    episodes = record(replace(Comparison(), episodes=3))
    ours, theirs = from_episodes(episodes, "made"), d3rlpy_buffer(episodes)
    drawn = [
        theirs.transition_picker(episode, step)
        for episode in theirs.episodes
        for step in range(episode.transition_count)
    ]
    assert len(drawn) == 3 * Comparison().steps
    same([one.observation for one in drawn], ours.proprio[ours.frame_index])
    same([one.next_observation for one in drawn], ours.proprio[ours.frame_index + 1])
    same([one.action for one in drawn], ours.actions)
    same([one.reward[0] for one in drawn], ours.rewards)
    same(np.array([one.terminal for one in drawn]) > 0, ours.terminals)
    assert not ours.terminals.any()  # a time limit is no end


@pytest.mark.timeout(3600)
def test_the_intervals_of_both_returns_overlap(result):
    ours, theirs = (result[package] for package in PACKAGES)
    assert max(ours["low"], theirs["low"]) <= min(ours["high"], theirs["high"]), result


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("package", PACKAGES)
def test_either_return_is_clearly_above_that_of_the_data(package, result):
    assert result[package]["low"] > result["behaviour"]["high"], result
