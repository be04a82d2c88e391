"""What OGBench's own loader gives comes in with the reward of the state that each step leads to."""

import numpy as np
import pytest

from cog import cli
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify

pytest.importorskip("ogbench")
NAME, LENGTHS = "pointmaze-medium-navigate-singletask-v0", (12, 5, 30)


@pytest.fixture
def published(tmp_path):
    """A file as OGBench publishes them, and an environment whose task its loader rewards."""
    import ogbench

    env = ogbench.make_env_and_datasets(NAME, env_only=True)
    env.reset(seed=0)
    goal = np.asarray(env.unwrapped.cur_goal_xy)
    rng = np.random.default_rng(0)
    rows = {"observations": [], "actions": [], "terminals": [], "qpos": [], "qvel": []}
    for number, steps in enumerate(LENGTHS):
        # The path ends at the goal, except for the second; the last action is what reaches it.
        path = goal + np.linspace(9, 9 if number == 1 else 0, steps + 1)[:, None] * [1, 0]
        rows["observations"].append(path)
        rows["qpos"].append(path)
        rows["qvel"].append(np.zeros_like(path))
        rows["actions"].append(rng.uniform(-1, 1, (steps + 1, 2)))
        rows["terminals"].append(np.arange(steps + 1) == steps)
    arrays = {name: np.concatenate(parts).astype(np.float32) for name, parts in rows.items()}
    for ending in ("", "-val"):
        np.savez_compressed(tmp_path / f"maze{ending}.npz", **arrays)
    return tmp_path / "maze.npz", arrays, (goal, env.unwrapped._goal_tol)


def load(path, compact):
    import ogbench

    return ogbench.make_env_and_datasets(NAME, dataset_path=str(path), compact_dataset=compact)[1]


def brought(path, out, *options):
    assert cli.run(["import", "ogbench", str(path), "--out", str(out), *options]) == 0
    assert verify(out) == []
    return list(open_dataset(out).episodes())


@pytest.mark.parametrize("compact", [True, False])
def test_what_its_loader_gives_is_rewarded_by_the_state_reached(published, tmp_path, compact, capsys):
    path, arrays, (goal, near) = published
    theirs = load(path, compact)
    assert theirs["terminals"].sum() == len(LENGTHS) * (2 if compact else 1)
    np.savez(tmp_path / "loaded.npz", **theirs)
    found = brought(tmp_path / "loaded.npz", tmp_path / "data", "--success", "masks")
    lost = 0 if compact else 1
    assert [len(one) for one in found] == [steps - lost for steps in LENGTHS]
    begin = 0
    for mine, steps in zip(found, LENGTHS, strict=True):
        path_of = arrays["observations"][begin : begin + steps + 1 - lost]
        reached = np.linalg.norm(path_of - goal, axis=1) <= near
        np.testing.assert_array_equal(mine.state, path_of)
        np.testing.assert_array_equal(mine.actions, arrays["actions"][begin : begin + steps - lost])
        np.testing.assert_array_equal(mine.signals["reward"][1:], reached[1:].astype(np.float32) - 1)
        np.testing.assert_array_equal(mine.signals["success"][1:], reached[1:])
        begin += steps + 1
    assert [one.success for one in found] == [True, False, True]
    assert "rewards the state before an action" in " ".join(capsys.readouterr().out.split())


def test_the_published_file_comes_in_as_its_loader_reads_it(published, tmp_path):
    path, _, _ = published
    theirs = load(path, False)
    found = brought(path, tmp_path / "data")
    states = np.concatenate([one.state[:-1] for one in found])
    after = np.concatenate([one.state[1:] for one in found])
    np.testing.assert_array_equal(states, theirs["observations"])
    np.testing.assert_array_equal(after, theirs["next_observations"])
    np.testing.assert_array_equal(np.concatenate([one.actions for one in found]), theirs["actions"])
    ends = np.concatenate([np.arange(len(one)) == len(one) - 1 for one in found])
    np.testing.assert_array_equal(ends, theirs["terminals"])
