"""Verify names what is wrong, and readers refuse it."""

import json

import numpy as np
import pytest

from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.datasets.storage.verify import verify
from cog.errors import CogError
from tests.conftest import forge, make_episode


def test_a_sound_dataset_has_no_problems(make_dataset):
    dataset = make_dataset()
    relabel(dataset.path, "grasp_success", "reward")
    assert verify(dataset.path) == []


@pytest.mark.parametrize(
    "name, told",
    [
        ("nowhere", "there is no dataset here (manifest.json is missing). Check the path"),
        ("begun", "this collection is unfinished. Run the same collect command again"),
    ],
)
def test_a_problem_has_the_words_of_its_error_once_and_only_its_own_remedy(
    name, told, make_dataset, tmp_path
):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/collection.json").write_text("{}")
    (problem,) = verify(tmp_path / name)
    assert str(problem) == f"{tmp_path / name}: {told}"


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.99])
def test_one_flipped_byte_in_a_shard_is_named_and_refused(part, make_dataset):
    dataset = make_dataset()
    shard = dataset.path / "shards/00001.h5"
    flip(shard, int(part * shard.stat().st_size))
    (problem,) = verify(dataset.path)
    assert problem.file == shard and problem.field and problem.rule and problem.remedy
    with pytest.raises(CogError, match=r"00001\.h5"):
        list(open_dataset(dataset.path).episodes())
    with pytest.raises(CogError, match=r"00001\.h5"):
        relabel(dataset.path, "zero", "none")
    assert not (dataset.path / "relabels").exists()


def test_every_damaged_shard_is_named_not_only_the_first(make_dataset):
    dataset = make_dataset()
    for name in ("00000", "00002"):
        path = dataset.path / f"shards/{name}.h5"
        path.write_bytes(path.read_bytes()[:1000])
    (dataset.path / "shards/00001.h5").unlink()
    assert [problem.file.name for problem in verify(dataset.path)] == ["00000.h5", "00001.h5", "00002.h5"]


def test_swapped_shards_are_noticed(make_dataset):
    dataset = make_dataset(episodes=6)
    one, other = dataset.path / "shards/00000.h5", dataset.path / "shards/00001.h5"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert len(verify(dataset.path)) == 2


def test_a_file_that_the_manifest_does_not_name_is_reported(make_dataset):
    dataset = make_dataset()
    stray = dataset.path / "shards/00099.h5"
    stray.write_bytes(b"")
    assert [problem.file for problem in verify(dataset.path)] == [stray]


@pytest.mark.parametrize(
    "field, value",
    [
        ("format", 3),
        ("kind", "merge"),
        ("episodes", 1000),
        ("successes", 0),
        ("hash", "0"),
        ("spec_hash", "0"),
        ("spec", {"seed": 1}),
        ("shards", []),
        ("shards", [{"file": "x"}]),
        ("environment", {}),
        ("code_version", None),
    ],
)
def test_a_manifest_with_one_wrong_field_is_refused(field, value, make_dataset):
    dataset = make_dataset()
    manifest = dataset.path / "manifest.json"
    forge(manifest, **{field: value})
    with pytest.raises(CogError, match=r"manifest\.json"):
        open_dataset(dataset.path)
    assert [problem.file for problem in verify(dataset.path)] == [manifest]


def test_a_manifest_cannot_point_out_of_its_folder(make_dataset):
    dataset = make_dataset()
    manifest = dataset.path / "manifest.json"
    shards = json.loads(manifest.read_text())["shards"]
    forge(manifest, shards=[{**shards[0], "file": "../elsewhere.h5"}, *shards[1:]])
    with pytest.raises(CogError, match="own folder"):
        open_dataset(dataset.path)


@pytest.mark.parametrize(
    "field, value",
    [
        ("reward_sum", 5.0),
        ("reward_hash", "0"),
        ("steps", 1),
        ("terminate", "yes"),
        ("dataset_hash", "0"),
        ("scale", True),
        ("extra", 1),
        ("rule", "no_such_rule"),
    ],
)
def test_a_view_with_one_wrong_field_is_named(field, value, make_dataset):
    dataset = make_dataset()
    relabel(dataset.path, "grasp_success", "reward")
    path = dataset.path / "relabels/reward.json"
    forge(path, **{field: value})
    (problem,) = verify(dataset.path)
    assert problem.file == path and problem.field != "seal"


def test_a_folder_that_holds_something_is_never_written_into(make_dataset, rng_episode, frozen):
    dataset = make_dataset()
    before = frozen(dataset.path)
    with pytest.raises(CogError, match="not empty"):
        write_dataset(dataset.path, [rng_episode], {})
    assert frozen(dataset.path) == before


@pytest.fixture
def rng_episode():
    return make_episode(np.random.default_rng(0), 3)
