"""Shards hold episodes to the bit, and damage never goes unnoticed."""

import errno
import hashlib
import io
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog.core.files import hash_file
from cog.datasets.episode import Episode
from cog.datasets.storage.problem import DataError
from cog.datasets.storage.shard import decode_shard, encode_shard, read_shard, write_shard
from cog.errors import CogError
from tests.conftest import assert_same_episode, make_episode

PATH = Path("shards/00000.h5")


def some_episodes(seed=0, count=3, **options):
    rng = np.random.default_rng(seed)
    return [make_episode(rng, 3 + number, **options) for number in range(count)]


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
jsons = st.dictionaries(
    texts,
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
)


@st.composite
def episodes(draw):
    """One to four episodes of any length, shape, names and content that the layout allows."""
    count, state = draw(st.integers(1, 4)), draw(st.booleans())
    height, width, pose = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    names = draw(st.lists(texts.filter(bool), min_size=1, max_size=3, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = []
    for _ in range(count):
        steps = draw(st.integers(1, 20))
        poses = rng.normal(size=(steps + 1, pose)).astype(np.float32)
        made.append(
            Episode(
                actions=rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
                signals={name: rng.normal(size=steps + 1).astype(np.float32) for name in names},
                images=None if state else rng.integers(0, 256, (steps + 1, height, width, 3), np.uint8),
                proprio=None if state else poses,
                state=poses if state else None,
                seed=draw(st.integers(0, 2**63 - 1)),
                start=draw(texts).rstrip("\0"),
                behaviour=draw(texts),
                noise=draw(st.floats(0, 10, width=32)),
                options=draw(jsons),
                success=draw(st.booleans()),
                terminated=draw(st.booleans()),
                truncated=draw(st.booleans()),
            )
        )
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(episodes())
def test_any_episodes_come_back_from_a_shard_to_the_bit(made):
    back = decode_shard(encode_shard(made, "spec", 3, PATH), PATH, "spec", 3)
    assert len(back) == len(made)
    for one, other in zip(made, back, strict=True):
        assert_same_episode(one, other)


def test_the_same_episodes_give_the_same_bytes_and_the_returned_hash_is_the_files(tmp_path):
    digest = write_shard(tmp_path / "a.h5", some_episodes(), "spec", 0)
    write_shard(tmp_path / "b.h5", some_episodes(), "spec", 0)
    data = (tmp_path / "a.h5").read_bytes()
    assert data == (tmp_path / "b.h5").read_bytes()
    assert digest == hash_file(tmp_path / "a.h5") == hashlib.blake2b(data, digest_size=32).hexdigest()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.h5", "b.h5"]


def test_a_shard_is_plain_hdf5_with_every_frame_once():
    made = some_episodes()
    with h5py.File(io.BytesIO(encode_shard(made, "spec", 0, PATH)), "r") as file:
        assert file["frames"].shape == (sum(len(episode) + 1 for episode in made), 8, 8, 3)
        assert file["frames"].compression == "gzip"
        assert file["actions"].fletcher32
        np.testing.assert_array_equal(file["episodes/step_offset"], [0, 3, 7])
        np.testing.assert_array_equal(file["episodes/frame_offset"], [0, 4, 9])


@pytest.mark.parametrize("known_hash", [True, False])
def test_a_flipped_bit_anywhere_is_detected_or_harmless(known_hash, tmp_path):
    path = tmp_path / "00000.h5"
    made = some_episodes()
    digest = write_shard(path, made, "spec", 0)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    detected = 0
    for place in rng.integers(len(data), size=300):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            back = read_shard(path, file_hash=digest if known_hash else None, spec_hash="spec", index=0)
        except DataError as error:
            detected += 1
            assert str(path) in str(error)
        else:
            for one, other in zip(made, back, strict=True):
                assert_same_episode(one, other)
    assert detected == 300 if known_hash else detected > 150


def test_a_shard_truncated_anywhere_is_refused_by_name(tmp_path):
    path = tmp_path / "00000.h5"
    data = encode_shard(some_episodes(), "spec", 0, path)
    for length in [0, 1, 100, *range(200, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"00000\.h5: .*truncated"):
            read_shard(path)


def test_a_file_that_is_no_hdf5_is_refused_by_name(tmp_path):
    path = tmp_path / "00000.h5"
    path.write_text("not at all")
    with pytest.raises(DataError, match=r"00000\.h5: .*not an HDF5 file"):
        read_shard(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="not a cog shard"):
        read_shard(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_shard(tmp_path / "missing.h5")


def test_damaged_frames_name_the_episode(tmp_path):
    data = encode_shard(some_episodes(count=12), "spec", 0, PATH)
    with h5py.File(io.BytesIO(data), "r") as file:
        chunk = file["frames"].id.get_chunk_info(2)
        offsets = file["episodes/frame_offset"][:]
    damaged = bytearray(data)
    damaged[chunk.byte_offset + chunk.size // 2] ^= 255
    with pytest.raises(DataError, match="field 'frames'") as caught:
        decode_shard(bytes(damaged), PATH)
    first = chunk.chunk_offset[0]
    assert caught.value.problem.episode == int(np.searchsorted(offsets, first, side="right") - 1)


def put(field, value):
    def change(file):
        file[field][...] = value

    return change


def replace(field, value):
    def change(file):
        del file[field]
        if value is not None:
            file[field] = value

    return change


@pytest.mark.parametrize(
    "field, change",
    [
        ("actions", put("actions", 2.0)),
        ("actions", put("actions", np.nan)),
        ("proprio", put("proprio", np.inf)),
        ("signals", put("signals", np.nan)),
        ("actions", replace("actions", None)),
        ("frames", replace("frames", np.zeros((2, 8, 8, 3), np.uint8))),
        ("frames", replace("frames", np.zeros((15, 8, 8, 3), np.float32))),
        ("frames", replace("frames", np.zeros((15, 8, 8), np.uint8))),
        ("frames", replace("frames", None)),
        ("frames", replace("frames", h5py.SoftLink("/actions"))),
        ("actions", replace("actions", h5py.ExternalLink("other.h5", "/actions"))),
        ("episodes/length", put("episodes/length", 0)),
        ("episodes/length", put("episodes/length", 2**62)),
        ("episodes/step_offset", put("episodes/step_offset", 1)),
        ("episodes/frame_offset", put("episodes/frame_offset", 0)),
        ("episodes/options", put("episodes/options", b"[]")),
        ("episodes/start", put("episodes/start", b"\xff")),
        ("episodes/noise", put("episodes/noise", -1)),
        ("episodes/seed", replace("episodes/seed", np.zeros(3, np.float64))),
        ("actions", put("actions", 0.5)),
        ("state", lambda file: file.create_dataset("state", data=np.zeros((15, 2), np.float32))),
        ("rewards", lambda file: file.create_dataset("rewards", data=np.zeros(12, np.float32))),
        ("format", lambda file: file.attrs.__setitem__("format", 3)),
        ("attributes", lambda file: file.attrs.__delitem__("hashes")),
        ("signals", lambda file: file["signals"].attrs.__setitem__("names", '["a", "a"]')),
    ],
)
def test_a_shard_with_one_wrong_field_is_refused_by_that_field(field, change):
    buffer = io.BytesIO(encode_shard(some_episodes(), "spec", 0, PATH))
    with h5py.File(buffer, "r+") as file:
        change(file)
    with pytest.raises(DataError) as caught:
        decode_shard(buffer.getvalue(), PATH)
    assert caught.value.problem.field == field


def test_an_index_in_another_file_is_refused_though_it_fits(tmp_path):
    path, other = tmp_path / "00000.h5", tmp_path / "other.h5"
    for file in (path, other):
        write_shard(file, some_episodes(), "spec", 0)
    with h5py.File(path, "r+") as file:
        del file["episodes"]
        file["episodes"] = h5py.ExternalLink(str(other), "/episodes")
    with pytest.raises(DataError, match=r"00000\.h5: field 'episodes/"):
        read_shard(path)


def test_known_bytes_are_read_like_unknown_ones(tmp_path):
    made = some_episodes()
    digest = write_shard(tmp_path / "00000.h5", made, "spec", 0)
    for known in (None, digest):
        for one, other in zip(made, read_shard(tmp_path / "00000.h5", file_hash=known), strict=True):
            assert_same_episode(one, other)


def test_a_shard_of_the_earlier_format_is_read_by_its_hash_alone(tmp_path):
    path, made = tmp_path / "00000.h5", some_episodes()
    write_shard(path, made, "spec", 0)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 1
    for one, other in zip(made, read_shard(path, file_hash=hash_file(path)), strict=True):
        assert_same_episode(one, other)
    with pytest.raises(DataError, match="format"):
        read_shard(path)


@pytest.mark.parametrize("wrong", [{"spec_hash": "other"}, {"index": 1}])
def test_a_shard_of_another_collection_or_place_is_refused(wrong):
    data = encode_shard(some_episodes(), "spec", 0, PATH)
    with pytest.raises(DataError, match="must be"):
        decode_shard(data, PATH, **wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((4, 8, 8, 3), np.float32)},
        {"images": np.zeros((3, 8, 8, 3), np.uint8)},
        {"actions": np.full((3, 8), 1.5, np.float32)},
        {"signals": {}},
        {"signals": {"object_height": np.zeros(3, np.float32)}},
        {"start": "a\0b"},
        {"options": {"x": object()}},
        {"options": {"x": float("nan")}},
        {"proprio": np.full((4, 6), np.nan, np.float32)},
    ],
)
def test_episodes_that_break_a_rule_are_refused_before_anything_is_written(change, tmp_path):
    episode = make_episode(np.random.default_rng(0), 3)
    broken = Episode(**{**vars(episode), **change})
    with pytest.raises(DataError):
        write_shard(tmp_path / "00000.h5", [broken], "spec", 0)
    assert not list(tmp_path.iterdir())


def fill_disk(monkeypatch):
    def write_bytes(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_a_full_disk_publishes_nothing_and_says_so(tmp_path, monkeypatch):
    fill_disk(monkeypatch)
    with pytest.raises(CogError, match=r"00000\.h5: .*No space left.*Free space"):
        write_shard(tmp_path / "00000.h5", some_episodes(), "spec", 0)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB, where the tests may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs root; the full disk is simulated in another test")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_file_system_that_fills_up_keeps_every_shard_it_holds(small_disk):
    written = []
    with pytest.raises(CogError, match="No space left"):
        for index in range(100):
            path = small_disk / f"{index:05d}.h5"
            digest = write_shard(path, some_episodes(index, count=10), "spec", index)
            written.append((path, digest))
    assert written
    assert sorted(small_disk.iterdir()) == [path for path, _ in written]
    for path, digest in written:
        read_shard(path, file_hash=digest)
