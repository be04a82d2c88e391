"""A component that a policy turns to -1 or 1 means two commands in the data, or training says otherwise."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cog.errors import UsageError
from cog.training.setup import prepare
from cog.training.switches import check_switches
from tests.helpers.learner_data import config, noise

STEPS = 120


def data(*columns):
    """Actions (S, 1 + switches): a component that moves, and one drawn from each set of values."""
    rng = np.random.default_rng(0)
    drawn = [np.concatenate([values, rng.choice(values, STEPS - len(values))]) for values in columns]
    return np.column_stack([rng.uniform(-1, 1, STEPS), *drawn]).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(
    low=st.sampled_from([-1.0, -0.9, -0.7]),
    high=st.sampled_from([0.6, 0.7, 1.0]),
    disturbed=st.sampled_from([0.0, 0.05, 0.1]),
    seed=st.integers(0, 50),
)
def test_two_commands_on_two_sides_pass_with_or_without_noise(low, high, disturbed, seed):
    actions = data([low, high])
    actions[:, 1] += disturbed * np.random.default_rng(seed).standard_normal(STEPS)
    assert check_switches(np.clip(actions, -1, 1), 1) == []


@settings(max_examples=50, deadline=None)
@given(share=st.just(0.0) | st.floats(0.3, 0.9), seed=st.integers(0, 99))
def test_a_switch_that_often_lies_between_its_commands_is_said(share, seed):
    rng = np.random.default_rng(seed)
    between = np.arange(STEPS) < share * STEPS
    actions = data([-1.0, 1.0])
    actions[:, 1] = np.where(between, rng.uniform(-0.49, 0.49, STEPS), rng.choice([-1.0, 1.0], STEPS))
    told = any("lies between its commands" in note for note in check_switches(actions, 1))
    assert told == (between.mean() > 0.2)


VALUES = [-1.0, -0.5, 0.0, 0.04, 0.25, 0.9, 1.0]
ALPHABETS = st.lists(st.sampled_from(VALUES), min_size=2, max_size=5, unique=True)


@settings(max_examples=300, deadline=None)
@given(alphabet=ALPHABETS, before=st.booleans())
def test_an_alphabet_passes_if_it_is_one_command_below_and_one_above_zero(alphabet, before):
    good = sorted(alphabet)
    passes = len(good) == 2 and good[0] < 0 < good[1] and max(map(abs, good)) >= 0.5
    actions = data([-1.0, 1.0], alphabet) if before else data(alphabet, [-1.0, 1.0])
    if passes:
        assert all("lies between its commands" in note for note in check_switches(actions, 2))
        return
    with pytest.raises(UsageError, match=f"component {1 + before} of the actions is a switch") as caught:
        check_switches(actions, 2)
    assert all(f"{value:.4g}" in str(caught.value) for value in alphabet), "the values found are named"
    assert "--switches 2" in str(caught.value)


@pytest.mark.parametrize("value", [-1.0, 1.0])
@pytest.mark.parametrize("disturbed", [0.0, 0.1])
def test_a_switch_that_is_never_turned_is_a_note_that_says_what_the_policy_will_do(value, disturbed):
    actions = data([0.7 * value, 0.7 * value])
    actions[:, 1] += disturbed * np.random.default_rng(0).standard_normal(STEPS)
    (note,) = check_switches(actions, 1)
    assert f"always give {value:.0f}" in note


@pytest.mark.parametrize("width", [(0.0, 1.0), (0.01, 0.08), (0.1, 0.9)])
def test_a_width_that_is_measured_is_no_switch(width):
    actions = data([-1.0, 1.0])
    actions[:, 1] = np.random.default_rng(0).uniform(*width, STEPS)
    with pytest.raises(UsageError, match="component 1"):
        check_switches(actions, 1)


def test_other_components_are_not_judged():
    assert check_switches(data([0.0, 1.0], [-1.0, 1.0]), 1) == []
    assert check_switches(data([0.0, 1.0]), 0) == []


def test_training_looks_at_its_data_before_it_begins():
    held = noise(actions=2)
    held.actions[:, 1] = np.arange(len(held.actions)) % 2
    said = []
    with pytest.raises(UsageError, match="0 is neither of its sides"):
        prepare(config(switches=1), held, said.append)
    prepare(config(), held, said.append)
    held.actions[:, 1] = 1.0
    prepare(config(switches=1), held, said.append)
    assert any("always give 1" in message for message in said)


@settings(max_examples=150, deadline=None)
@given(
    sides=st.sampled_from([(-0.7,), (0.7,), (-0.7, 0.7)]),
    disturbed=st.floats(0, 0.15),
    steps=st.sampled_from([8, 40, 300]),
    seed=st.integers(0, 10**6),
)
@example(sides=(-0.7,), disturbed=0.021939749893503138, steps=300, seed=101619)
def test_commands_of_scripted_behaviours_with_noise_are_never_refused(sides, disturbed, steps, seed):
    rng = np.random.default_rng(seed)
    commands = rng.choice(sides, steps) + disturbed * rng.standard_normal(steps)
    check_switches(np.clip(np.column_stack([commands, commands]), -1, 1).astype(np.float32), 1)
