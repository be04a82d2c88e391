"""An export holds the source's arrays to the bit, tells where they came from, and is whole or absent."""

import json
import resource
import sys
import tracemalloc
from dataclasses import replace
from importlib.util import find_spec

import h5py
import numpy as np
import pytest

from cog import cli
from cog.core.files import code_version
from cog.datasets.exporters import FORMATS, statistics
from cog.datasets.exporters.run import export
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import labelled, open_view, relabel
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.errors import CogError, UsageError
from tests.conftest import make_episode

KINDS = (
    "robomimic",
    "minari",
    "d3rlpy",
    pytest.param(
        "lerobot", marks=pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")
    ),
)
NEEDED = {"lerobot": {"fps": 20}}


@pytest.fixture
def source(make_dataset):
    """A dataset under a view that ends episodes at success."""
    dataset = make_dataset("task")
    relabel(dataset.path, "grasp_success", "reward", scale=10.0)
    return open_merge(dataset.path)


@pytest.fixture
def merge(source, make_dataset, tmp_path):
    """A merge of a task source and a prior source."""
    prior = make_dataset("old", episodes=5, seed=1)
    relabel(prior.path, "zero", "none")
    task = source.sources[0].dataset.path
    return write_merge(tmp_path / "all.json", [f"{task}@reward"], [f"{prior.path}@none"], 0.25)


@pytest.fixture
def states(make_dataset):
    """A dataset of states, under a view that ends nothing."""
    dataset = make_dataset("states", state=True)
    relabel(dataset.path, "grasp_success", "persistent", terminate=False)
    return open_merge(dataset.path)


def episodes_of(merge):
    return [episode for one in merge.sources for episode in labelled(one.dataset, one.view)]


def same(found, wanted):
    np.testing.assert_array_equal(found[()], wanted, strict=True)


def frames_of(episode):
    frames = {"image": episode.images, "proprio": episode.proprio, "state": episode.state}
    return {name: values for name, values in frames.items() if values is not None}


def target(kind, folder):
    names = {"robomimic": "data.hdf5", "minari": "data-v0", "d3rlpy": "data.h5", "lerobot": "data"}
    return folder / names[kind]


def options_of(kind, **given):
    """Options of a format, with those that it needs."""
    return FORMATS[kind].load()(**NEEDED.get(kind, {}) | given)


def exported(kind, merge, folder):
    """Export with what the format needs; returns the path."""
    export(options_of(kind), merge, target(kind, folder))
    return target(kind, folder)


@pytest.mark.parametrize("name", ["source", "merge", "states"])
def test_a_robomimic_file_holds_every_array(name, request, tmp_path):
    merge = request.getfixturevalue(name)
    episodes = episodes_of(merge)
    export(options_of("robomimic"), merge, tmp_path / "data.hdf5")
    with h5py.File(tmp_path / "data.hdf5") as file:
        assert len(file["data"]) == len(episodes)
        assert file["data"].attrs["total"] == sum(map(len, episodes))
        assert json.loads(file["data"].attrs["env_args"]).keys() == {"env_name", "type", "env_kwargs"}
        for number, episode in enumerate(episodes):
            demo = file[f"data/demo_{number}"]
            assert demo.attrs["num_samples"] == len(episode) and demo.attrs["seed"] == episode.seed
            frames = frames_of(episode)
            assert demo["obs"].keys() == demo["next_obs"].keys() == frames.keys()
            for key, values in frames.items():
                same(demo["obs"][key], values[:-1])
                same(demo["next_obs"][key], values[1:])
            same(demo["actions"], episode.actions)
            same(demo["rewards"], episode.rewards)
            same(demo["dones"], episode.terminals.astype(np.int64))
            for signal, values in episode.signals.items():
                same(demo["signals"][signal], values)


def test_a_merge_gives_robomimic_its_roles_as_filter_keys_and_a_dataset_none(merge, source, tmp_path):
    export(options_of("robomimic"), merge, tmp_path / "merge.hdf5")
    export(options_of("robomimic"), source, tmp_path / "source.hdf5")
    with h5py.File(tmp_path / "merge.hdf5") as file:
        assert file["mask/task"][()].tolist() == [f"demo_{number}".encode() for number in range(7)]
        assert file["mask/prior"][()].tolist() == [f"demo_{number}".encode() for number in range(7, 12)]
    with h5py.File(tmp_path / "source.hdf5") as file:
        assert "mask" not in file


