"""OGBench files come in with the reward of the state that each step leads to, in all three of their forms."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cog.datasets.importers.ogbench import OGBenchOptions
from cog.datasets.relabel.view import labelled, relabel
from tests.importers.conftest import read_all

ONCE = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def states(lengths, seed=0, visual=False):
    """Episodes of T + 1 states, and the T actions between them."""
    rng = np.random.default_rng(seed)
    for steps in lengths:
        if visual:
            seen = rng.integers(0, 256, (steps + 1, 6, 6, 3), dtype=np.uint8)
        else:
            seen = rng.normal(size=(steps + 1, 3)).astype(np.float32)
        yield seen, rng.uniform(-1, 1, (steps, 2)).astype(np.float32)


def worth(state):
    """The reward and the mask of a state, as of a task that is done where its first number is high."""
    done = state.reshape(len(state), -1)[:, 0].astype(float) > 0.5
    return done.astype(np.float32) - 1, 1 - done.astype(np.float32)


def columns(episodes, form, rewarded):
    """The arrays of a file in one of OGBench's forms, by its definition."""
    parts = []
    for seen, acts in episodes:
        steps = len(acts)
        rewards, masks = worth(seen)
        filler = np.full((1, acts.shape[1]), 7, np.float32)  # outside all bounds, so that it is never taken
        rows = {"observations": seen, "actions": np.concatenate([acts, filler])}
        last = np.arange(steps + 1) == steps
        rows["terminals"] = last.astype(np.float32)
        if rewarded:
            rows |= {"rewards": rewards, "masks": masks}
        if form == "compact":
            rows["terminals"] = (np.arange(steps + 1) >= steps - 1).astype(np.float32)
            rows["valids"] = 1 - last.astype(np.float32)
        if form == "regular":
            rows = {name: values[:-1] for name, values in rows.items()}
            rows["terminals"] = (np.arange(steps) == steps - 1).astype(np.float32)
            rows["next_observations"] = seen[1:]
        parts.append(rows)
    return {name: np.concatenate([rows[name] for rows in parts]) for name in parts[0]}


def write(path, episodes, form="published", rewarded=False, packed=True):
    (np.savez_compressed if packed else np.savez)(path, **columns(list(episodes), form, rewarded))
    return path


@ONCE
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    form=st.sampled_from(["published", "compact", "regular"]),
    rewarded=st.booleans(),
    visual=st.booleans(),
    packed=st.booleans(),
)
def test_every_form_gives_every_step_the_reward_of_the_state_it_leads_to(
    tmp_path, lengths, form, rewarded, visual, packed
):
    given = list(states(lengths, seed=sum(lengths), visual=visual))
    if form == "regular":  # it has no row for an episode without steps
        given = [(seen, acts) for seen, acts in given if len(acts)]
    plain = any(steps and after for steps, after in zip(lengths, [*lengths[1:], 1], strict=True))
    assume(given and (form != "published" or plain))  # else its marks could be those of the compact form
    source = write(tmp_path / "any.npz", given, form, rewarded, packed)
    lost = int(form == "regular" and rewarded)  # there is no reward of the last state
    found, notes = read_all(OGBenchOptions(success="masks" if rewarded else None), source)
    for mine, (seen, acts) in zip(found, given, strict=True):
        end = max(len(acts) - lost, 0)
        np.testing.assert_array_equal(mine.images if visual else mine.vectors, seen[: end + 1])
        np.testing.assert_array_equal(mine.actions, acts[:end])
        assert (mine.closed, mine.terminated, mine.truncated) == (True, False, True)
        if rewarded:
            rewards, masks = worth(seen)
            np.testing.assert_array_equal(mine.rewards, rewards[1 : end + 1])
            np.testing.assert_array_equal(mine.success, masks[1 : end + 1] == 0)
    assert ("rewards the state before an action" in notes) == rewarded
    assert ("last actions were dropped" in notes) == bool(lost)


def test_the_step_that_reaches_the_goal_is_the_one_that_is_rewarded(bring, tmp_path):
    seen = np.array([[0.0], [0.0], [1.0]], np.float32)  # the second of two actions reaches the goal
    source = write(tmp_path / "goal.npz", [(seen, np.zeros((2, 1), np.float32))], "compact", True)
    found = bring("ogbench", source, "--success", "reward>-0.5")
    np.testing.assert_array_equal(found.episodes[0].signals["reward"], [0, -1, 0])
    assert found.episodes[0].success
    view = relabel(found.out, "recorded", "view", terminate=False)
    np.testing.assert_array_equal(next(iter(labelled(found.dataset, view))).rewards, [-1, 0])


