"""Worker processes end with their parent and with an error, but not before they have saved."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import psutil
import pytest

from cog.core.workers import processes
from cog.errors import CogError


def save_before_stopping(folder: Path, name: str) -> None:
    """Hold SIGTERM back, as training does, until something has been saved."""
    asked: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    while not asked:
        time.sleep(0.01)
    time.sleep(0.3)  # meanwhile the parent may have stopped a worker that was waiting for a task
    (folder / f"{name}.saved").touch()
    signal.signal(signal.SIGTERM, previous)


def fail_after(*others: Path) -> None:
    """Fail once the others have begun."""
    while not all(other.exists() for other in others):
        time.sleep(0.01)
    raise CogError("one of them failed")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_error_in_one_worker_lets_the_others_save_and_ends_them_all(tmp_path: Path) -> None:
    with pytest.raises(CogError, match="one of them failed"), processes(3) as pool:
        for name in ("a", "b"):
            pool.submit(save_before_stopping, tmp_path, name)
        failing = pool.submit(fail_after, tmp_path / "a.pid", tmp_path / "b.pid")
        wait([failing])
        time.sleep(0.5)  # the failed worker now waits for its next task and holds the queue's lock
        failing.result()
    for name in ("a", "b"):
        assert (tmp_path / f"{name}.saved").exists()
        assert not psutil.pid_exists(int((tmp_path / f"{name}.pid").read_text()))


def test_dead_worker_is_reported_with_a_remedy() -> None:
    with pytest.raises(CogError, match=r"died.*fewer workers"), processes(1) as pool:
        pool.submit(die).result()


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from pathlib import Path\n"
        "from cog.core.workers import processes\n"
        "from tests.core.test_workers import save_before_stopping\n"
        "if __name__ == '__main__':\n"
        "    with processes(1) as pool:\n"
        f"        pool.submit(save_before_stopping, Path({str(tmp_path)!r}), 'a').result()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    pid_file = tmp_path / "a.pid"
    while not (pid_file.exists() and pid_file.read_text()):
        assert parent.poll() is None, "the parent ended by itself"
        time.sleep(0.05)
    worker = psutil.Process(int(pid_file.read_text()))
    parent.kill()
    parent.wait()
    worker.wait(timeout=60)  # raises if it lives on
    assert not (tmp_path / "a.saved").exists()


def interrupt_parent_when_stopped(folder: Path, parent: int) -> None:
    """As an impatient user: a second Ctrl-C while the workers are being stopped."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    (folder / "begun").touch()
    while not asked:
        time.sleep(0.01)
    os.kill(parent, signal.SIGINT)
    time.sleep(0.1)
    (folder / "saved").touch()
    os._exit(0)


def test_a_second_interrupt_leaves_no_worker_behind(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="the first"), processes(1) as pool:
        pool.submit(interrupt_parent_when_stopped, tmp_path, os.getpid())
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt("the first")
    assert (tmp_path / "saved").exists()
    assert signal.getsignal(signal.SIGINT) is before
