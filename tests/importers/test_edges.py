"""At the edge, these formats do the same: no steps, one step, one number, a last step that pays."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from cog import cli
from tests.importers.stores import buffer, write_folder

FORMATS = ("maniskill", "ogbench", "dreamer", "reference", "diffusion_policy")


def made(lengths, size=1):
    """Episodes of T + 1 states and T actions of `size` numbers; the last step of each is rewarded."""
    rng = np.random.default_rng(0)
    for steps in lengths:
        states = rng.normal(size=(steps + 1, 3)).astype(np.float32)
        rewards = (np.arange(steps) == steps - 1).astype(np.float32)
        yield states, rng.uniform(-1, 1, (steps, size)).astype(np.float32), rewards


def write(name, folder: Path, episodes, flat=False) -> Path:
    """The episodes in a format; `flat` stores actions of one number without an axis."""
    episodes = list(episodes)

    def acts(actions):
        return actions[:, 0] if flat else actions

    if name == "maniskill":
        with h5py.File(folder / "a.h5", "w") as file:
            for number, (states, actions, rewards) in enumerate(episodes):
                group = file.create_group(f"traj_{number}")
                group["obs"], group["actions"], group["rewards"] = states, acts(actions), rewards
                group["success"] = group["terminated"] = rewards > 0
                group["truncated"] = np.zeros(len(rewards), bool)
        return folder / "a.h5"
    if name == "ogbench":
        rows = {"observations": np.concatenate([states for states, _, _ in episodes])}
        last = [np.arange(len(states)) == len(states) - 1 for states, _, _ in episodes]
        rows["terminals"] = np.concatenate(last)
        rows["valids"] = ~rows["terminals"]
        rows["actions"] = np.concatenate([np.pad(actions, ((0, 1), (0, 0))) for _, actions, _ in episodes])
        rows["rewards"] = np.concatenate([np.pad(rewards, (1, 0)) for _, _, rewards in episodes])
        np.savez(folder / "a.npz", **rows)
        return folder / "a.npz"
    if name == "dreamer":
        for number, (states, actions, rewards) in enumerate(episodes):
            np.savez(
                folder / f"{number:03d}.npz",
                state=states,
                action=acts(np.pad(actions, ((1, 0), (0, 0)))),
                reward=np.pad(rewards, (1, 0)),
                is_first=np.arange(len(states)) == 0,
                is_terminal=np.zeros(len(states), bool),
            )
        return folder
    if name == "reference":
        rows = [
            {
                "observations": [{"state": state} for state in states[:-1]],
                "next_observations": [{"state": state} for state in states[1:]],
                "actions": list(acts(actions)),
                "rewards": list(rewards),
                "terminals": [False] * len(actions),
            }
            for states, actions, rewards in episodes
        ]
        np.save(folder / "a.npy", np.array([*rows, None], object)[:-1], allow_pickle=True)
        return folder / "a.npy"
    columns = {
        "state": np.concatenate([states[:-1] for states, _, _ in episodes]),
        "action": acts(np.concatenate([actions for _, actions, _ in episodes])),
        "reward": np.concatenate([rewards for _, _, rewards in episodes]),
    }
    ends = np.cumsum([len(actions) for _, actions, _ in episodes])
    return write_folder(folder / "a.zarr", buffer(columns, ends, 4))


@pytest.fixture
def last(request):
    """The option that keeps the last step of a format without an observation after it."""
    return ["--last-frame", "repeat"] if request.getfixturevalue("name") == "diffusion_policy" else []


@pytest.mark.parametrize("name", FORMATS)
def test_episodes_without_a_step_are_left_out_and_counted(name, last, bring, tmp_path):
    given = list(made([0, 3, 0, 1]))
    found = bring(name, write(name, tmp_path, given), *last)
    assert [len(one) for one in found.episodes] == [3, 1]
    assert "2 episodes without a step were left out" in found.said
    for mine, (_, actions, rewards) in zip(found.episodes, [given[1], given[3]], strict=True):
        np.testing.assert_array_equal(mine.actions, actions)
        np.testing.assert_array_equal(mine.signals["reward"], [0, *rewards])


@pytest.mark.parametrize("name", FORMATS[:-1])
def test_a_source_of_empty_episodes_alone_is_refused(name, bring, tmp_path):
    found = bring(name, write(name, tmp_path, made([0, 0])))
    assert found.code == 1 and "no" in found.said and "step" in found.said, found.said
    assert not found.out.exists()


@pytest.mark.parametrize(
    ("name", "flat"),  # actions of OGBench without an axis are discrete choices
    [(name, flat) for name in FORMATS for flat in (False, True) if (name, flat) != ("ogbench", True)],
)
def test_actions_of_one_number_are_vectors_of_one(name, flat, last, bring, tmp_path):
    given = list(made([3, 2]))
    found = bring(name, write(name, tmp_path, given, flat), *last)
    for mine, (_, actions, _) in zip(found.episodes, given, strict=True):
        np.testing.assert_array_equal(mine.actions, actions)


@pytest.mark.parametrize("name", FORMATS)
def test_a_reward_in_the_last_step_is_kept_or_its_loss_refused(name, bring, tmp_path):
    found = bring(name, write(name, tmp_path, made([3, 4])), "--success", "reward>0")
    if name == "diffusion_policy":
        assert found.code == 2 and "--last-frame repeat" in found.said
        return
    assert [one.success for one in found.episodes] == [True, True]
    assert [one.signals["reward"].sum() for one in found.episodes] == [1, 1]


@pytest.mark.parametrize("name", FORMATS)
def test_the_environments_own_end_is_told_from_the_end_of_a_recording(name, last, bring, tmp_path):
    found = bring(name, write(name, tmp_path, made([3])), *last)
    own = name == "maniskill"  # the only one here whose file says so
    assert [(one.terminated, one.truncated) for one in found.episodes] == [(own, not own)]


@pytest.mark.parametrize("name", FORMATS)
def test_actions_that_are_not_finite_are_refused_by_name(name, last, bring, tmp_path):
    given = list(made([3, 2]))
    given[1][1][1] = np.nan
    found = bring(name, write(name, tmp_path, given), *last)
    assert found.code == 1 and "must be finite" in found.said and "actions" in found.said


@pytest.mark.parametrize("name", ["dreamer", "diffusion_policy"])
@pytest.mark.parametrize("place", ["", "new", "data/deep/new", "../SELF/new"])
def test_no_dataset_is_written_into_a_source_that_is_a_folder(name, place, last, capsys, tmp_path):
    source = write(name, tmp_path, made([3]))
    before = sorted(tmp_path.rglob("*"))
    out = source / place.replace("SELF", source.name)
    assert cli.run(["import", name, str(source), "--out", str(out), *last]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "would lie in the source" in said and "outside of it with --out" in said
    assert sorted(tmp_path.rglob("*")) == before
    beside = tmp_path.parent / f"{tmp_path.name}-beside"  # its name begins with the source's
    assert cli.run(["import", name, str(source), "--out", str(beside), *last]) == 0
