"""A part of `make faults`: faults at every so many-th write, and some random damage."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import flips
from tests.faults.harness import build, careless

ROOT = Path(__file__).parents[2]
needs_a_compiler = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("cc")), reason="faults are injected by a shim in C: no gcc or cc"
)

IN_PLACE = """
import sys
from pathlib import Path
from tests.faults.harness import Harness, Scenario

def write(work):
    (work / "a.txt").write_text("new and longer")
    return 0

scenario = Scenario(
    "in place",
    lambda work: (work / "a.txt").write_text("old") and None,
    lambda work: [lambda: write(work)],
    lambda work: int("new" in (work / "a.txt").read_text()),
)
for how, count in Harness(Path(sys.argv[1])).run(scenario, 1):
    print(how, count.points, *count.lost, sep="\\n")
"""


@needs_a_compiler
def test_faults_at_some_writes_lose_nothing_that_was_committed_and_the_command_again_completes_it():
    command = [sys.executable, "-m", "tests.faults", "--every", "45", "--first", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.findall(
        r"(\w+) at (\d+) points, (\d+) times a file was committed before, 0 points", done.stdout
    )
    assert [how for how, _, _ in counts] == ["kill", "ENOSPC", "EIO"] * 6
    assert sum(int(points) for _, points, _ in counts) > 20
    assert sum(int(committed) for _, _, committed in counts) > 100


@needs_a_compiler
def test_the_harness_notices_a_file_that_is_written_in_place(tmp_path):
    environment = {**os.environ, "LD_PRELOAD": str(build(tmp_path))}
    command = [sys.executable, "-c", IN_PLACE, str(tmp_path / "points")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "in place, kill at 2 (write" in done.stdout
    assert done.stdout.count("is neither the old nor the new file") == 3  # half written, by each kind
    assert "in place, ENOSPC at 1 (open" in done.stdout and "Traceback" in done.stdout


def test_the_log_tells_a_rename_that_a_power_cut_would_undo():
    written = [["write", "/a/.x", ""], ["rename", "/a/.x", "/a/x"], ["fsync", "/a", ""]]
    assert careless(written) == ["/a/.x"]
    assert careless([written[0], ["fsync", "/a/.x", ""], written[1]]) == ["/a/x"]
    assert careless([written[0], ["fsync", "/a/.x", ""], *written[1:]]) == []


def test_random_flips_and_cuts_in_every_kind_of_file_are_detected(tmp_path):
    counts, bad = flips.run(tmp_path, flips=56, cuts=16, seed=1)
    assert bad == []
    assert counts.total() == 72
    assert len({kind for _, kind, _ in counts}) == 8
