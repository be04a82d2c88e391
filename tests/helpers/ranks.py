"""What the ranks of tests/training/test_parallel.py do: `ranks FOLDER`, started once for each rank."""

import json
import os
import signal
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

import cog.algorithms.shared.base
from cog.algorithms import ALGORITHMS
from cog.core.parallel import joined, rank
from cog.errors import CogError
from cog.replay.buffer import Batch, Buffer
from cog.training.train import train
from tests.helpers.learner_data import config, noise, suited

UPDATES = 20
LAST_SAMPLE = 8  # the batch at which a signal strikes

# Every algorithm; and between them both samplings, all that draws a random number or looks at a whole batch.
RUNS: dict[str, dict[str, Any]] = {
    **{name: {"algorithm": name, "shift": 2} for name in ALGORITHMS},
    "cql": {"shift": 2, "backup_actions": 2},
    "cql with meters": {"shift": 2, "meter_every": 10},
    "cql with learned weight": {"lagrange_gap": 1.0, "clip_gradient": 0.5, "switches": 1, "bc_margin": 1.0},
    "bc": {"algorithm": "bc", "shift": 2, "sampling": "uniform", "schedule": "cosine"},
}


def settings(out: Path, **changes: Any) -> Any:
    """One of the runs, a few updates long."""
    return config(out, **({"updates": UPDATES, "checkpoint_every": 5} | changes))


def strike(patch: pytest.MonkeyPatch, number: int) -> None:
    """Send this process the signal `number` when it draws its batch `LAST_SAMPLE`."""
    drawn = 0
    healthy = Buffer.sample

    def sample(self: Buffer, generator: torch.Generator, size: int | None = None) -> Batch:
        nonlocal drawn
        drawn += 1
        if drawn == LAST_SAMPLE:
            os.kill(os.getpid(), number)
        return healthy(self, generator, size)

    patch.setattr(Buffer, "sample", sample)


def main(root: Path) -> None:
    """Every run, then those that must end in an error, which each rank notes in its own file."""
    ends: dict[str, list[str]] = {}

    def note(name: str, data: Any, **changes: Any) -> None:
        try:
            train(settings(root / name, **changes), data)
        except CogError as error:
            ends[name] = [type(error).__name__, str(error)]

    with joined("cpu"), pytest.MonkeyPatch.context() as patch:
        group = weakref.ref(dist.group.WORLD)
        for name, changes in RUNS.items():
            note(name, suited(changes), **changes)
        note("cql", noise(), **RUNS["cql"])  # once more, where a run is
        note("uneven", noise(), batch_size=9)
        note("other data", noise(seed=rank()))
        note("one without data", noise(frames=60 - 59 * rank()))
        with patch.context() as unaveraged:
            unaveraged.setattr(cog.algorithms.shared.base, "averaged", lambda gradients: gradients)
            note("unaveraged", noise())
        if rank() == 1:
            strike(patch, signal.SIGTERM)
        note("stopped", noise(), **RUNS["cql"])
    ends["left"] = [] if group() is None else ["the process group, whose threads abort the interpreter's end"]
    (root / f"rank_{os.environ['RANK']}.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
