"""Too little memory is not damage: it is told as what it is, and no file is blamed or set aside for it."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cog.core.program import exit_codes
from cog.datasets.load import load
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage import shard as shards
from cog.datasets.storage.memory import refuse_shortage
from cog.datasets.storage.problem import DataError
from cog.datasets.storage.repair import repair
from cog.datasets.storage.shard import decode_shard, read_shard
from cog.datasets.storage.verify import verify
from tests.conftest import assert_same_episode

LIMITED = """
import io, resource, sys
import h5py, numpy as np
from pathlib import Path
from cog.datasets.episode import Episode
from cog.datasets.storage.shard import decode_shard, encode_shard, hash_bytes
from cog.datasets.storage.problem import DataError

steps, size = 63, 512
episode = Episode(
    actions=np.zeros((steps, 2), np.float32), signals={"place": np.zeros(steps + 1, np.float32)},
    images=np.ones((steps + 1, size, size, 3), np.uint8),
    proprio=np.zeros((steps + 1, 2), np.float32), state=None, seed=0, start="", behaviour="", noise=0.0,
    options={}, success=True, terminated=True, truncated=False,
)
data = encode_shard([episode], "0" * 64, 0, Path("x"))
del episode
for trusted in (True, False):
    decode_shard(data, Path("x"), trusted=trusted)
    for megabytes in range(0, 260, 20):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, -1))
        try:
            decode_shard(data, Path("x"), trusted=trusted)
            print("whole")
        except MemoryError as error:
            print("short")
        except DataError as error:
            print("blamed", error)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
"""


@pytest.fixture
def data(make_dataset):
    dataset = make_dataset("data", episodes=3)
    relabel(dataset.path, "grasp_success", "reward")
    return dataset


def short_at(number, monkeypatch):
    """Let the allocation of that number fail, of those that reading a shard makes."""
    count = 0

    def zeros(*arguments):
        nonlocal count
        count += 1
        if count == number:
            raise MemoryError("Unable to allocate 1.00 GiB for an array")
        return np.zeros(*arguments)

    monkeypatch.setattr(shards, "np", SimpleNamespace(**{**vars(np), "zeros": zeros}))


@pytest.mark.parametrize("number", range(1, 20))
def test_an_allocation_that_fails_leaves_as_itself(number, data, monkeypatch, frozen):
    path, before = data.path / data.shards[0].file, frozen(data.path)
    allocations = 4 + len([name for name in shards.FIELDS if name.startswith("episodes/")])
    if number > allocations:
        return
    for work in (
        lambda: read_shard(path),
        lambda: read_shard(path, file_hash=data.shards[0].hash),
        lambda: verify(data.path),
        lambda: load(open_merge(data.path)),
    ):
        with pytest.MonkeyPatch.context() as patch:
            short_at(number, patch)
            with pytest.raises(MemoryError):
                work()
    with pytest.MonkeyPatch.context() as patch:
        short_at(number, patch)
        assert repair(data.path).mended == ()
    assert frozen(data.path) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as Linux does it")
def test_under_a_limit_of_memory_a_sound_shard_is_read_or_memory_is_short():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    outcomes = done.stdout.split("\n")[:-1]
    assert done.returncode == 0, done.stderr
    assert len(outcomes) == 26 and set(outcomes) == {"short", "whole"}, outcomes


def test_a_shortage_is_told_from_damage_by_its_words_or_by_trying():
    for text in ("memory allocation failed for raw data chunk", "Unable to allocate 3 GiB", "Out of memory"):
        with pytest.raises(MemoryError, match="to read x"):
            refuse_shortage(OSError(text), 0, "to read x")
    with pytest.raises(MemoryError):
        refuse_shortage(OSError("filter returned failure during read"), 2**60, "to read x")
    refuse_shortage(OSError("filter returned failure during read"), 2**10, "to read x")
    refuse_shortage(RuntimeError("address of object past end of allocation"), 2**10, "to read x")


def test_what_hdf5_cannot_read_is_not_called_damaged_if_it_is_what_was_written(data):
    whole = (data.path / data.shards[0].file).read_bytes()
    assert_same_episode(decode_shard(whole, data.path, trusted=True)[0], decode_shard(whole, data.path)[0])
    for length in (0, 40, len(whole) // 2):
        with pytest.raises(DataError, match="though the file is the one that was written"):
            decode_shard(whole[:length], data.path, trusted=True)
        with pytest.raises(DataError, match="damaged"):
            decode_shard(whole[:length], data.path)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("to read a/00000.h5"), "not enough memory to read a/00000.h5. Close other programs"),
        (
            MemoryError("Unable to allocate 2 GiB\nfor x"),
            "not enough memory (Unable to allocate 2 GiB). Close",
        ),
        (MemoryError(), "not enough memory. Close"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 40 bytes."),
            "not enough memory ([enforce fail]",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), "not enough memory (CUDA"),
    ],
)
def test_a_command_without_enough_memory_ends_in_one_line(error, line, capsys):
    with pytest.raises(SystemExit) as ended, exit_codes():
        raise error
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 1 and said.startswith(f"cog: {line}") and "damaged" not in said
