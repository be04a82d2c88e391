"""One writer at a time; the second is told who was first, and what a killed one left is no obstacle."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from cog.core.lock import LOCK, UNLOCKABLE, Locked, Unlockable, content, locked, reserved
from cog.datasets.storage.claim import claimed
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.datasets.storage.folder import UNFINISHED, new_folder
from cog.datasets.storage.verify import verify
from cog.errors import CogError
from cog.training.train import train
from tests.conftest import make_episode
from tests.helpers.learner_data import config, noise

ROOT = Path(__file__).parents[2]
WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from cog.datasets.storage.dataset import write_dataset
from tests.conftest import make_episode

def episodes():
    for number in range(4):
        if number == 3:
            print("three", flush=True)
            time.sleep(600)
        yield make_episode(np.random.default_rng(number), 3)

write_dataset(Path(sys.argv[1]), episodes(), {"kind": "slow"}, episodes_per_shard=1)
"""


def four_episodes():
    return [make_episode(np.random.default_rng(number), 3) for number in range(4)]


def test_a_second_process_is_told_who_writes_and_may_write_once_that_one_is_dead(tmp_path):
    out = tmp_path / "data"
    command = [sys.executable, "-c", WRITER, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        try:
            assert process.stdout.readline() == "three\n"
            with pytest.raises(CogError) as refused:
                write_dataset(out, four_episodes(), {"kind": "slow"}, episodes_per_shard=1)
            for part in (
                str(out),
                f"process {process.pid}",
                f"on {socket.gethostname()}",
                "since 20",
                str(out),
            ):
                assert part in str(refused.value)
            with pytest.raises(CogError, match="unfinished"):
                open_dataset(out)
        finally:
            process.send_signal(signal.SIGKILL)
    assert (out / LOCK).exists() and len(list((out / "shards").glob("*.h5"))) == 3
    dataset = write_dataset(out, four_episodes(), {"kind": "slow"}, episodes_per_shard=1)
    whole = write_dataset(tmp_path / "whole", four_episodes(), {"kind": "slow"}, episodes_per_shard=1)
    assert dataset.hash == whole.hash and verify(out) == []
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "shards"]


def test_a_complete_dataset_is_never_cleared_even_if_its_mark_of_being_unfinished_stayed(tmp_path, frozen):
    out = tmp_path / "data"
    write_dataset(out, four_episodes(), {})
    (out / UNFINISHED).write_bytes(b"")
    before = frozen(out)
    with pytest.raises(CogError, match="not empty"), new_folder(out):
        pass
    assert frozen(out) == before
    assert open_dataset(out).episode_count == 4


def test_a_folder_that_cog_did_not_leave_unfinished_is_never_cleared(tmp_path, frozen):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "home.txt").write_text("dear")
    before = frozen(tmp_path)
    with pytest.raises(CogError, match="not empty"), new_folder(tmp_path / "letters"):
        pass
    assert frozen(tmp_path) == before


def test_a_lock_names_process_host_begin_and_command_and_goes_with_its_block(tmp_path):
    with locked(tmp_path):
        held = json.loads((tmp_path / LOCK).read_text())
        assert held["process"] == os.getpid() and held["host"] == socket.gethostname()
        with (
            pytest.raises(CogError, match=rf"process {os.getpid()} on .*, since 20.*, running: "),
            locked(tmp_path),
        ):
            pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass


def test_a_lock_left_by_a_dead_process_or_half_written_is_no_obstacle(tmp_path):
    (tmp_path / LOCK).write_text('{"process": 1')
    (tmp_path / ".x.json.0a0b0c0d.partial").write_text("half")
    assert content(tmp_path) == []
    with locked(tmp_path), pytest.raises(CogError, match="another process is writing"), locked(tmp_path):
        pass
    with claimed(tmp_path, {"kind": "made"}, {}):
        assert not list(tmp_path.glob("*.partial"))


def test_a_second_training_in_a_folder_is_refused(tmp_path):
    refused = []

    def second(update, total, metrics):
        with pytest.raises(CogError, match="another process is writing into this folder: process"):
            train(config(tmp_path / "run", updates=2), noise(), resume=True)
        refused.append(update)

    train(config(tmp_path / "run", updates=2), noise(), on_progress=second)
    assert refused == [1, 2]


def test_of_many_writers_at_once_exactly_one_gets_the_folder(tmp_path):
    episodes, outcomes = four_episodes(), []
    start = threading.Barrier(4)

    def write():
        start.wait()
        try:
            write_dataset(tmp_path / "data", episodes, {})
            outcomes.append("written")
        except CogError:
            outcomes.append("refused")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 3 + ["written"]
    assert open_dataset(tmp_path / "data").episode_count == 4 and verify(tmp_path / "data") == []


def test_a_reserved_name_is_refused_to_others_who_learn_whose_it_is(tmp_path):
    path = tmp_path / "deep" / "x.h5"
    with reserved(path):
        with (
            pytest.raises(
                Locked, match=rf"x\.h5: another process is writing this: process {os.getpid()} on .*"
            ),
            reserved(path),
        ):
            pass
        with reserved(tmp_path / "deep" / "y.h5"):  # another name in the same folder is free
            path.write_bytes(b"made")
    assert [file.name for file in path.parent.iterdir()] == ["x.h5"]
    with reserved(path):
        pass


def test_reserving_removes_what_a_killed_writer_of_this_output_left_and_nothing_else(tmp_path):
    path = tmp_path / "x"
    left = [".x.0a0b0c0d.partial", ".x.lock"]
    others = [".x.y.0a0b0c0d.partial", ".xy.0a0b0c0d.partial", "x.0a0b0c0d.partial", ".x.partial", ".y.lock"]
    for name in (*left, *others):
        (tmp_path / name).write_text("half")
    with reserved(path):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("number", UNLOCKABLE)
def test_without_locks_a_folder_is_refused_with_the_reason_and_a_name_is_not(number, tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(Unlockable, match=r"grants no locks .*mounted with locks"), locked(tmp_path):
        pass
    with pytest.raises(Unlockable), new_folder(tmp_path / "data"):
        pass
    with locked(tmp_path, needed=False), reserved(tmp_path / "x"):
        (tmp_path / "x").touch()
    assert [file.name for file in tmp_path.iterdir() if file.name != "data"] == ["x"]


def test_what_operating_systems_leave_in_folders_is_nobodys_content(tmp_path):
    for name in (".DS_Store", "._data", ".nfs000000000123abcd"):
        (tmp_path / name).write_bytes(b"\0")
    assert content(tmp_path) == []
    write_dataset(tmp_path, four_episodes(), {})
    assert open_dataset(tmp_path).episode_count == 4 and verify(tmp_path) == []
    (tmp_path / ".git").mkdir()
    assert tmp_path / ".git" in content(tmp_path)
