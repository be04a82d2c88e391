"""Random damage: bits flipped and ends cut off in every kind of file, each noticed or without effect.

    python -m tests.faults.flips             # 2,000 flips and 500 truncations; part of `make faults`
    python -m tests.faults.flips --flips 200 --cuts 50

Damage is *detected* if `cog verify` reports a problem and opening the thing raises CogError; another
exception is a crash. A shard is also read alone, as an interrupted collection reads it before a manifest
names it; there the damage is detected, or it gives the very episodes that were written. Files are restored
before the next is damaged. Readers run in children: the death of an interpreter is a count and not the end.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cog.core.sealed import read_sealed
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import open_view
from cog.datasets.storage.claim import KIND
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.shard import read_shard
from cog.datasets.storage.verify import verify
from cog.errors import CogError
from cog.provenance.verify_run import verify_run
from cog.training import checkpoint
from cog.training.setup import RUN
from tests.conftest import assert_same_episode
from tests.faults.scenarios import collection, half_trained, joining, training

BATCH = 100  # damages a child
DETECTED, EQUAL, SILENT, CRASHED = "detected", "equal", "silent", "crashed"

Reader = Callable[[], str]
"""Reads the damaged file's thing and says which of the four it was."""


def make(folder: Path) -> dict[str, list[Path]]:
    """Fill a folder with every kind of file; where they are, by kind."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        half_trained(folder)
        for step in (*joining(folder)[3:], *collection(folder), *training(folder)):
            assert step() == 0
    run = folder / "run"
    return {
        "shard": sorted(folder.rglob("*.h5")),
        "manifest": sorted(folder.rglob("manifest.json")),
        "header": sorted(folder.rglob("collection.json")),
        "view": sorted(folder.rglob("relabels/*.json")),
        "merge": [folder / "both.json", folder / "copy" / "merge.json"],
        "checkpoint": sorted(run.rglob("step_*/*")),
        "pointer": [run / "checkpoints" / "latest.json"],
        "configuration": [run / "config.json"],
    }


def reader(kind: str, file: Path, work: Path) -> Reader:
    """How a file of this kind is read."""
    opened: dict[str, Callable[[], object]] = {
        "shard": lambda: list(open_dataset(file.parents[1]).episodes()),
        "manifest": lambda: open_dataset(file.parent),
        "header": lambda: read_sealed(file, KIND, "a header", "restore it"),
        "view": lambda: open_view(open_dataset(file.parents[1]), file.stem),
        "merge": lambda: open_merge(file),
        "checkpoint": lambda: checkpoint.load(file.parent),
        "pointer": lambda: checkpoint.load(work / "run"),
        "configuration": lambda: read_sealed(file, RUN, "a configuration", "restore it"),
    }
    if kind in ("checkpoint", "pointer", "configuration"):
        return lambda: _both(verify_run(work / "run"), opened[kind])
    place = {"merge": file, "shard": file.parents[1], "view": file.parents[1]}.get(kind, file.parent)
    return lambda: _both(verify(place), opened[kind])


def alone(file: Path) -> Callable[[], str]:
    """How a shard is read that no manifest names; the episodes that it must hold are read now."""
    whole = read_shard(file)

    def read() -> str:
        try:
            found = read_shard(file)
        except CogError:
            return DETECTED
        try:
            for one, other in zip(whole, found, strict=True):
                assert_same_episode(one, other)
        except (AssertionError, ValueError):
            return SILENT
        return EQUAL

    return read


def damages(
    files: dict[str, list[Path]], rng: np.random.Generator, flips: int, cuts: int
) -> Iterator[tuple[str, Path, int, int | None]]:
    """Kind, file, place and bit to flip (none: cut the file there); kinds and files are equally likely."""
    for number in range(flips + cuts):
        kind = list(files)[rng.integers(len(files))]
        file = files[kind][rng.integers(len(files[kind]))]
        yield (
            kind,
            file,
            int(rng.integers(file.stat().st_size)),
            int(rng.integers(8)) if number < flips else None,
        )


def run(work: Path, flips: int, cuts: int, seed: int = 0) -> tuple[Counter[tuple[str, str, str]], list[str]]:
    """Damage files at random; counts by (kind of damage, kind of file, outcome), and what was not noticed."""
    files = make(work)
    for kind, paths in files.items():
        assert all(reader(kind, path, work)() == EQUAL for path in paths), f"a {kind} was made damaged"
    todo = list(damages(files, np.random.default_rng(seed), flips, cuts))
    counts: Counter[tuple[str, str, str]] = Counter()
    bad: list[str] = []
    for begin in range(0, len(todo), BATCH):
        for (kind, file, place, bit), outcome in _in_child(todo[begin : begin + BATCH], work):
            damage = "cut" if bit is None else "flip"
            counts[damage, kind, outcome] += 1
            if outcome not in (DETECTED, EQUAL):
                bad.append(f"{file.relative_to(work)}: {damage} at {place}, bit {bit}: {outcome}")
    return counts, bad


def _in_child(todo: list, work: Path) -> list[tuple[tuple[str, Path, int, int | None], str]]:
    """The outcome of each damage, tried in a fork; where that dies, the damage it had begun is a crash."""
    whole = {file: file.read_bytes() for _, file, _, _ in todo}
    results: list = []
    while len(results) < len(todo):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            for kind, file, place, bit in todo[len(results) :]:
                os.write(writing, f"{_try(kind, file, place, bit, work)}\n".encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            outcomes = lines.read().split("\n")[:-1]
        os.waitpid(child, 0)
        if len(results) + len(outcomes) < len(todo):
            died = todo[len(results) + len(outcomes)][1]
            died.write_bytes(whole[died])
            outcomes.append(f"{CRASHED}: the interpreter died")
        results += zip(todo[len(results) :], outcomes, strict=False)
    return results


def _try(kind: str, file: Path, place: int, bit: int | None, work: Path) -> str:
    """Damage a file, read it, restore it."""
    readers = [reader(kind, file, work)] + ([alone(file)] if kind == "shard" else [])
    whole = file.read_bytes()
    damaged = bytearray(whole)
    if bit is None:
        del damaged[place:]
    else:
        damaged[place] ^= 1 << bit
    file.write_bytes(damaged)
    try:
        outcomes = [read() for read in readers]
    except Exception as error:
        return f"{CRASHED}: {error!r}".replace("\n", " ")
    finally:
        file.write_bytes(whole)
    return SILENT if SILENT in outcomes else outcomes[0]


def _both(problems: list, opening: Callable[[], object]) -> str:
    """Whether verify and opening agree that there is damage."""
    try:
        opening()
    except CogError:
        return DETECTED if problems else SILENT
    return SILENT if problems else EQUAL


def main() -> int:
    """Damage files and print the counts; 1 if anything went unnoticed."""
    options = argparse.ArgumentParser(
        prog="python -m tests.faults.flips", description="Random damage to files."
    )
    options.add_argument("--flips", type=int, default=2000, help="number of single bits to flip")
    options.add_argument("--cuts", type=int, default=500, help="number of truncations")
    options.add_argument("--seed", type=int, default=0, help="seed of the damage")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, bad = run(Path(folder), asked.flips, asked.cuts, asked.seed)
    for (damage, kind, outcome), count in sorted(counts.items()):
        print(f"{damage:5} {kind:11} {outcome:9} {count:5}")
    print(f"{sum(counts.values())} damages, {len(bad)} of them silent or crashed")
    for line in bad:
        print(f"  {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
