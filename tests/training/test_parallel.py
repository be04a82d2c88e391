"""Two processes that share one run: the same result as one, the same end, and nothing lost when one dies."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cog import cli
from cog.core.parallel import joined, rank, size
from cog.training import checkpoint
from cog.training.metrics import read_metrics
from cog.training.train import train
from tests.conftest import MakeDataset
from tests.helpers.learner_data import noise, suited
from tests.helpers.ranks import LAST_SAMPLE, RUNS, settings

ROOT = Path(__file__).parents[2]
# Largest difference of a weight between one process and two, as a share of the largest weight of its tensor.
# Halves of a batch add up in another order than the whole does; nothing else differs. How much depends on the
# processor: up to 1.5e-5 was seen.
TOLERANCE = 5e-5

Ends = list[dict[str, list[str]]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ends]:
    """The folder in which two processes did what tests/ranks.py says, and how each run ended, by rank."""
    root = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for number in range(2):
        place = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2"}
        environment = os.environ | place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-m", "tests.helpers.ranks", str(root)]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment))
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    return root, [json.loads((root / f"rank_{number}.json").read_text()) for number in range(2)]


def largest_difference(one: Path, other: Path) -> float:
    """Of the weights in two runs' last checkpoints, relative to the largest of the same tensor."""
    first, second = (checkpoint.load(run).tensors("model") for run in (one, other))
    assert first.keys() == second.keys()
    return max(
        float((first[name] - second[name]).abs().max() / first[name].abs().max().clamp(min=1e-3))
        for name in first
    )


def test_nothing_of_the_joint_run_outlives_it(shared: tuple[Path, Ends]) -> None:
    assert [ends["left"] for ends in shared[1]] == [[], []]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_what_one_learns_from_the_joint_batch(
    shared: tuple[Path, Ends], tmp_path: Path, name: str
) -> None:
    root, _ = shared
    train(settings(tmp_path / "one", **RUNS[name]), suited(RUNS[name]))
    assert largest_difference(tmp_path / "one", root / name) < TOLERANCE
    one, two = (checkpoint.load(run).tensors("optimizer") for run in (tmp_path / "one", root / name))
    for exact in ("drawn", "generator"):
        assert torch.equal(one[exact], two[exact])
    for line, other in zip(read_metrics(tmp_path / "one"), read_metrics(root / name), strict=True):
        assert other == pytest.approx(line, rel=1e-4, abs=1e-5)
    assert (root / name / "config.json").exists()


def test_processes_whose_gradients_are_not_averaged_are_stopped(shared: tuple[Path, Ends]) -> None:
    root, (first, second) = shared
    kind, text = first["unaveraged"]
    assert kind == "CogError" and "update 5" in text and "differ in their weights" in text
    assert second["unaveraged"] == ["FailedElsewhere", text]
    assert not checkpoint.exists(root / "unaveraged" / "checkpoints")


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("uneven", "UsageError", "batch_size is 9, which 2 processes cannot share evenly"),
        ("cql", "CogError", "already holds a run"),
        ("other data", "CogError", "differ in their data"),
        ("one without data", "CogError", "rank 1: the data hold no transitions"),
    ],
)
def test_what_stops_one_process_stops_all_and_the_first_says_why(
    shared: tuple[Path, Ends], name: str, kind: str, text: str
) -> None:
    _, (first, second) = shared
    assert first[name][0] == kind and text in first[name][1]
    assert second[name][0] == "FailedElsewhere"


def test_a_signal_to_one_process_stops_both_at_one_update_and_one_process_goes_on(
    shared: tuple[Path, Ends], tmp_path: Path
) -> None:
    root, (first, second) = shared
    assert first["stopped"][0] == "Interrupted"
    assert second["stopped"] == [
        "FailedElsewhere",
        first["stopped"][1],
    ]
    assert checkpoint.load(root / "stopped").update == LAST_SAMPLE
    train(settings(root / "stopped", **RUNS["cql"]), noise(), resume=True)
    assert largest_difference(root / "cql", root / "stopped") < TOLERANCE


def test_a_killed_process_ends_the_run_with_a_checkpoint_to_go_on_from(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    data = make_dataset(state=True).path
    assert cli.run(["relabel", str(data), "--rule", "grasp_success", "--name", "success"]) == 0
    options: list[Any] = ["train", "--data", f"{data}@success", "--batch-size", "8", "--updates", "12"]
    options += ["--checkpoint-every", "3", "--log-every", "1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "tests.helpers.killed_rank", *options, "--out", tmp_path / "two"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "cog: rank 0 of 2 has lost another" in done.stderr
    last = tmp_path / "two" / "checkpoints" / "step_0000006"
    assert f"The last checkpoint is {last}; continue with --resume" in done.stderr
    assert checkpoint.load(tmp_path / "two").update == 6
    arguments = [str(option) for option in options]
    assert cli.run([*arguments, "--out", str(tmp_path / "two"), "--resume"]) == 0
    assert cli.run([*arguments, "--out", str(tmp_path / "one")]) == 0
    assert largest_difference(tmp_path / "one", tmp_path / "two") < TOLERANCE


def test_a_process_alone_is_a_run_of_one_and_half_an_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with joined("cpu"):
        assert (rank(), size()) == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    assert cli.run(["train", "--data", "data", "--out", "out"]) == 2
    assert "RANK" in capsys.readouterr().err