@pytest.mark.parametrize("share, held_out", [(0.01, 1), (0.5, 4), (0.99, 6)])
def test_the_held_out_share_is_drawn_by_the_seed_and_leaves_both_parts_something(
    share, held_out, source, tmp_path
):
    parts = []
    for number, seed in enumerate((5, 5, 6)):
        path = tmp_path / f"{number}.hdf5"
        export(options_of("robomimic", valid_share=share, seed=seed), source, path)
        with h5py.File(path) as file:
            train, valid = file["mask/train"][()].tolist(), file["mask/valid"][()].tolist()
            assert sorted(train + valid) == sorted(name.encode() for name in file["data"])
        assert len(valid) == held_out
        parts.append(valid)
    assert parts[0] == parts[1] != parts[2]


@pytest.mark.parametrize("name", ["source", "merge", "states"])
def test_a_minari_folder_holds_every_array(name, request, tmp_path):
    merge = request.getfixturevalue(name)
    episodes = episodes_of(merge)
    export(options_of("minari"), merge, tmp_path / "data-v0")
    metadata = json.loads((tmp_path / "data-v0/data/metadata.json").read_text())
    assert metadata["dataset_id"] == "data-v0" and metadata["jpeg_encoding"] is False
    assert metadata["total_episodes"] == len(episodes)
    assert metadata["total_steps"] == sum(map(len, episodes))
    spaces = json.loads(metadata["observation_space"])["subspaces"]
    assert {key: space["shape"] for key, space in spaces.items()} == {
        key: list(values.shape[1:]) for key, values in frames_of(episodes[0]).items()
    }
    with h5py.File(tmp_path / "data-v0/data/main_data.hdf5") as file:
        assert len(file) == len(episodes)
        for number, episode in enumerate(episodes):
            group = file[f"episode_{number}"]
            for key, values in frames_of(episode).items():
                same(group["observations"][key], values)
            same(group["actions"], episode.actions)
            same(group["rewards"], episode.rewards)
            same(group["terminations"], episode.terminals)
            stopped = group["terminations"][()] | group["truncations"][()]
            assert stopped.tolist() == [False] * (len(episode) - 1) + [True], "an episode has one end"
            for signal, values in episode.signals.items():
                same(group["infos/signals"][signal], values)


@pytest.mark.parametrize("name", ["source", "merge", "states"])
def test_a_d3rlpy_file_holds_every_array_but_the_last_frame(name, request, tmp_path):
    merge = request.getfixturevalue(name)
    episodes = episodes_of(merge)
    result = export(options_of("d3rlpy"), merge, tmp_path / "data.h5")
    cut_off = sum(not episode.terminals[-1] for episode in episodes)
    assert result.steps - result.sampled == cut_off > 0 and f"{cut_off} last steps" in str(result)
    with h5py.File(tmp_path / "data.h5") as file:
        assert file["num_episodes"][()] == len(episodes) and file["version"][()] == b"2.1"
        assert file["columns"][()].tolist() == [b"observations", b"actions", b"rewards", b"terminated"]
        for number, episode in enumerate(episodes):
            if name == "states":
                same(file[f"observations_{number}"], episode.state[:-1])
            else:
                same(file[f"observations_{number}_0"], episode.images[:-1].transpose(0, 3, 1, 2))
                same(file[f"observations_{number}_1"], episode.proprio[:-1])
            same(file[f"actions_{number}"], episode.actions)
            same(file[f"rewards_{number}"], episode.rewards.reshape(-1, 1))
            assert file[f"terminated_{number}"][()] == episode.terminals[-1]


