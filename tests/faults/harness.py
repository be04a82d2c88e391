"""Faults at every write: kill a command, or fail its disk, at the Nth call that changes a folder, for each N.

    python -m tests.faults            # every point of every scenario; part of `make faults`
    python -m tests.faults --every 7 collect

A shim (`faults.c`, built here, loaded with LD_PRELOAD) counts the calls that change what is below a folder:
opening to write, write, truncate, fsync, rename, link, unlink, mkdir, rmdir. At the Nth it kills the process
(SIGKILL), or lets the call fail with ENOSPC or EIO; a write has then put half of its bytes into the file.
Every point runs in a child forked from one process that has imported everything.

What it sees is the C library's functions as Python calls them, which writes every file of the toolkit: shards
and tensors are built in memory. It does not see bare system calls (as Rust makes some), what stdio writes
after fopen, or writes through mmap. Killing a process does not show what the kernel had not yet written at a
power cut: that a file is synced before it is renamed, and its folder after, is checked in the log of calls
instead (`careless`). Reading never fails.

A point passes if
- every file that had been published before the fault (synced, renamed, its folder synced) is there,
- every file under a final name holds, to the byte, what the undisturbed run or the time before it had there,
- a failing disk gives exit code 1 and a message that names a file and the reason, or, where only cleaning up
  failed, exit code 0,
- the same command again leaves, to the byte, what the undisturbed run leaves.
"""

import argparse
import contextlib
import ctypes
import errno
import gc
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cog.core.files import TEMPORARY_SUFFIX

