"""Any valid episodes pass through every form of a dataset to the bit; a wrong field or pickle never does."""

import io
import json
import pickle
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog import cli
from cog.core.files import hash_file
from cog.core.sealed import read_sealed, write_sealed
from cog.datasets.episode import Episode
from cog.datasets.info import describe
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import labelled, open_view, relabel
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.datasets.storage.packed import pack_dataset, unpack_dataset
from cog.datasets.storage.problem import DataError
from cog.datasets.storage.shard import read_shard
from cog.datasets.storage.verify import verify
from cog.errors import CogError
from cog.training import checkpoint
from tests.conftest import assert_same_episode, make_episode
from tests.datasets.test_shards import episodes

RULE = "tests.exchange.test_round_trip:first_signal_rises"
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where fsync costs nothing
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


def first_signal_rises(episode: Episode) -> np.ndarray:
    """Reward where the first signal is larger than one step before."""
    return np.diff(next(iter(episode.signals.values()))) > 0


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
@given(made=episodes(), per_shard=st.integers(1, 3), terminate=st.booleans(), scale=st.floats(0.01, 100))
def test_any_episodes_pass_through_every_form_to_the_bit(made, per_shard, terminate, scale):
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        root = Path(name)
        dataset = write_dataset(root / "data", made, {"kind": "made"}, episodes_per_shard=per_shard)
        assert verify(dataset.path) == []
        view = relabel(dataset.path, RULE, "mine", scale=scale, terminate=terminate)
        relabel(dataset.path, "zero", "none")
        before = contents(dataset.path)

        pack_dataset(dataset.path, root / "data.zip")
        assert verify(root / "data.zip") == []
        unpack_dataset(root / "data.zip", root / "back")
        assert contents(root / "back") == before

        loaded = set()
        for place in ("data", "data.zip", "back"):
            for one, other in zip(made, open_dataset(root / place).episodes(), strict=True):
                assert_same_episode(one, other)
            sources = [f"{root / place}@mine"], [f"{root / place}@none"]
            merge = write_merge(root / f"merge {place}.json", *sources, 0.25)
            loaded.add(load(merge).fingerprint)
        assert verify(merge.path) == []
        copy = materialise(root / "merge data.zip.json", root / "copy")
        assert verify(copy.path.parent) == []
        assert loaded == {load(copy).fingerprint}
        stored = list(copy.sources[0].dataset.episodes())
        assert_rewarded(made, stored, scale, terminate)
        assert contents(dataset.path) == before
        assert view.steps == sum(map(len, stored))


def assert_rewarded(made, stored, scale, terminate):
    """Each stored episode is the first steps of one that was made, with the rewards that RULE gives."""
    for one, other in zip(made, stored, strict=True):
        hits = first_signal_rises(one)
        steps = int(np.argmax(hits)) + 1 if terminate and hits.any() else len(one)
        rewards = (hits[:steps] * scale).astype(np.float32)
        terminals = np.zeros(steps, bool)
        terminals[-1] = (terminate and hits.any()) or one.terminated
        assert_same_episode(replace(one.first(steps), rewards=rewards, terminals=terminals), other)


ARRAYS = {"actions": 2, "images": 4, "proprio": 2, "state": 2, "rewards": 1, "terminals": 1}


@st.composite
def mutations(draw):
    """Valid episodes, one of which has one field that breaks one rule, and the names it may be called by."""
    made = [
        replace(
            episode,
            rewards=np.zeros(len(episode), np.float32),
            terminals=np.zeros(len(episode), bool),
        )
        for episode in draw(episodes())
    ]
    number = draw(st.integers(0, len(made) - 1))
    episode = made[number]
    fields = [name for name in ARRAYS if getattr(episode, name) is not None]
    field = draw(st.sampled_from([*fields, "signals"]))
    signal = draw(st.sampled_from(list(episode.signals)))
    value = episode.signals[signal] if field == "signals" else getattr(episode, field)
    floats = value.dtype == np.float32
    kinds = ["missing", "too short", "too long", "too many axes", "text", "object", "complex"]
    kinds += ["nan", "infinite"] if floats else ["floats"]
    kind = draw(st.sampled_from([*kinds, *(["out of range"] * 3 if field == "actions" else [])]))
    place = tuple(draw(st.integers(0, size - 1)) for size in value.shape)

    def put(number):
        changed = value.copy()
        changed[place] = number
        return changed

    broken = {
        "missing": lambda: None,
        "too short": lambda: value[:-1],
        "too long": lambda: np.concatenate([value, value[:1]]),
        "too many axes": lambda: value[None].repeat(len(value), 0),
        "text": lambda: value.astype(str),
        "object": lambda: value.astype(object),
        "complex": lambda: value.astype(complex),
        "floats": lambda: value.astype(np.float32),
        "nan": lambda: put(np.nan),
        "infinite": lambda: put(-np.inf),
        "out of range": lambda: put(draw(st.sampled_from([1.0001, -1.5, 1e30]))),
    }[kind]()
    change = {**episode.signals, signal: broken} if field == "signals" else broken
    made[number] = replace(episode, **{field: change})
    names = {"images": ["images", "frames"], "terminals": ["terminals", "rewards"]}.get(field, [field])
    return made, names, f"{kind} {field} of episode {number}"


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(mutations(), st.integers(1, 4))
def test_one_wrong_field_is_refused_by_name_and_leaves_nothing(mutation, per_shard):
    made, names, what = mutation
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        with pytest.raises(CogError) as caught:
            write_dataset(Path(folder) / "data", made, {"kind": "made"}, episodes_per_shard=per_shard)
        assert isinstance(caught.value, DataError), what
        assert any(name in str(caught.value) for name in names), f"{what}: {caught.value}"
        assert not list(Path(folder).iterdir()), what


