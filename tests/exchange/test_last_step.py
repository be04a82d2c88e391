"""No import loses a step that counts: the last is kept, repeated, refused or counted; so are empty ones."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from cog import cli
from cog.datasets.storage.dataset import open_dataset

NEXT, REPEAT, DROP = [], ["--last-frame", "repeat"], ["--last-frame", "drop"]


def robomimic(path: Path, rewards: list[list[float]], following: bool = False) -> Path:
    """Episodes with these rewards, and two numbers as their state."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number, earned in enumerate(rewards):
            states = rng.normal(size=(len(earned) + 1, 2))
            demo = file.create_group(f"data/demo_{number}")
            demo["actions"], demo["rewards"] = rng.uniform(-1, 1, (len(earned), 2)), np.array(earned, float)
            demo["obs/q"] = states[:-1]
            if following:
                demo["next_obs/q"] = states[1:]
    return path


def run(kind: str, source: Path, out: Path, *options: str) -> int:
    return cli.run(["import", kind, str(source), "--out", str(out), *options])


ALONE = [
    ([[0, 0, 0, 1], [0, 0, 0]], 1, "rewards of 1"),  # the only reward
    ([[-1, -1, -1, 0]], 1, "rewards of 0"),  # the only step that costs nothing
    ([[0, 1, 0], [0, 0, 2.5], [0, 0, 1.5]], 2, "rewards of 4"),
    ([[1], [0, 0]], 1, "rewards of 1"),  # a whole episode
    ([[0, -100], [0, 0]], 1, "rewards of -100"),
]


@pytest.mark.parametrize(("rewards", "episodes", "sum_of"), ALONE)
def test_the_only_reward_of_an_episode_is_not_dropped_unless_asked_for(
    rewards, episodes, sum_of, tmp_path, capsys
):
    source = robomimic(tmp_path / "a.hdf5", rewards)
    assert run("robomimic", source, tmp_path / "d") == 2 and not (tmp_path / "d").exists()
    said = " ".join(capsys.readouterr().err.split())
    assert f"{len(rewards)} last actions" in said and sum_of in said
    assert f"{episodes} episodes would lose the only one they have" in said and "--last-frame repeat" in said
    assert run("robomimic", source, tmp_path / "r", *REPEAT) == 0
    kept = [episode.signals["reward"][1:].tolist() for episode in open_dataset(tmp_path / "r").episodes()]
    assert kept == [list(map(float, earned)) for earned in rewards]
    assert run("robomimic", source, tmp_path / "n", *DROP) == 0
    assert open_dataset(tmp_path / "n").step_count == sum(len(earned) - 1 for earned in rewards)
    assert sum_of in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("rewards", [[[0.3, 0.1, 0.7], [0.2, 0.9]], [[0, 1, 0], [1, 1]], [[0, 0, 0], [0, 0]]])
def test_dense_and_earlier_rewards_are_dropped_with_a_count(rewards, tmp_path, capsys):
    source = robomimic(tmp_path / "a.hdf5", rewards)
    assert run("robomimic", source, tmp_path / "d") == 0
    assert f"{len(rewards)} last actions were dropped" in " ".join(capsys.readouterr().out.split())
    found = [episode.signals["reward"][1:] for episode in open_dataset(tmp_path / "d").episodes()]
    for one, wanted in zip(found, rewards, strict=True):
        np.testing.assert_array_equal(one, np.array(wanted[:-1], np.float32))


@pytest.mark.parametrize(("by", "code"), [("any", 0), ("last", 2)])
def test_a_success_is_lost_by_the_rule_that_counts_it(by, code, tmp_path, capsys):
    source = robomimic(tmp_path / "a.hdf5", [[0.1, 0.9, 0.2, 0.9]])  # 1 again at its end
    arguments = ["--success", "reward>0.5", "--success-by", by]
    assert run("robomimic", source, tmp_path / "d", *arguments) == code
    assert ("1 successes would be gone" in " ".join(capsys.readouterr().err.split())) == (code == 2)


