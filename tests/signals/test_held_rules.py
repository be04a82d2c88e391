"""Rules that ask for a success to last: whom they reward, and the remark where that is next to nobody."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog import cli
from cog.datasets.episode import Episode
from cog.datasets.relabel.rules import asks_to_last
from cog.datasets.relabel.view import open_view, relabel
from cog.datasets.storage.dataset import Dataset, write_dataset
from tests.conftest import make_episode

RULE = "grasp_success for 6 steps"
PLACES = itertools.count()


def dataset(folder: Path, held: list[tuple[int, bool]]) -> Dataset:
    """An episode for each: held for so many steps from the third on, then perhaps dropped."""
    rng = np.random.default_rng(0)
    episodes: list[Episode] = []
    for steps, kept in held:
        made = make_episode(rng, 2 + steps + (not kept), rewarded=2 if steps else None, state=True)
        if steps and not kept:
            made.signals["object_height"][-1] = 0.0
        episodes.append(replace(made, success=bool(steps) and kept))
    place, facts = folder / f"data{next(PLACES)}", {"terminate_on_success": True}
    return write_dataset(place, episodes, {"kind": "held"}, facts, episodes_per_shard=40)


@settings(max_examples=40, deadline=None)
@given(held=st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_the_remark_comes_where_less_than_a_tenth_of_the_successes_are_rewarded_with_both_counts(
    held: list[tuple[int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = dataset(tmp_path_factory.getbasetemp(), held)
    view = relabel(data.path, RULE, "lasting")
    successes = [steps for steps, kept in held if steps and kept]
    rewarded = sum(steps >= 6 for steps in successes)
    anyone = sum(steps >= 6 for steps, _ in held)
    assert (view.successes, view.successes_rewarded) == (len(successes), rewarded)
    assert view.episodes_rewarded == anyone
    few = [text for text in view.remarks(data.step_count) if "grasp:hold=12" in text]
    if anyone == 0:
        told = f", none of {len(successes)} episodes" if successes else ";"
        assert len(few) == 1 and few[0].startswith(f"no step has a reward{told}")
    elif 10 * rewarded < len(successes):
        assert len(few) == 1 and few[0].startswith(f"only {rewarded} of {len(successes)} episodes that count")
    else:
        assert few == []


def test_what_was_counted_for_the_remark_is_no_part_of_the_view(tmp_path: Path) -> None:
    data = dataset(tmp_path, [(3, True), (8, True)])
    view = relabel(data.path, RULE, "lasting")
    kept = open_view(data, "lasting")
    assert kept == view and kept.hash() == view.hash()
    assert (view.successes, kept.successes) == (2, 0)
    assert "successes" not in (data.path / "relabels/lasting.json").read_text()


@pytest.mark.parametrize("rule", ["zero", "-object_gripper_distance", "grasp_success", "1"])
def test_a_rule_that_pays_otherwise_gets_no_remark(rule: str, tmp_path: Path) -> None:
    data = dataset(tmp_path, [(3, True)] * 12)
    view = relabel(data.path, rule, "view", terminate=False)
    assert view.remarks(data.step_count) == []


def test_only_the_episodes_that_a_view_keeps_are_asked(tmp_path: Path) -> None:
    data = dataset(tmp_path, [(3, True)] * 30 + [(8, True)])
    view = relabel(data.path, RULE, "long", only=RULE)
    assert (view.successes, view.successes_rewarded) == (1, 1)


def test_the_command_prints_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dataset(tmp_path, [(3, True)] * 30 + [(8, True)])
    assert cli.run(["relabel", str(data.path), "--rule", RULE, "--name", "lasting"]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "note: only 1 of 31 episodes that count as successes have a reward" in printed
    assert "--no-terminate-on-success" in printed and "grasp:hold=12" in printed


@pytest.mark.parametrize(
    ("options", "told"),
    [(["grasp:hold=3"], True), (["grasp"], False), (["grasp:hold=3", "--no-terminate-on-success"], False)],
)
def test_collecting_tells_where_success_would_end_what_should_be_held(
    options: list[str], told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--episodes", "1", "--observation", "state", "--max-steps", "3", "--workers", "1"]
    assert cli.run(["collect", "--out", str(tmp_path / "data"), *small, "--behaviour", *options]) == 0
    assert ("the episode ends there and nothing is held" in " ".join(capsys.readouterr().err.split())) is told


@pytest.mark.parametrize(
    ("rule", "lasts"),
    [
        (RULE, True),
        ("held(grasp_success, 2)", True),
        ("held (object_height > 0.1, 3) and drawer_opened", True),
        ("10 * held('a b' > 1, 2)", True),
        ("grasp_success", False),
        ("held > 0", False),
        ("signal('held(x, 2)') > 1", False),
        ("first(grasp_success)", False),
        ("mine:held", False),
    ],
)
def test_a_rule_is_known_to_ask_for_something_that_lasts(rule: str, lasts: bool) -> None:
    assert asks_to_last(rule) is lasts