@pytest.mark.parametrize(
    "field, value",
    [
        ("seed", 2**63),
        ("seed", 1.5),
        ("success", "yes"),
        ("success", None),
        ("terminated", 1),
        ("truncated", np.zeros(1, bool)),
        ("noise", float("nan")),
        ("noise", -1.0),
        ("noise", "0.1"),
        ("start", b"open"),
        ("behaviour", None),
        ("options", {"a": {1, 2}}),
    ],
)
def test_a_wrong_entry_of_the_index_is_refused_by_name_with_its_episode(field, value, tmp_path):
    good = make_episode(np.random.default_rng(0), 3)
    with pytest.raises(DataError, match=f"episode 1, field 'episodes/{field}'"):
        write_dataset(tmp_path / "data", [good, replace(good, **{field: value})], {})
    assert not (tmp_path / "data").exists()


class Payload:
    """Unpickling it makes a file: the sign that code ran."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self):
        return (Path.touch, (self.sign,))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A dataset, packed as well, a view, a merge, a copy and a checkpoint."""
    root = tmp_path_factory.mktemp("chain")
    made = [make_episode(np.random.default_rng(seed), 4, rewarded=1) for seed in range(4)]
    write_dataset(root / "data", made, {"kind": "made"}, episodes_per_shard=2)
    relabel(root / "data", "grasp_success", "reward")
    write_merge(root / "merge.json", [f"{root / 'data'}@reward"])
    pack_dataset(root / "data", root / "packed.zip")
    options = ["--updates", "1", "--batch-size", "4", "--network.bottleneck", "8"]
    assert cli.run(["train", "--data", str(root / "merge.json"), "--out", str(root / "run"), *options]) == 0
    return root


def pickles(sign: Path) -> dict[str, bytes]:
    """Files of a stranger that would run code in a careless reader."""
    plain = pickle.dumps(Payload(sign))
    saved, numpy_file, objects = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(Payload(sign), saved)
    np.save(numpy_file, np.array([Payload(sign)], object), allow_pickle=True)
    with h5py.File(objects, "w") as file:
        file["actions"] = np.void(plain)
        file["signals"] = np.frombuffer(plain, np.uint8)
        file.attrs["hashes"] = np.void(plain)
        file.attrs["format"] = 1
        file.attrs["spec_hash"] = file.attrs["shard_index"] = np.void(plain)
    return {
        "pickle": plain,
        "torch": saved.getvalue(),
        "npy": numpy_file.getvalue(),
        "hdf5": objects.getvalue(),
        "json": json.dumps({"format": 1, "kind": "dataset", "py/reduce": plain.hex()}).encode(),
    }


def vouch_for(tensors: Path) -> None:
    """Let a checkpoint's state name the hash that a file has now, so that not the hash alone refuses it."""
    path = tensors.parent / "state.json"
    state = read_sealed(path, "checkpoint", "a checkpoint's state", "")
    state["hashes"][tensors.name] = hash_file(tensors)
    write_sealed(path, "checkpoint", state)


READERS = {
    "data/shards/00001.h5": lambda root: [
        lambda: read_shard(root / "data/shards/00001.h5"),
        lambda: load(open_merge(root / "merge.json")),
    ],
    "data/manifest.json": lambda root: [lambda: open_dataset(root / "data"), lambda: describe(root / "data")],
    "data/relabels/reward.json": lambda root: [
        lambda: list(labelled(open_dataset(root / "data"), open_view(open_dataset(root / "data"))))
    ],
    "merge.json": lambda root: [
        lambda: open_merge(root / "merge.json"),
        lambda: describe(root / "merge.json"),
    ],
    "packed.zip": lambda root: [
        lambda: open_dataset(root / "packed.zip"),
        lambda: open_merge(root / "packed.zip"),
        lambda: unpack_dataset(root / "packed.zip", root / "new"),
    ],
    "state.json": lambda root: [lambda: checkpoint.load(root / "run")],
    "model.safetensors": lambda root: [lambda: checkpoint.load(root / "run").tensors("model")],
    "optimizer.safetensors": lambda root: [lambda: checkpoint.load(root / "run").tensors("optimizer")],
}


@pytest.mark.parametrize("kind", ["pickle", "torch", "npy", "hdf5", "json"])
@pytest.mark.parametrize("file", READERS)
def test_a_pickle_under_any_name_is_refused_and_runs_nothing(file, kind, chain, tmp_path):
    root = tmp_path / "chain"
    shutil.copytree(chain, root)
    sign = tmp_path / "ran"
    place = root / file if "/" in file or (root / file).exists() else next((root / "run").rglob(file))
    place.write_bytes(pickles(sign)[kind])
    if place.suffix == ".safetensors":
        vouch_for(place)
    for read in READERS[file](root):
        with pytest.raises(CogError, match=place.name.replace(".", r"\.")):
            read()
    if file.startswith(("data/", "merge", "packed")):
        assert verify(root / file.split("/")[0])
    assert not sign.exists()


def test_the_payload_would_have_run(tmp_path):
    data = pickles(tmp_path / "ran")
    pickle.loads(data["pickle"])
    assert (tmp_path / "ran").exists()
    for careless in (
        lambda: torch.load(io.BytesIO(data["torch"]), weights_only=False),
        lambda: np.load(io.BytesIO(data["npy"]), allow_pickle=True),
    ):
        (tmp_path / "ran").unlink()
        careless()
        assert (tmp_path / "ran").exists()
