"""Several seeds of one run, trained at once on one device: they share the data and take turns.

On CUDA every run has a stream of its own, so that the kernels of one fill what those of another leave idle.
Each computes what it would alone.
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

    A seed that fails, or finds the device's memory full, ends alone, and `on_message` is told; the others go
    on, and the error follows when all have ended. Callbacks are called with the seed before what those of
    `cog.training.train.train` are called with.

    Raises:
        UsageError: no seeds, one given twice, or several processes.
        CogError: as `cog.training.train.train`, naming the seeds; `out` itself holds a run.
        Interrupted: SIGINT or SIGTERM came; the state of every seed was saved first.
    """
    runs = _runs(config, seeds)
    with contextlib.ExitStack() as held:
        for run in runs.values():
            claim(run, resume)
            held.enter_context(locked(run.out))
        buffer, facts = prepare(next(iter(runs.values())), transitions, on_message)
        stopped = held.enter_context(stop_signals())
        turns: dict[int, Generator[None, None, None]] = {}
        for seed, run in runs.items():
            begun = begin(run, buffer.twin(), facts, resume)
            shown = partial(on_progress, seed) if on_progress is not None else None
            saved = partial(on_checkpoint, seed) if on_checkpoint is not None else None
            said = None if turns else on_message  # all are computed alike
            turns[seed] = updates(run, begun, stopped, said, shown, saved)
            held.callback(turns[seed].close)
        if failed := _take(turns, buffer.device, on_message):
            raise CogError("\n".join(failed))
    return {seed: checkpoint.find(run.out) for seed, run in runs.items()}


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """A stream beside the others of a CUDA device; none elsewhere, which `torch.cuda.stream` passes over."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def _runs(config: TrainConfig, seeds: Sequence[int]) -> dict[int, TrainConfig]:
    """The run of each seed."""
    with together():
        if not seeds or len(set(seeds)) < len(seeds):
            raise UsageError(f"seeds are {list(seeds)}; name at least one, and each once")
        if size() > 1:
            raise UsageError(
                "several seeds are for one process; leave them out where torchrun starts several"
            )
        if (config.out / CONFIG).exists():
            raise CogError(
                f"{config.out} itself holds a run; choose another folder for those of several seeds"
            )
    return {seed: dataclasses.replace(config, seed=seed, out=config.out / f"seed{seed}") for seed in seeds}


def _take(
    turns: Mapping[int, Iterator[None]], device: torch.device, on_message: Callable[[str], None] | None
) -> list[str]:
    """One update of each in turn, until all have ended; what ended some before their last update.

    Raises:
        UsageError: settings that cannot be run, which are those of all.
        Interrupted: a signal ended all that were left.
    """
    streams = {seed: _stream(device) for seed in turns}
    going = dict(turns)
    failed: list[str] = []
    interrupted: Interrupted | None = None
    while going:
        for seed, turn in list(going.items()):
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
                failed.append(f"seed {seed}: {error}")  # the error itself would keep the run in memory
                if on_message is not None:
                    on_message(failed[-1])
            del going[seed]
    if interrupted is not None:
        raise interrupted
    return failed