HOW = {"kill": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
CRASHED = 70
# Files that grow or change under their name; what they must hold is checked by `Scenario.committed`.
CHANGING = ("latest.json", "manifest.json", "metrics.jsonl", "timings.jsonl")
UNFINISHED = ".unfinished"
DONE_ALREADY = "exists already"

Step = Callable[[], int]
"""A command; it returns its exit code."""


@dataclass(frozen=True)
class Scenario:
    """Commands in a folder, and how to tell what they have committed there."""

    name: str
    prepare: Callable[[Path], None]
    """Fill the folder with what is there beforehand."""
    steps: Callable[[Path], list[Step]]
    """The commands; each runs if those before it succeeded."""
    committed: Callable[[Path], int]
    """How much readers find whole, raising CogError where something is damaged: it grows by one with each
    manifest.json or latest.json that is published."""


@dataclass
class Count:
    """What was seen at the points of one scenario under one kind of fault."""

    points: int = 0
    committed: int = 0
    """Published files that were there before a fault, over all points."""
    absorbed: int = 0
    """Points at which only cleaning up failed, so that the command succeeded."""
    lost: list[str] = field(default_factory=list)
    """What went wrong, point by point."""


class Harness:
    """Runs the points of scenarios in one folder; the shim is loaded already."""

    def __init__(self, folder: Path) -> None:
        self.shim = ctypes.CDLL(None).faults_arm
        self.area = folder / "area"
        self.work, self.base = self.area / "work", folder / "base"
        self.log, self.errors = folder / "log", folder / "errors"

    def run(self, scenario: Scenario, every: int, first: int = 1) -> Iterator[tuple[str, Count]]:
        """Try each `every`th point from `first` on, with each kind of fault; the counts per kind."""
        for place in (self.area, self.base):
            shutil.rmtree(place, ignore_errors=True)
        self.work.mkdir(parents=True)
        self._in_child([lambda: scenario.prepare(self.work) or 0])
        shutil.copytree(self.work, self.base)
        before = contents(self.base)
        self._warm_up(scenario)
        assert self._in_child(scenario.steps(self.work), 0, 0) == 0, self.errors.read_text()
        after, calls = contents(self.work), self._calls()
        assert not careless(calls)
        held = scenario.committed(self.base)
        assert scenario.committed(self.work) > held
        for how, fault in HOW.items():
            count = Count()
            for point in range(first, len(calls) + 1, every):
                count.points += 1
                self._restore()
                code = self._in_child(scenario.steps(self.work), point, fault)
                problems = self._judge(scenario, code, fault, calls[: point - 1], before, after, held, count)
                again = self._in_child(scenario.steps(self.work))
                if again != 0 and DONE_ALREADY not in self.errors.read_text():
                    problems.append(f"the command again: exit {again}: {self.errors.read_text()}")
                problems += differences(contents(self.work), after, "after the command again")
                if problems:
                    call = " ".join(calls[point - 1])
                    count.lost.append(f"{scenario.name}, {how} at {point} ({call}): {'; '.join(problems)}")
            yield how, count

    def _judge(
        self,
        scenario: Scenario,
        code: int,
        fault: int,
        calls: list[list[str]],
        before: dict[str, str],
        after: dict[str, str],
        held: int,
        count: Count,
    ) -> list[str]:
        """What is wrong in the folder just after the fault; `calls` are those before it."""
        now = contents(self.work)
        published = self._published(calls)
        kept = {
            name
            for name in after
            if any(name == place or name.startswith(f"{place}/") for place in published)
            and Path(name).name not in CHANGING
        }
        kept |= {name for name in before if after.get(name) == before[name]}
        problems = [f"lost {name}" for name in sorted(kept) if now.get(name) != after[name]]
        problems += [
            f"{name} is neither the old nor the new file"
            for name, value in now.items()
            if value not in (before.get(name), after.get(name)) and Path(name).name not in CHANGING
        ]
        growth = sum(Path(place).name in ("manifest.json", "latest.json") for place in published)
        count.committed += len(kept) + growth
        try:
            if scenario.committed(self.work) < held + growth:
                problems.append("less can be read than was published")
        except Exception as error:
            problems.append(f"cannot be read: {error!r}")
        message = self.errors.read_text()
        if fault == HOW["kill"]:
            if code != -signal.SIGKILL:
                problems.append(f"was not killed: exit {code}: {message}")
        elif code == 0:
            count.absorbed += 1
        elif code != 1 or "Traceback" in message or str(self.area) not in message:
            problems.append(f"exit {code} with the message: {message}")
        elif not any(os.strerror(number) in message for number in HOW.values() if number):
            problems.append(f"the message does not say why: {message}")
        return problems

    def _in_child(self, steps: list[Step], at: int | None = None, fault: int = 0) -> int:
        """Run commands in a fork, the shim armed unless `at` is none; its exit code, or minus a signal."""
        child = os.fork()
        if child == 0:
            code = CRASHED
            try:
                errors = os.open(self.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(errors, 2)
                if at is not None:
                    self.shim(os.fsencode(self.area), ctypes.c_long(at), fault, os.fsencode(self.log))
                code = next((code for step in steps if (code := step())), 0)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _warm_up(self, scenario: Scenario) -> None:
        """Run the commands here once, so that children need not import anything."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert all(step() == 0 for step in scenario.steps(self.work))
        self._restore()
        gc.freeze()  # children share these pages

    def _restore(self) -> None:
        shutil.rmtree(self.work)
        shutil.copytree(self.base, self.work)

    def _calls(self) -> list[list[str]]:
        """The calls of the last armed child, as [name, path, other path]."""
        return [line.split("\t")[1:] for line in self.log.read_text().splitlines()]

    def _published(self, calls: list[list[str]]) -> list[str]:
        """Paths, as often as they were synced, moved or linked into place and their folder synced after, if
        they still stand there and in no folder that is marked as unfinished."""
        synced: set[str] = set()
        waiting: list[str] = []
        published: list[str] = []
        for name, one, other in calls:
            if name in ("rename", "link"):
                if name == "rename":
                    published = [path for path in published if path != one and not path.startswith(f"{one}/")]
                waiting += [other] if one in synced else []
            elif name == "fsync":
                synced.add(one)
                published += [path for path in waiting if parent(path) == one]
                waiting = [path for path in waiting if parent(path) != one]
            elif name in ("unlink", "rmdir"):
                published = [path for path in published if path != one]
        marks = [parent(path) for path in published if path.endswith(f"/{UNFINISHED}")]
        return [
            path.removeprefix(f"{self.work}/")
            for path in published
            if not any(path.startswith(f"{mark}/") for mark in marks)
        ]


def parent(path: str) -> str:
    """The folder that a path lies in."""
    return path.rpartition("/")[0]


def careless(calls: list[list[str]]) -> list[str]:
    """Renames by which a power cut could lose data: the file not synced before, or the folder not after."""
    unsynced: set[str] = set()
    renamed: set[str] = set()
    found = []
    for name, one, other in calls:
        if name in ("open", "write", "pwrite", "truncate"):
            unsynced.add(one)
        elif name == "fsync":
            unsynced.discard(one)
            renamed = {path for path in renamed if parent(path) != one}
        elif name in ("rename", "link") and not other.endswith(TEMPORARY_SUFFIX):
            found += [path for path in unsynced if path == one or path.startswith(f"{one}/")]
            renamed.add(other)
    return found + sorted(renamed)


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, apart from half-written ones, marks and the clock's readings."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if path.is_file() and not hidden and path.name != "timings.jsonl":
            found[name] = hashlib.blake2b(path.read_bytes()).hexdigest()
    return found


def differences(found: dict[str, str], wanted: dict[str, str], when: str) -> list[str]:
    """Names of files in which two folders differ."""
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return [f"{name} differs {when}" for name in names]


def build(folder: Path) -> Path:
    """Compile the shim.

    Raises:
        FileNotFoundError: there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("faults cannot be injected: neither gcc nor cc is installed")
    shim = folder / "faults.so"
    source = str(Path(__file__).with_name("faults.c"))
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), source, "-ldl"], check=True)
    return shim


def main() -> int:
    """Try the points and print the counts; 1 if anything was lost."""
    options = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults at every write.")
    options.add_argument("--every", type=int, default=1, help="try only every so many-th point")
    options.add_argument("--first", type=int, default=1, help="the first point to try")
    options.add_argument("names", nargs="*", help="scenarios; all if none is named")
    asked = options.parse_args()
    if not hasattr(ctypes.CDLL(None), "faults_arm"):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "LD_PRELOAD": str(build(Path(folder))), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "tests.faults", *sys.argv[1:]]
            return subprocess.run(command, env=environment, check=False).returncode
    from tests.faults.scenarios import SCENARIOS

    failed = 0
    memory = Path("/dev/shm")  # where the many syncs cost nothing
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        harness = Harness(Path(folder))
        for scenario in SCENARIOS:
            if asked.names and scenario.name not in asked.names:
                continue
            for how, count in harness.run(scenario, asked.every, asked.first):
                print(
                    f"{scenario.name}: {how} at {count.points} points, {count.committed} times a file was "
                    f"committed before, {len(count.lost)} points failed"
                    + (f", {count.absorbed} absorbed" if how != "kill" else ""),
                    flush=True,
                )
                for line in count.lost:
                    print(f"  {line}", flush=True)
                failed += len(count.lost)
    return 1 if failed else 0
