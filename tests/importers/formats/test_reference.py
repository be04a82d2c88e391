"""Files of the original COG code come in with every observation, and say what their rewards are."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog.datasets.importers.reference import ReferenceOptions
from cog.datasets.relabel.view import labelled, relabel
from tests.importers.conftest import read_all

MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VECTORS = ("state", "object_position")


def trajectories(lengths, seed=0, rewarded=True):
    """T + 1 observations each, as arrays; every second ends in a reward, in the last two steps."""
    rng = np.random.default_rng(seed)
    for number, steps in enumerate(lengths):
        rewards = np.zeros(steps)
        rewards[-2:] = rewarded and number % 2 == 0
        yield {
            "image": rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
            "state": rng.normal(size=(steps + 1, 10)),
            "object_position": rng.normal(size=(steps + 1, 3)),
            "object_orientation": rng.normal(size=(steps + 1, 4)),
            "actions": rng.uniform(-0.9, 0.9, (steps, 8)),
            "rewards": rewards,
        }


OBSERVED = ("image", "state", "object_position", "object_orientation")


def pickled(one):
    """A trajectory as the collection of the original code keeps it: lists of dictionaries and numbers."""
    steps = len(one["actions"])
    rows = [{key: one[key][row] for key in OBSERVED} for row in range(steps + 1)]
    return {
        "observations": rows[:-1],
        "next_observations": [dict(row) for row in rows[1:]],
        "actions": list(one["actions"]),
        "rewards": [float(reward) for reward in one["rewards"]],
        "terminals": [False] * steps,
        "agent_infos": [{}] * steps,
        "env_infos": [{"grasp_success": bool(reward > 0), "height": 0.1} for reward in one["rewards"]],
    }


def save(path, given, following=True):
    made = [pickled(one) for one in given]
    for one in [] if following else made:
        del one["next_observations"]
    np.save(path, made, allow_pickle=True)
    return path


@MANY
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    last=st.sampled_from(["next", "drop", "repeat"]),
    rewarded=st.booleans(),
    following=st.booleans(),
)
def test_every_array_of_every_trajectory_comes_in(tmp_path, lengths, last, rewarded, following):
    given = list(trajectories(lengths, rewarded=rewarded))
    options = ReferenceOptions(proprio=VECTORS, success="env_infos/grasp_success", last_frame=last)
    found, notes = read_all(options, save(tmp_path / "prior.npy", given, following))
    for mine, one in zip(found, given, strict=True):
        rows = len(one["actions"]) + following
        np.testing.assert_array_equal(mine.images, one["image"][:rows])
        pose = np.concatenate([one[key] for key in VECTORS], axis=1)
        np.testing.assert_array_equal(mine.vectors, pose[:rows])
        np.testing.assert_array_equal(mine.actions, one["actions"])
        np.testing.assert_array_equal(mine.rewards, one["rewards"])
        np.testing.assert_array_equal(mine.success > 0, one["rewards"] > 0)
        assert (mine.closed, mine.terminated, mine.truncated) == (following, False, True)
    assert ("cog relabel --rule zero" in notes) == any(one["rewards"].any() for one in given)


def test_prior_rewards_become_zero_by_the_rule_that_the_import_names(bring, tmp_path):
    given = list(trajectories([3, 4]))
    options = ["--proprio", *VECTORS, "--image-size", 0, "--success", "reward>0"]
    found = bring("reference", save(tmp_path / "prior.npy", given), *options)
    assert "1 of 2 episodes hold rewards" in found.said and "--rule zero" in found.said
    for mine, one in zip(found.episodes, given, strict=True):
        np.testing.assert_array_equal(mine.images, one["image"])
        np.testing.assert_array_equal(mine.actions, one["actions"].astype(np.float32))
        np.testing.assert_array_equal(mine.signals["reward"], [0, *one["rewards"]])
    assert [one.success for one in found.episodes] == [True, False]
    view = relabel(found.out, "zero", "prior")
    assert not any(one.rewards.any() for one in labelled(found.dataset, view))


def odd(change):
    """A file of two trajectories, the second changed."""
    made = [pickled(one) for one in trajectories([2, 3])]
    change(made[1])
    return made


def drop(key):
    return lambda one: one.pop(key)


def put(key, value):
    return lambda one: one.update({key: value})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop("observations"), "episode 1: must be a dictionary with observations and actions"),
        (put("actions", [np.zeros(8)] * 2), "episode 1, field"),
        (put("actions", [np.zeros(8), np.zeros(7), np.zeros(8)]), "must be numbers of one shape"),
        (put("actions", ["a", "b", "c"]), "must be numbers at every step"),
        (put("observations", [1, 2, 3]), "must hold a dictionary for every step"),
        (lambda one: one["observations"][1].pop("state"), "field 'observations/state'"),
        (lambda one: one["next_observations"][0].update(state=np.ones(10)), "must be the observation of the"),
        (put("terminals", [True, False, False]), "field 'terminals': must mark the last step of 3 alone"),
        (put("rewards", 5), "must be a list with one entry for each of 3 actions"),
        (put("agent_infos", [Exception] * 3), "it names builtins.Exception"),
    ],
)
def test_what_is_no_such_trajectory_is_refused_by_field_and_rule(bring, tmp_path, change, named):
    np.save(tmp_path / "odd.npy", odd(change), allow_pickle=True)
    found = bring("reference", tmp_path / "odd.npy", "--proprio", "state")
    assert found.code == 1 and named in found.said, found.said
    assert not found.out.exists()


def test_an_unknown_mark_of_success_is_refused_with_those_there_are(bring, tmp_path):
    source = save(tmp_path / "a.npy", trajectories([2]))
    found = bring("reference", source, "--proprio", "state", "--success", "grasp_success")
    assert found.code == 2 and "env_infos/grasp_success" in found.said


def test_pictures_in_one_row_of_numbers_are_no_state(bring, tmp_path):
    made = [pickled(one) for one in trajectories([2])]
    for row in [*made[0]["observations"], *made[0]["next_observations"]]:
        row["image"] = (row["image"] / 255).astype(np.float32).reshape(-1)
    np.save(tmp_path / "flat.npy", made, allow_pickle=True)
    found = bring("reference", tmp_path / "flat.npy")
    assert found.episodes[0].state.shape == (3, 17) and "observations not taken: image" in found.said
    found = bring("reference", tmp_path / "flat.npy", "--proprio", "image")
    assert found.code == 2 and "there is no vector 'image'" in found.said