def empty(folder: Path, form: str, counts: tuple[int, ...]) -> Path:
    """Episodes of so many steps in one of the formats, as their packages lay them out."""
    rng = np.random.default_rng(0)
    if form.startswith("robomimic"):
        rewards = [rng.normal(size=steps).tolist() for steps in counts]
        return robomimic(folder / "a.hdf5", rewards, following=form.endswith("next"))
    if form == "minari":
        (folder / "m-v0/data").mkdir(parents=True)
        with h5py.File(folder / "m-v0/data/main_data.hdf5", "w") as file:
            for number, steps in enumerate(counts):
                group = file.create_group(f"episode_{number}")
                group["observations"] = rng.normal(size=(steps + 1, 2))
                group["actions"], group["rewards"] = rng.uniform(-1, 1, (steps, 2)), np.zeros(steps)
                group["terminations"] = group["truncations"] = np.zeros(steps, bool)
        about = {"data_format": "hdf5", "total_episodes": len(counts)}
        (folder / "m-v0/data/metadata.json").write_text(json.dumps(about))
        return folder / "m-v0"
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root, total = folder / "le", sum(counts)
    for name in ("meta/episodes/chunk-000", "data/chunk-000"):
        (root / name).mkdir(parents=True)
    vectors = ("observation.state", "action")
    features = {key: {"dtype": "float32", "shape": [2]} for key in vectors}
    counters = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    features |= {key: {"dtype": "int64", "shape": [1]} for key in counters}
    (root / "meta/info.json").write_text(
        json.dumps({"codebase_version": "v3.0", "fps": 10, "features": features})
    )
    frames = [step for steps in counts for step in range(steps)]
    rows = {key: rng.uniform(-1, 1, (total, 2)).tolist() for key in vectors}
    rows |= {"timestamp": [step / 10 for step in frames], "frame_index": frames, "index": list(range(total))}
    rows |= {"episode_index": np.repeat(range(len(counts)), counts).tolist(), "task_index": [0] * total}
    parquet.write_table(pyarrow.table(rows), root / "data/chunk-000/file-000.parquet")
    places = {key: [0] * len(counts) for key in ("data/chunk_index", "data/file_index")}
    about = {
        "episode_index": list(range(len(counts))),
        "length": list(counts),
        "tasks": [["x"]] * len(counts),
    }
    parquet.write_table(pyarrow.table(about | places), root / "meta/episodes/chunk-000/file-000.parquet")
    return root


@pytest.mark.parametrize("form", ["robomimic", "robomimic-next", "minari", "lerobot"])
@pytest.mark.parametrize("bounds", ["unit", "measured"])
@pytest.mark.parametrize("counts", [(4, 0, 3), (0, 4, 1, 0)])
def test_episodes_without_a_step_are_left_out_and_counted(form, bounds, counts, tmp_path, capsys):
    source = empty(tmp_path, form, counts)
    kind = form.partition("-")[0]
    options = REPEAT if form in ("robomimic", "lerobot") else NEXT
    assert run(kind, source, tmp_path / "d", "--action-bounds", bounds, *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{counts.count(0)} episodes without a step were left out" in said
    lengths = [len(episode) for episode in open_dataset(tmp_path / "d").episodes()]
    assert lengths == [steps for steps in counts if steps]


@pytest.mark.parametrize("bounds", ["unit", "measured"])
def test_a_source_without_any_step_is_refused_in_one_line(bounds, tmp_path, capsys):
    source = empty(tmp_path, "robomimic-next", (0, 0))
    assert run("robomimic", source, tmp_path / "d", "--action-bounds", bounds) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert str(source) in said and "must hold at least one action in one episode, found none" in said
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("place", ["obs", "next_obs"])
def test_a_number_that_is_not_finite_is_named_before_observations_are_compared(place, tmp_path, capsys):
    source = robomimic(tmp_path / "a.hdf5", [[0.1, 0.2, 0.4]], following=True)
    with h5py.File(source, "a") as file:
        file[f"data/demo_0/{place}/q"][1, 0] = np.nan
    assert run("robomimic", source, tmp_path / "d") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "must be finite, found nan in row 1" in said and "must be the observation" not in said


@pytest.mark.parametrize("field", ["observations", "next_observations"])
def test_a_flat_file_with_such_a_number_is_not_cut_there(field, tmp_path, capsys):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(7, 2))
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["observations"], file["next_observations"] = states[:-1], states[1:]
        file["actions"], file["timeouts"] = np.zeros((6, 2)), np.arange(6) == 5
        file[field][2, 1] = np.inf
    assert run("d4rl", tmp_path / "a.hdf5", tmp_path / "d") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"field '{field}': must be finite, found inf at step 2" in said


@pytest.mark.parametrize("flags", [[0, 1, 0, 0], [1, 1, 0, 1], [1, 0, 0, 0]])
def test_an_episode_that_goes_on_after_its_end_is_refused(flags, tmp_path, capsys):
    source = empty(tmp_path, "minari", (4,))
    with h5py.File(source / "data/main_data.hdf5", "a") as file:
        file["episode_0/terminations"][...] = np.array(flags, bool)
    assert run("minari", source, tmp_path / "d") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "episode 0, field 'episode_0/terminations': must mark the last step of 4 alone as an end" in said
    assert f"found step {flags.index(1)}" in said and not (tmp_path / "d").exists()
