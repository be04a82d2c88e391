"""Metrics of a run, as lines of JSON and, on request, to Weights & Biases and TensorBoard.

`metrics.jsonl` holds only what the seed determines; times go to `timings.jsonl`. So the former is the same,
byte for byte, whether or not the run was interrupted.
"""

import contextlib
import importlib.util
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from cog.core.lazy import needed
from cog.errors import CogError

WandbMode = Literal["disabled", "offline", "online"]


class MetricsWriter:
    """Appends one line per logged update; a context manager that closes its files."""

    def __init__(
        self,
        folder: Path,
        position: int,
        wandb_mode: WandbMode,
        config: Mapping[str, Any],
        tensorboard: bool = False,
    ) -> None:
        """Continue `folder`/metrics.jsonl at byte `position`; what a killed run wrote after it is dropped.

        Raises:
            CogError: the file is shorter than `position`, or cannot be written, or a package is missing.
        """
        path = folder / "metrics.jsonl"
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            raise CogError(
                f"{size} bytes, but the checkpoint was written after {position}; the file was truncated",
                where=path,
                remedy="Start again in another folder.",
            )
        self._path = path
        with self._writing():
            self._file = path.open("ab")
            self._file.truncate(position)
            self._timings = (folder / "timings.jsonl").open("a")
        self._started = time.monotonic()
        self._run = _start_wandb(folder, wandb_mode, config) if wandb_mode != "disabled" else None
        self._board = _start_tensorboard(folder) if tensorboard else None

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of one update.

        Raises:
            CogError: the disk is full or fails.
        """
        line = json.dumps({"update": update, **metrics}, allow_nan=False)
        seconds = time.monotonic() - self._started
        timing = {"update": update, "seconds": round(seconds, 3), "clock": round(time.time(), 3)}
        with self._writing():
            self._file.write((line + "\n").encode())
            self._file.flush()
            self._timings.write(json.dumps(timing) + "\n")
            self._timings.flush()
        if self._run is not None:
            self._run.log(dict(metrics), step=update)
        if self._board is not None:
            with self._writing():
                for name, value in metrics.items():
                    self._board.add_scalar(name, value, update)
                self._board.flush()

    def position(self) -> int:
        """Make everything written durable; the size of metrics.jsonl in bytes.

        Raises:
            CogError: the disk is full or fails.
        """
        with self._writing():
            os.fsync(self._file.fileno())
            return self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writing():
            self._file.close()
            self._timings.close()
        if self._run is not None:
            self._run.finish(exit_code=0 if kind is None else 1)
        if self._board is not None:
            self._board.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the file if the disk fails."""
        try:
            yield
        except OSError as error:
            raise CogError(
                f"this file or timings.jsonl next to it could not be written ({error.strerror}); the "
                "checkpoints are as they were",
                where=self._path,
                remedy="Free space, then run the same command again, cog train with --resume.",
            ) from error


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of `folder`/metrics.jsonl; a last line that a kill truncated is left out."""
    lines = (folder / "metrics.jsonl").read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def last_logged(folder: Path, name: str) -> float | None:
    """The last value of `name` in `folder`/metrics.jsonl; None if no line has it."""
    for line in reversed((folder / "metrics.jsonl").read_text().splitlines()):
        if f'"{name}"' in line:
            return float(json.loads(line)[name])
    return None


def before_update(folder: Path, position: int, update: int) -> int:
    """Where the line of `update` begins, if it ends metrics.jsonl at `position`; otherwise `position`."""
    path = folder / "metrics.jsonl"
    written = path.read_bytes()[:position] if path.exists() else b""
    lines = written.splitlines(keepends=True)
    if lines and len(written) == position and json.loads(lines[-1])["update"] == update:
        return position - len(lines[-1])
    return position


def refuse_without_packages(mode: WandbMode, tensorboard: bool) -> None:
    """Raise CogError if metrics should go to Weights & Biases or TensorBoard, which is not installed."""
    if tensorboard:
        needed("tensorboard", "tensorboard")
    if mode != "disabled" and importlib.util.find_spec("wandb") is None:
        raise CogError(
            f"wandb is '{mode}', but its package is not installed",
            remedy="install it with: pip install wandb",
        )


def _start_wandb(folder: Path, mode: WandbMode, config: Mapping[str, Any]) -> Any:
    """A new Weights & Biases run with its files in `folder`; a process may have several."""
    import wandb

    return wandb.init(
        project="cog",
        dir=str(folder),
        mode=mode,
        config=dict(config),
        name=folder.name,
        reinit="create_new",
    )


def _start_tensorboard(folder: Path) -> Any:
    """A writer of events into `folder`/tensorboard.

    What a killed run wrote there after its last checkpoint is hidden, as its lines of metrics are dropped.
    """
    needed("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    written = read_metrics(folder)
    going_on = int(written[-1]["update"]) + 1 if written else None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=going_on)