def origin_of(kind, path):
    if kind == "minari":
        return json.loads((path / "data/metadata.json").read_text())["cog"]
    if kind == "lerobot":
        return json.loads((path / "meta/info.json").read_text())["cog"]
    with h5py.File(path) as file:
        return json.loads(file["cog"][()])


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_names_its_sources_and_leaves_them_alone(kind, merge, tmp_path, frozen):
    folders = [source.dataset.path for source in merge.sources]
    before = [frozen(folder) for folder in folders], merge.path.read_bytes()
    out = exported(kind, merge, tmp_path / "out")
    assert ([frozen(folder) for folder in folders], merge.path.read_bytes()) == before
    assert list(out.parent.iterdir()) == [out]
    origin = origin_of(kind, out)
    assert origin["code_version"] == code_version()
    for found, folder, (role, share, view) in zip(
        origin["sources"], folders, [("task", 0.25, "reward"), ("prior", 0.75, "none")], strict=True
    ):
        dataset = open_dataset(folder)
        assert (found["role"], found["share"], found["name"]) == (role, share, folder.name)
        assert found["dataset_hash"] == dataset.hash
        assert found["relabel_hash"] == open_view(dataset, view).hash()
        assert found["relabel"]["name"] == view


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_data_give_the_same_bytes(kind, merge, tmp_path, frozen):
    for name in ("one", "other"):
        exported(kind, merge, tmp_path / name)
    assert frozen(tmp_path / "one") == frozen(tmp_path / "other")


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_exists_is_refused_and_stays(kind, source, tmp_path, frozen):
    file, folder, link = (tmp_path / "there" / name for name in ("file-v0", "folder-v0", "link-v0"))
    folder.mkdir(parents=True)
    file.write_bytes(b"precious")
    link.symlink_to("nowhere")
    before = frozen(tmp_path / "there")
    for out in (file, folder, link):
        with pytest.raises(CogError, match=f"{out.name}: exists already"):
            export(options_of(kind), source, out)
    assert frozen(tmp_path / "there") == before and not any(folder.iterdir()) and link.is_symlink()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_shard_is_named_and_nothing_is_left(kind, source, tmp_path):
    shard = source.sources[0].dataset.path / "shards/00002.h5"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(CogError, match=r"00002\.h5"):
        exported(kind, source, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_that_differ_from_the_view_s_are_never_published(kind, source, tmp_path):
    view = replace(source.sources[0].view, scale=5.0)
    forged = replace(source, sources=(replace(source.sources[0], view=view),))
    with pytest.raises(CogError, match="now gives other rewards"):
        exported(kind, forged, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_export_leaves_nothing(kind, source, tmp_path):
    def interrupt(done, note):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(options_of(kind), source, target(kind, tmp_path / "out"), interrupt)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [0, 100, 3000, 10_000])
def test_a_file_that_cannot_grow_is_a_clear_error_and_nothing_is_left(kind, limit, merge, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(
            CogError, match=r"could not be written.*(Raise the limit on the size|run the same command again)"
        ):
            exported(kind, merge, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "out").iterdir())
    exported(kind, merge, tmp_path / "out")


def test_a_terminal_step_in_the_middle_is_kept_or_refused_by_name(tmp_path):
    episode = make_episode(np.random.default_rng(0), 4)
    terminals = np.array([False, True, False, False])
    episode = replace(episode, rewards=terminals.astype(np.float32), terminals=terminals)
    write_dataset(tmp_path / "data", [episode], {"kind": "made"})
    merge = open_merge(tmp_path / "data")
    export(options_of("robomimic"), merge, tmp_path / "data.hdf5")
    with h5py.File(tmp_path / "data.hdf5") as file:
        assert file["data/demo_0/dones"][()].tolist() == [0, 1, 0, 0]
    for kind in ("minari", "d3rlpy"):
        with pytest.raises(CogError, match=r"data: episode 0, field 'terminals'.*cog relabel"):
            export(options_of(kind), merge, target(kind, tmp_path / "out"))


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("robomimic", {"valid_share": 1.0}, r"valid_share is 1.0; it must lie in \[0, 1\)"),
        ("robomimic", {"valid_share": float("nan")}, r"valid_share is nan; it must lie in \[0, 1\)"),
        ("d3rlpy", {"observation": "state"}, r"'state' is not in the data\. Choose one of: image, pro"),
        ("robomimic", {"valid_share": 0.5, "seed": -1}, "seed is -1; it must lie in"),
        ("lerobot", {"fps": 0}, "fps is 0; it must be at least 1"),
        ("minari", {"name": "data"}, "NAME-vNUMBER"),
        ("minari", {"name": "other/data-v0"}, "finds the dataset 'other/data-v0'"),
    ],
)
def test_options_that_make_no_sense_are_refused(kind, options, message, source, tmp_path):
    with pytest.raises(UsageError, match=message):
        export(options_of(kind, **options), source, target(kind, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "kind, option",
    [
        ("minari", ["--valid-share", "0.1"]),
        ("robomimic", ["--name", "a-v0"]),
        ("d3rlpy", ["--fps", "2"]),
        ("lerobot", []),
    ],
)
def test_an_option_of_another_format_or_a_missing_one_is_wrong_usage(kind, option, tmp_path, capsys):
    assert cli.run(["export", kind, str(tmp_path), "--out", str(tmp_path / "out"), *option]) == 2
    assert (option or ["--fps"])[0] in capsys.readouterr().err


def test_a_single_episode_cannot_be_held_out(make_dataset, tmp_path):
    relabel(make_dataset("one", episodes=1).path, "zero", "none")
    with pytest.raises(UsageError, match="at least two episodes"):
        export(options_of("robomimic", valid_share=0.5), open_merge(tmp_path / "one"), tmp_path / "data.hdf5")


def test_one_observation_alone_is_written_where_d3rlpy_is_to_see_no_other(source, tmp_path):
    export(options_of("d3rlpy", observation="proprio"), source, tmp_path / "data.h5")
    with h5py.File(tmp_path / "data.h5") as file:
        same(file["observations_0"], episodes_of(source)[0].proprio[:-1])
        assert "observations_0_0" not in file


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_number_of_episodes(kind, tmp_path):
    rng = np.random.default_rng(0)
    steps, shape = 7, (64, 64, 3)

    def episode():
        return replace(make_episode(rng, steps), images=rng.integers(0, 256, (steps + 1, *shape), np.uint8))

    peaks = []
    for count in (2, 10):
        data = write_dataset(tmp_path / f"{count}", (episode() for _ in range(count)), {}, None, 1)
        relabel(data.path, "zero", "none")
        merge = open_merge(data.path)
        tracemalloc.start()
        exported(kind, merge, tmp_path / f"out{count}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    images = (steps + 1) * int(np.prod(shape))
    assert images < peaks[0] and peaks[1] < peaks[0] + 4 * images, "8 episodes more take less than 4 of them"


def test_the_command_writes_refuses_and_exits_accordingly(source, tmp_path, capsys):
    data, out = str(source.sources[0].dataset.path), str(tmp_path / "data.hdf5")
    assert cli.run(["export", "robomimic", f"{data}@reward", "--out", out]) == 0
    assert f"{out}: 7 episodes" in capsys.readouterr().out
    assert cli.run(["export", "robomimic", f"{data}@reward", "--out", out]) == 1
    assert "exists already" in capsys.readouterr().err
    assert cli.run(["export", "minari", f"{data}@reward", "--out", str(tmp_path / "data")]) == 2
    assert "NAME-vNUMBER" in capsys.readouterr().err
    assert cli.run(["export", "numpy", f"{data}@reward", "--out", out]) == 2
    assert "there is no format 'numpy'" in capsys.readouterr().err


def test_data_without_rewards_are_refused_with_the_command_that_gives_them(make_dataset, tmp_path, capsys):
    data = str(make_dataset().path)
    assert cli.run(["export", "d3rlpy", data, "--out", str(tmp_path / "data.h5")]) == 1
    error = capsys.readouterr().err
    assert "data: it has no reward view. Make one with cog relabel" in error
    assert not (tmp_path / "data.h5").exists()


def test_a_missing_package_is_named_with_the_extra_that_brings_it(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CogError, match=r"'pyarrow'.*extra 'lerobot'"):
        exported("lerobot", source, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_statistics_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    for shape in ((3,), (4, 5, 3)):
        values = rng.integers(0, 256, (11, *shape)).astype(np.uint8)
        joined = statistics.together(statistics.of_values(values[:4]), statistics.of_values(values[4:]))
        whole = statistics.of_values(values)
        for name in ("min", "max", "mean", "std", "count"):
            np.testing.assert_allclose(joined[name], whole[name], atol=1e-12)
        scale = 1 if len(shape) == 1 else 255
        np.testing.assert_allclose(whole["std"].ravel() * scale, values.reshape(-1, 3).std(axis=0))
