"""Stopping, killing, damaging and resuming runs."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cog.algorithms.cql import CQL
from cog.errors import CogError
from cog.provenance.verify_run import verify_run
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.metrics import read_metrics
from cog.training.setup import create
from cog.training.train import Interrupted, train
from tests.helpers.learner_data import config, noise

KILLED = """
import os, signal, sys
from pathlib import Path
from cog.training.train import train
from tests.helpers.learner_data import config, noise

def die(update, total, metrics):
    if update == 7:
        os.kill(os.getpid(), signal.SIGKILL)

train(config(Path(sys.argv[1]), algorithm=sys.argv[2], shift=2), noise(), on_progress=die)
"""


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """Everything that the latest checkpoint holds."""
    folder = checkpoint.find(run)
    return {
        f"{name}/{key}": value
        for name in checkpoint.TENSOR_FILES
        for key, value in load_file(folder / name).items()
    }


def assert_same_run(first: Path, second: Path) -> None:
    one, two = tensors(first), tensors(second)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("algorithm", ["cql", "bc"])
def test_run_killed_and_resumed_is_bitwise_the_uninterrupted_run(tmp_path: Path, algorithm: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed"), algorithm], cwd=root, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert checkpoint.load(tmp_path / "killed").update == 6
    assert len(read_metrics(tmp_path / "killed")) == 7  # one line beyond the checkpoint
    train(config(tmp_path / "killed", algorithm=algorithm, shift=2), noise(), resume=True)
    train(config(tmp_path / "whole", algorithm=algorithm, shift=2), noise())
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert [line["update"] for line in read_metrics(tmp_path / "whole")] == list(range(1, 9))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_at_the_next_update_and_the_run_resumes_bitwise(tmp_path: Path, number: int) -> None:
    def interrupt(update: int, total: int, metrics: Mapping[str, float]) -> None:
        if update == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    changes: dict[str, Any] = {"sampling": "uniform", "lagrange_gap": 5.0, "schedule": "cosine"}
    with pytest.raises(Interrupted, match="--resume"):
        train(config(tmp_path / "run", **changes), noise(), on_progress=interrupt)
    assert signal.getsignal(number) is before
    assert checkpoint.load(tmp_path / "run").update == 4
    train(config(tmp_path / "run", **changes), noise(), resume=True)
    train(config(tmp_path / "whole", **changes), noise())
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_says_how_it_is_computed(tmp_path: Path) -> None:
    said: list[str] = []
    train(config(tmp_path / "run", updates=1, precision="bfloat16"), noise(), on_message=said.append)
    assert said[-1] == "updates on cpu in bfloat16, as written, threads: 1"


@pytest.mark.parametrize("log_every", [1, 2])
def test_finished_run_goes_on_to_more_updates_as_the_longer_run_would_have(
    tmp_path: Path, log_every: int
) -> None:
    train(config(tmp_path / "run", updates=5, log_every=log_every), noise())
    train(config(tmp_path / "run", updates=8, log_every=log_every), noise(), resume=True)
    assert verify_run(tmp_path / "run") == []
    train(config(tmp_path / "whole", updates=8, log_every=log_every), noise())
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(("updates", "schedule"), [(4, "constant"), (8, "cosine")])
def test_fewer_updates_or_another_end_of_the_schedule_are_another_run(
    tmp_path: Path, updates: int, schedule: str
) -> None:
    train(config(tmp_path / "run", updates=5, schedule=schedule), noise())
    told = f"run of 5 updates, its last checkpoint at update 5; asked for {updates}.* --updates 5 "
    with pytest.raises(CogError, match=told):
        train(config(tmp_path / "run", updates=updates, schedule=schedule), noise(), resume=True)
    assert checkpoint.load(tmp_path / "run").update == 5


def test_resume_before_the_first_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    train(config(tmp_path / "whole"), noise())
    train(config(tmp_path / "run", updates=8), noise())
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    train(config(tmp_path / "run"), noise(), resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_kill_at_any_step_of_saving_leaves_a_loadable_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "checkpoints"
    buffer = Buffer(noise(), torch.device("cpu"), 8, "balanced", 0.9)
    agent = create(config(), buffer)
    for _ in range(2):
        agent.update(buffer.sample(agent.generator))
        checkpoint.save(root, agent, buffer.drawn, "data", 0)
    agent.update(buffer.sample(agent.generator))

    numbers = itertools.count()

    def photographed(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            shutil.copytree(root, tmp_path / f"photo_{next(numbers)}")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    photographed(os, "fsync")
    photographed(Path, "rename")
    photographed(Path, "replace")
    photographed(shutil, "rmtree")

    checkpoint.save(root, agent, buffer.drawn, "data", 0)
    monkeypatch.undo()
    photos = sorted(tmp_path.glob("photo_*"))
    assert len(photos) > 8
    seen = {checkpoint.load(photo).update for photo in photos}
    assert seen == {2, 3}
    assert checkpoint.load(root).update == 3
    assert sorted(path.name for path in root.iterdir()) == ["latest.json", "step_0000002", "step_0000003"]
    # A kill between the rename and latest.json leaves an unreferenced folder; saving again replaces it.
    (root / "latest.json").write_text('{"folder": "step_0000002"}')
    assert checkpoint.save(root, agent, buffer.drawn, "data", 0).name == "step_0000003"
    assert checkpoint.load(root).update == 3


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_one_flipped_bit_in_a_checkpoint_is_detected(tmp_path: Path, name: str) -> None:
    train(config(tmp_path / "run", updates=4), noise())
    folder = checkpoint.find(tmp_path / "run")
    whole = (folder / name).read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 25)):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        (folder / name).write_bytes(damaged)
        with pytest.raises(CogError, match=r"step_0000004"):
            checkpoint.load(tmp_path / "run")
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CogError, match="step_0000004"):
        checkpoint.load(tmp_path / "run")
    assert checkpoint.load(folder.parent / "step_0000003").update == 3


def test_checkpoint_from_another_configuration_is_refused_naming_the_fields(tmp_path: Path) -> None:
    train(config(tmp_path / "run"), noise())
    before = tensors(tmp_path / "run")
    with pytest.raises(CogError, match=r"cql\.discount, network\.bottleneck"):
        train(config(tmp_path / "run", discount=0.5, bottleneck=9), noise(), resume=True)
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(CogError, match="not empty"):
        train(config(tmp_path / "run"), noise())
    assert all(torch.equal(value, before[name]) for name, value in tensors(tmp_path / "run").items())


def test_restoring_into_another_configuration_is_refused(tmp_path: Path) -> None:
    train(config(tmp_path / "run"), noise())
    buffer = Buffer(noise(), torch.device("cpu"), 8, "balanced", 0.9)
    agent = create(config(discount=0.5), buffer)
    with pytest.raises(CogError, match=r"differing: cql\.discount"):
        checkpoint.restore(checkpoint.load(tmp_path / "run"), agent, buffer.drawn, noise().fingerprint)


def test_resume_on_other_data_is_refused(tmp_path: Path) -> None:
    train(config(tmp_path / "run"), noise())
    with pytest.raises(CogError, match="other data"):
        train(config(tmp_path / "run"), noise(seed=1), resume=True)


def test_a_folder_that_holds_another_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    train(config(tmp_path / "run"), noise())
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(CogError, match="already holds a run"):
        train(config(tmp_path / "run"), noise())
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "home.txt").write_text("dear")
    with pytest.raises(CogError, match="not empty"):
        train(config(tmp_path / "letters"), noise())


@pytest.mark.parametrize("log_every", [1, 100])
def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_every: int
) -> None:
    healthy = CQL.critic_loss

    def sick(self: CQL, *args: Any) -> Any:
        loss, metrics = healthy(self, *args)
        return (
            (loss * float("nan"), metrics | {"td_loss": loss.detach() * float("nan")})
            if (self.updates_done >= 4)
            else (loss, metrics)
        )

    monkeypatch.setattr(CQL, "critic_loss", sick)
    with pytest.raises(CogError, match="diverged"):
        train(config(tmp_path / "run", log_every=log_every), noise())
    good = checkpoint.load(tmp_path / "run")
    assert good.update == 3
    assert all(bool(value.isfinite().all()) for value in good.tensors("model").values())
    assert all("NaN" not in json.dumps(line) for line in read_metrics(tmp_path / "run"))


def test_runaway_q_stops_the_run_with_advice(tmp_path: Path) -> None:
    with pytest.raises(CogError, match=r"\|Q\| reached .* smaller conservative weight"):
        train(config(tmp_path / "run", runaway_q=1e-9), noise())


def test_metrics_cut_behind_the_checkpoint_s_back_are_noticed(tmp_path: Path) -> None:
    train(config(tmp_path / "run"), noise())
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    with pytest.raises(CogError, match="was truncated"):
        train(config(tmp_path / "run"), noise(), resume=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 1}, "source prior:old .* a --batch-size of at least 2"),
        ({"graphed": True}, "graphed needs CUDA"),
        ({"wandb": "offline"}, "pip install wandb"),
        ({"device": "foo"}, "device is 'foo'"),
        ({"device": "mps"}, "device is 'mps'"),
    ],
)
def test_what_a_run_lacks_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CogError, match=told):
        train(config(tmp_path / "run", **changes), noise())
    assert not (tmp_path / "run" / "config.json").exists()
    train(config(tmp_path / "run", updates=1), noise())


def test_images_smaller_than_the_convolutions_are_refused_with_the_smallest_size(tmp_path: Path) -> None:
    data = noise()
    frames = data.frames
    for encoder in ("patch", "paper"):
        data.frames = frames[:, :3, :8]
        with pytest.raises(CogError, match="3x8 pixels; the network needs at least 4x4"):
            train(config(tmp_path / encoder, encoder=encoder, updates=1), data)
        data.frames = frames[:, :4, :4]
        train(config(tmp_path / encoder, encoder=encoder, updates=1), data)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    train(config(tmp_path / "a"), noise())
    torch.manual_seed(2)
    train(config(tmp_path / "b"), noise())
    assert_same_run(tmp_path / "a", tmp_path / "b")
    train(config(tmp_path / "c", seed=5), noise())
    assert (tmp_path / "c" / "metrics.jsonl").read_bytes() != (tmp_path / "a" / "metrics.jsonl").read_bytes()


def test_progress_tells_update_total_losses_and_realised_shares(tmp_path: Path) -> None:
    seen: list[tuple[int, int, dict[str, float]]] = []
    saved: list[int] = []
    settings = dataclasses.replace(config(tmp_path / "run"), log_every=4)
    train(
        settings,
        noise(images=False),
        on_progress=lambda update, total, values: seen.append((update, total, dict(values))),
        on_checkpoint=lambda update, folder: saved.append(update),
    )
    assert [(update, total) for update, total, _ in seen] == [(4, 8), (8, 8)]
    assert seen[0][2]["share/task:new"] == 0.5 and "td_loss" in seen[0][2]
    assert saved == [3, 6, 8]


def test_every_encoder_sharing_and_precision_trains(tmp_path: Path) -> None:
    for i, changes in enumerate(({"encoder": "paper"}, {"sharing": "separate"}, {"precision": "bfloat16"})):
        train(config(tmp_path / str(i), updates=2, clip_gradient=1.0, **changes), noise())
        assert len(read_metrics(tmp_path / str(i))) == 2
