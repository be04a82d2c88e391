"""TensorBoard shows the metrics of metrics.jsonl, also of a run that was interrupted."""

from pathlib import Path

import pytest

from cog import cli
from cog.core import lazy
from cog.training.config import TrainConfig
from cog.training.metrics import MetricsWriter, read_metrics
from cog.training.setup import refuse_without_packages
from cog.training.train import train
from tests.helpers.learner_data import config, noise


def shown(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads: (update, value) by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {
        name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]
    }


def logged(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The same of metrics.jsonl."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in read_metrics(run):
        for name, value in line.items():
            if name != "update":
                found.setdefault(name, []).append((int(line["update"]), pytest.approx(value, rel=1e-6)))
    return found


def with_board(out: Path, updates: int) -> TrainConfig:
    return config(out, updates=updates, tensorboard=True, algorithm="bc")


def test_tensorboard_shows_what_the_metrics_hold_also_after_an_interruption(tmp_path: Path) -> None:
    train(with_board(tmp_path / "run", 4), noise())
    assert len(read_metrics(tmp_path / "run")) == 4
    assert shown(tmp_path / "run") == logged(tmp_path / "run")
    with MetricsWriter(tmp_path / "run", _size(tmp_path / "run"), "disabled", {}, tensorboard=True) as writer:
        writer.write(5, {"actor_loss": 9.0})  # a run that is then killed, before its next checkpoint
    train(with_board(tmp_path / "run", 6), noise(), resume=True)
    assert shown(tmp_path / "run") == logged(tmp_path / "run")


def _size(run: Path) -> int:
    return (run / "metrics.jsonl").stat().st_size


def test_a_run_writes_no_events_unless_asked_and_its_metrics_are_the_same(tmp_path: Path) -> None:
    train(with_board(tmp_path / "asked", 3), noise())
    train(config(tmp_path / "plain", updates=3, algorithm="bc"), noise())
    assert not (tmp_path / "plain" / "tensorboard").exists()
    one, other = ((tmp_path / run / "metrics.jsonl").read_bytes() for run in ("asked", "plain"))
    assert one == other


def test_without_the_package_the_extra_is_named_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = lazy.importlib.util.find_spec
    monkeypatch.setattr(
        lazy.importlib.util, "find_spec", lambda name: None if name == "tensorboard" else real(name)
    )
    refuse_without_packages("disabled", tensorboard=False)
    line = ["train", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run"), "--tensorboard"]
    assert cli.run(line) == 1
    assert "'tensorboard' (of the extra 'tensorboard')" in capsys.readouterr().err