def test_an_episode_without_an_end_is_taken_up_to_the_last_row(bring, tmp_path):
    arrays = columns(list(states([3, 4])), "published", False)
    arrays["terminals"][-1] = 0
    np.savez(tmp_path / "cut.npz", **arrays)
    found = bring("ogbench", tmp_path / "cut.npz")
    assert [len(one) for one in found.episodes] == [3, 4]
    assert "the last episode has no end" in found.said


def change(arrays, **changes):
    return {name: value for name, value in (arrays | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"terminals": None}, "must hold terminals"),
        ({"observations": None}, "must hold observations"),
        ({"actions": np.zeros((9, 2), int)}, "field 'actions': must be continuous vectors"),
        ({"actions": np.zeros(9)}, "field 'actions': must be continuous vectors"),
        ({"terminals": np.zeros(8)}, "field 'terminals': must have one row for each of 9 observations"),
        ({"actions": np.zeros(9, np.float32)}, "(9,). Store single numbers as (rows, 1): actions[:, None]"),
        ({"actions": np.zeros((9, 0), np.float32)}, "Reshape it to at least one number a row"),
        (
            {"observations": np.zeros((9, 8, 8, 6), np.uint8)},
            "found 6 channels of uint8 (8x8x6), which look like 2 frames stacked",
        ),
        (
            {"observations": np.zeros((9, 8, 8, 9), np.uint8)},
            "which look like 3 frames stacked. Store the newest frame alone, pictures[..., -3:]",
        ),
        (
            {"observations": np.zeros((9, 3, 64, 64), np.uint8)},
            "found 64 channels of uint8 (3x64x64), which look like 3 channels before height and width. Move "
            "the channels to the last axis, 64x64x3: np.moveaxis(pictures, 1, -1)",
        ),
        (
            {"observations": np.zeros((9, 9, 64, 64), np.uint8)},
            "found 64 channels of uint8 (9x64x64), which look like 9 channels before height and width",
        ),
        ({"observations": np.zeros((9, 4, 4))}, "must be states (rows, S) or pictures"),
        ({"observations": np.full((9, 3), np.nan)}, "must be finite"),
        ({"valids": None}, "there are no 'valids'"),
        ({"terminals": np.zeros(9)}, "must mark where episodes end, found no mark"),
        ({name: np.zeros((0, 2)) for name in ("observations", "actions", "terminals", "valids")}, "no mark"),
        ({"actions": np.array([{}] * 9, object)}, "found type object"),
    ],
)
def test_what_is_no_such_file_is_refused_by_field_and_rule(bring, tmp_path, changes, named):
    np.savez(tmp_path / "odd.npz", **change(columns(list(states([3, 4])), "compact", False), **changes))
    found = bring("ogbench", tmp_path / "odd.npz")
    assert found.code == 1 and named in found.said, found.said
    assert not found.out.exists()


def test_next_observations_that_do_not_follow_are_refused(bring, tmp_path):
    arrays = columns(list(states([3, 4])), "regular", False)
    arrays["next_observations"][1] += 1
    np.savez(tmp_path / "odd.npz", **arrays)
    found = bring("ogbench", tmp_path / "odd.npz")
    assert found.code == 1 and "episode 0, field 'next_observations'" in found.said


def test_an_unknown_mark_of_success_is_refused_with_those_there_are(bring, tmp_path):
    found = bring("ogbench", write(tmp_path / "a.npz", states([2])), "--success", "masks")
    assert found.code == 2 and "there is no array 'masks'" in found.said


@pytest.mark.parametrize("change", ["all valid", "one early", "not a flag"])
def test_valids_that_end_elsewhere_than_terminals_are_refused(change, tmp_path, bring):
    source = write(tmp_path / "a.npz", states([3, 2]), "compact", True)
    arrays = dict(np.load(source))
    if change == "all valid":
        arrays["valids"][:] = 1
    elif change == "one early":
        arrays["valids"][1] = 0
    else:
        arrays["valids"] = arrays["valids"] * 0.5
    np.savez(source, **arrays)
    found = bring("ogbench", source, "--action-bounds", "measured")
    assert found.code == 1 and "'valids'" in found.said
