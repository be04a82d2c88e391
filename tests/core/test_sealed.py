"""Small files say of themselves whether they are what was written; older ones are still read."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from cog.core.files import hash_json
from cog.core.sealed import SealError, read_sealed, write_sealed
from cog.datasets.load import load
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import labelled, open_view, relabel
from cog.datasets.storage.claim import KIND
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.growing import GrowingDataset
from cog.datasets.storage.verify import verify
from cog.errors import CogError
from cog.training import checkpoint
from cog.training.train import train
from tests.conftest import assert_same_episode, forge, make_episode
from tests.helpers.learner_data import config, noise

FIXTURES = Path(__file__).parents[1] / "data"
VALUE = {"path": "été/x", "share": 1e-05, "rows": [1, 2.5, None, True], "empty": {}}


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, "merge", VALUE)
    return path


def read(path):
    return read_sealed(path, "merge", "a merge", "make it again")


def test_what_was_written_comes_back_without_its_seal(sealed):
    assert read(sealed) == VALUE
    written = json.loads(sealed.read_text())
    assert written.keys() - VALUE.keys() == {"format", "kind", "seal"}
    assert written.pop("seal") == hash_json(written)


def test_every_flipped_bit_and_every_cut_is_detected(sealed):
    whole = sealed.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            sealed.write_bytes(damaged)
            with pytest.raises(CogError, match=r"a\.json"):
                read(sealed)
        sealed.write_bytes(whole[:place])
        with pytest.raises(CogError, match=r"a\.json"):
            read(sealed)
    sealed.write_bytes(whole)
    assert read(sealed) == VALUE


@pytest.mark.parametrize(
    "text",
    [
        '{"format": 2, "kind": "merge", "seal": NaN}',
        "[" * 100_000,
        '{"format": 2, "kind": "merge", "x": NaN}',
    ],
)
def test_text_that_was_never_written_is_refused(text, sealed):
    sealed.write_text(text)
    with pytest.raises(CogError, match=r"a\.json"):
        read(sealed)


def test_a_file_edited_or_laid_out_by_hand_is_refused_with_a_remedy(sealed):
    sealed.write_text(json.dumps(json.loads(sealed.read_text())))
    with pytest.raises(SealError, match=r"a\.json: field 'seal': .*edited. Make it again"):
        read(sealed)


def test_a_refusal_comes_whole_from_another_process(sealed):
    forge(sealed, format=99)
    with pytest.raises(SealError) as caught:
        read(sealed)
    back = pickle.loads(pickle.dumps(caught.value))
    assert str(back) == str(caught.value) and "a.json: field 'format': must be 1 to 2" in str(back)
    assert vars(back) == vars(caught.value) and isinstance(back, SealError)


def test_a_file_of_a_newer_format_or_another_kind_is_refused_by_name(sealed):
    forge(sealed, format=3)
    with pytest.raises(SealError, match=r"field 'format': .*found 3.*newer cog"):
        read(sealed)
    forge(sealed, format=2)
    with pytest.raises(SealError, match="field 'kind': must be 'dataset'"):
        read_sealed(sealed, "dataset", "a manifest", "restore it")


@pytest.mark.parametrize("format", ["format_1", "format_2"])
def test_data_of_every_format_are_read_by_this_version(format, frozen):
    folder = FIXTURES / format
    before = frozen(folder)
    dataset = open_dataset(folder / "data")
    assert dataset.hash == "cb54d33e6d57be3cf23bae28fb8c79701f4b1cabefde9073413ba6b473138716"
    rng = np.random.default_rng(0)
    for number, episode in enumerate(dataset.episodes()):
        rewarded = 1 if number % 2 == 0 else None
        assert_same_episode(make_episode(rng, 3 + number, rewarded=rewarded), episode)
    rewards = [episode.rewards.tolist() for episode in labelled(dataset, open_view(dataset, "reward"))]
    assert rewards == [[0, 10], [0, 0, 0, 0], [0, 10]]
    assert open_view(dataset, "none").episodes == 2
    merge = open_merge(folder / "both.json")
    assert [(source.role, source.share) for source in merge.sources] == [("task", 0.25), ("prior", 0.75)]
    assert load(merge).fingerprint == load(open_merge(FIXTURES / "format_1" / "both.json")).fingerprint
    assert verify(folder / "data") == verify(folder / "both.json") == []
    assert frozen(folder) == before


@pytest.mark.parametrize("format", ["format_1", "format_2"])
def test_a_dataset_of_every_format_grows_and_is_sealed_then(format, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(FIXTURES / format / "data", out)
    spec = {"kind": "synthetic", "seed": 0}
    GrowingDataset(out, spec, {"id": "made"}).append([make_episode(np.random.default_rng(9), 4)])
    assert open_dataset(out).episode_count == 4
    assert json.loads((out / "manifest.json").read_text())["format"] == 2
    assert read_sealed(out / "collection.json", KIND, "a header", "restore it")["spec"] == spec


def test_relabelling_an_old_dataset_again_finds_its_view_and_leaves_it(tmp_path, frozen):
    shutil.copytree(FIXTURES / "format_1" / "data", tmp_path / "data")
    before = frozen(tmp_path)
    assert relabel(tmp_path / "data", "grasp_success", "reward", scale=10.0).episodes_rewarded == 2
    assert frozen(tmp_path) == before


def as_format_1(folder):
    """Write the files of a run's checkpoint as version 0.1.0 did before there were seals."""
    state = read_sealed(folder / "state.json", "checkpoint", "a state", "none") | {"format": 1}
    (folder / "state.json").write_text(json.dumps(state | {"hash": hash_json(state)}, indent=2))
    (folder.parent / "latest.json").write_text(json.dumps({"folder": folder.name}))
    run = folder.parents[1] / "config.json"
    run.write_text(json.dumps(read_sealed(run, "run", "a configuration", "none")))


def test_a_run_of_format_1_resumes_to_the_bytes_of_one_of_this_format(tmp_path):
    for name in ("old", "new"):
        train(config(tmp_path / name, updates=4), noise())
        shutil.rmtree(tmp_path / name / "checkpoints" / "step_0000004")
        write_sealed(tmp_path / name / "checkpoints" / "latest.json", "latest", {"folder": "step_0000003"})
    as_format_1(tmp_path / "old" / "checkpoints" / "step_0000003")
    assert checkpoint.load(tmp_path / "old").update == 3
    for name in ("old", "new"):
        train(config(tmp_path / name, updates=4), noise(), resume=True)
    for name in checkpoint.TENSOR_FILES:
        files = [checkpoint.find(tmp_path / run) / name for run in ("old", "new")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_changed_state_of_format_1_is_still_noticed_by_its_hash(tmp_path):
    train(config(tmp_path / "run", updates=4), noise())
    folder = checkpoint.find(tmp_path / "run")
    as_format_1(folder)
    state = folder / "state.json"
    state.write_text(state.read_text().replace('"update": 4', '"update": 5'))
    with pytest.raises(CogError, match=r"state\.json: field 'hash'"):
        checkpoint.load(tmp_path / "run")
