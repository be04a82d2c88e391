"""Several seeds of one run, trained at once on one device: they share the data and take turns.

On CUDA every run has its own stream, so that kernels of one run use what those of another leave idle. Each
computes exactly what it would alone.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from cog.core.lock import locked
from cog.core.parallel import size, together
from cog.core.stopping import stop_signals
from cog.datasets.transitions import Transitions
from cog.errors import CogError, UsageError
from cog.training import checkpoint
from cog.training.config import TrainConfig
from cog.training.setup import CONFIG, claim, prepare
from cog.training.train import Interrupted, begin, updates


def train_seeds(
    config: TrainConfig,
    seeds: Sequence[int],
    transitions: Transitions | None = None,
    resume: bool = False,
    on_progress: Callable[[int, int, int, Mapping[str, float]], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    on_checkpoint: Callable[[int, int, Path], None] | None = None,
) -> dict[int, Path]:
    """Train `config` with every seed, in folders seedS of `config.out`; return their last checkpoints.

    A seed that fails or runs out of device memory is reported to `on_message`; the others continue, and the
    error is raised when all have ended. Callbacks take the seed first, then the arguments of those of
    `cog.training.train.train`.

    Raises:
        UsageError: no seeds, a seed given twice, or several processes.
        CogError: as in `cog.training.train.train`, naming the seeds; or `out` itself holds a run.
        Interrupted: SIGINT or SIGTERM came; the state of every seed was saved first.
    """
    runs = _runs(config, seeds)
    with contextlib.ExitStack() as stack:
        for run in runs.values():
            claim(run, resume)
            stack.enter_context(locked(run.out))
            claim(run, resume)  # another may have begun and ended between the two
        buffer, facts = prepare(next(iter(runs.values())), transitions, on_message)
        stopped = stack.enter_context(stop_signals())
        turns: dict[int, Generator[None, None, None]] = {}
        for seed, run in runs.items():
            begun = begin(run, buffer.twin(), facts, resume, on_message)
            shown = partial(on_progress, seed) if on_progress is not None else None
            saved = partial(on_checkpoint, seed) if on_checkpoint is not None else None
            report = None if turns else on_message  # the message is the same for all
            turns[seed] = updates(run, begun, stopped, report, shown, saved)
            stack.callback(turns[seed].close)
        if failed := _take(turns, buffer.device, on_message):
            raise CogError("\n".join(failed))
    return {seed: checkpoint.find(run.out) for seed, run in runs.items()}


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """A new stream of a CUDA device; elsewhere None, which `torch.cuda.stream` ignores."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def _runs(config: TrainConfig, seeds: Sequence[int]) -> dict[int, TrainConfig]:
    """The run of each seed."""
    with together():
        if not seeds or len(set(seeds)) < len(seeds):
            raise UsageError(f"seeds are {list(seeds)}", remedy="name at least one, and each only once")
        if size() > 1:
            raise UsageError(
                "several seeds are for one process",
                remedy="leave out --seeds where torchrun starts several processes",
            )
        if (config.out / CONFIG).exists():
            raise CogError(
                "holds a run itself", where=config.out, remedy="choose another folder for several seeds"
            )
    return {seed: dataclasses.replace(config, seed=seed, out=config.out / f"seed{seed}") for seed in seeds}


def _take(
    turns: Mapping[int, Iterator[None]], device: torch.device, on_message: Callable[[str], None] | None
) -> list[str]:
    """Update each in turn until all have ended; return the errors of those that failed.

    Raises:
        UsageError: the settings, which all share, cannot be run.
        Interrupted: a signal ended those still running.
    """
    streams = {seed: _stream(device) for seed in turns}
    running = dict(turns)
    failed: list[str] = []
    interrupted: Interrupted | None = None
    while running:
        for seed, turn in list(running.items()):
            try:
                with torch.cuda.stream(streams[seed]):
                    next(turn)
                continue
            except StopIteration:
                pass
            except UsageError:
                raise
            except Interrupted as error:
                interrupted = error
            except (CogError, torch.cuda.OutOfMemoryError) as error:
                failed.append(
                    f"seed {seed}: {error}"
                )  # keeping the error itself would keep the run in memory
                if on_message is not None:
                    on_message(failed[-1])
            del running[seed]
    if interrupted is not None:
        raise interrupted
    return failed
