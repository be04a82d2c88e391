"""Verify a run: all its checkpoints by their hashes, and the files that point to them."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cog.core.sealed import read_sealed
from cog.errors import CogError
from cog.training import checkpoint
from cog.training.another import advised
from cog.training.config import read_config
from cog.training.setup import CONFIG, DAMAGED, RUN
from cog.training.tensors import blank, refuse_unfit

ONLINE = "online"  # where fine-tuning keeps its episodes


def is_run(path: Path) -> bool:
    """Whether a path is a run's folder, its checkpoints/ folder or a checkpoint's own folder."""
    names = (CONFIG, "checkpoints", checkpoint.LATEST, checkpoint.STATE)
    return any((path / name).exists() for name in names) or any(path.glob("step_*"))


def verify_run(path: Path) -> list[str]:
    """All problems of a run, its checkpoints/ folder or one checkpoint; empty if it is sound.

    Checkpoints, their pointer and the configuration are checked by hash; in the metrics every line must be
    valid and none missing before the latest checkpoint; fine-tuning episodes are verified as a dataset.
    """
    if (path / checkpoint.STATE).exists() or path.name.startswith("step_"):
        return _problems(lambda: _check_checkpoint(path))
    root = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    problems = _problems(lambda: _check_configuration(path))
    problems += _problems(lambda: checkpoint.find(root))
    for folder in sorted(root.glob("step_*")):
        problems += _problems(partial(_check_checkpoint, folder))
    if not problems:
        problems += _problems(lambda: _check_metrics(path))
    if (path / ONLINE).is_dir():
        from cog.datasets.storage.verify import verify

        problems += [str(problem) for problem in verify(path / ONLINE)]
    return list(dict.fromkeys(problems))  # the latest checkpoint is checked more than once


def _check_checkpoint(path: Path) -> None:
    """It loads, and holds the whole state of an agent of its settings."""
    found = checkpoint.load(path)
    agent = blank(found.config, found.shape, found.action_dimensions)
    with advised(found.folder):
        refuse_unfit(found.folder, agent, "")


def _problems(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except CogError as error:
        return [str(error)]
    return []


def _check_configuration(run: Path) -> None:
    """The configuration is the one that the latest checkpoint was trained with."""
    file = run / CONFIG
    if not file.exists():
        return
    config = read_config(read_sealed(file, RUN, "the configuration of a run", DAMAGED), where=str(file))
    latest = checkpoint.load(run)
    if differing := checkpoint.departures(latest.config, config):
        named = ", ".join(differing)
        raise CogError(
            f"differs from {latest.folder / checkpoint.STATE}",
            where=f"{file}: field '{named}'",
            remedy=DAMAGED,
        )


def _check_metrics(run: Path) -> None:
    """Every line of the metrics is JSON, except a last one that a kill truncated."""
    file = run / "metrics.jsonl"
    if not file.exists():
        return
    data = file.read_bytes()
    if len(data) < (position := checkpoint.load(run).metrics_position):
        raise CogError(
            f"{len(data)} bytes, but the latest checkpoint was written after {position}", where=file
        )
    for number, line in enumerate(data.split(b"\n")[:-1]):
        try:
            json.loads(line)
        except ValueError as error:
            raise CogError(
                f"line {number + 1} is invalid JSON", where=file, remedy="restore it from a copy"
            ) from error
