"""Data speed: shards beside plain h5py, loading for training, and a merge of many sources.

    python -m cog.experiments.bench.data --sources 100 --out docs/results/data/bench_data.json

Plain h5py writes and reads the very arrays of a shard with the same chunks and filters, and waits for the
disk as the toolkit does; it neither checks nor hashes. Both take turns, so that a busy machine slows both.
The merge is opened and trained on in a fresh process, whose memory is compared with the bytes of its frames.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cog.core.bounds import refuse_below
from cog.core.console import console, progress, table
from cog.core.files import fsync, write_json
from cog.core.workers import processes
from cog.datasets.episode import Episode
from cog.datasets.load import load
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import write_dataset
from cog.datasets.storage.layout import Arrays, pack
from cog.datasets.storage.shard import FRAMES_PER_CHUNK, ROWS_PER_CHUNK, read_shard, write_shard
from cog.experiments.script import script
from cog.replay.buffer import Buffer
from cog.training.presets import preset
from cog.training.setup import usable_device
from cog.training.train import train


@dataclass(frozen=True)
class BenchData:
    """Measure shards, loading, and a merge of many sources."""

    rounds: int = 15
    """Rounds; each times everything in turn."""
    episodes: int = 50
    """Episodes of the shard."""
    steps: int = 50
    """Steps of each of its episodes."""
    image_size: int = 48
    """Height and width of its images in pixels."""
    sources: int = 10
    """Datasets in the merge, half of them task data; 0 leaves the merge out."""
    source_episodes: int = 1000
    """Episodes of each of these."""
    source_steps: int = 15
    """Steps of each of their episodes."""
    source_image_size: int = 24
    """Height and width of their images in pixels."""
    folder: Path | None = None
    """Where the data are written and stay; none uses a temporary folder."""
    out: Path | None = None
    """JSON file for the figures; none writes none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "rounds", "episodes", "steps", "image_size")
        refuse_below(self, 0, "sources")
        refuse_below(self, 1, "source_episodes", "source_steps", "source_image_size")


def episodes(count: int, steps: int, size: int, seed: int) -> Iterator[Episode]:
    """Made-up episodes whose images are flat surfaces with a little noise, as rendered ones are."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        frames = steps + 1
        images = np.empty((frames, size, size, 3), np.uint8)
        images[:] = rng.integers(0, 256, 3)
        images[:, size // 2 :] = rng.integers(0, 256, 3)
        images[:, : size // 16] = rng.integers(0, 256, (frames, size // 16, size, 3))
        for frame, column in enumerate(rng.integers(0, size - size // 4, frames)):
            images[frame, size // 4 : size // 2, column : column + size // 4] = 200
        yield Episode(
            actions=rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
            signals={name: rng.random(frames, np.float32) for name in ("height", "opening", "distance")},
            images=images,
            proprio=rng.normal(size=(frames, 8)).astype(np.float32),
            seed=number,
            start="made up",
            behaviour="made up",
            options={"aim_error": 0.01},
        )


def rewarded_at_the_end(episode: Episode) -> np.ndarray:
    """Reward rule of the task data: the last step of every episode."""
    return np.arange(len(episode)) == len(episode) - 1


def write_plain(path: Path, arrays: Arrays) -> None:
    """The arrays of a shard by h5py alone, with the same chunks and filters."""
    with h5py.File(path, "w") as file:
        for field, array in arrays.items():
            filters: dict[str, Any] = {"fletcher32": True}
            rows = ROWS_PER_CHUNK
            if field == "frames":
                filters, rows = {"compression": "gzip", "compression_opts": 1}, FRAMES_PER_CHUNK
            chunks = (min(len(array), rows), *array.shape[1:])
            file.create_dataset(field, data=array, chunks=chunks, **filters)
    fsync(path)
    fsync(path.parent)


def read_plain(path: Path, fields: list[str]) -> Arrays:
    """All arrays by h5py alone."""
    with h5py.File(path, "r") as file:
        return {field: file[field][...] for field in fields}


def measure_shard(config: BenchData, folder: Path) -> dict[str, float]:
    """Megabytes of arrays a second of both, and the median ratio of the rounds, by clock and processor."""
    made = list(episodes(config.episodes, config.steps, config.image_size, 0))
    ours, plain = folder / "shard.h5", folder / "plain.h5"
    arrays, _ = pack(made, ours)
    size = sum(array.nbytes for array in arrays.values()) / 1e6
    digest = write_shard(ours, made, "made up", 0)
    work: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "write": (lambda: write_shard(ours, made, "made up", 0), lambda: write_plain(plain, arrays)),
        "read": (lambda: read_shard(ours, file_hash=digest), lambda: read_plain(plain, list(arrays))),
    }
    figures = {"shard_megabytes": size, "shard_file_megabytes": ours.stat().st_size / 1e6}
    for name, pair in work.items():
        times = [[_seconds(action) for action in pair] for _ in range(config.rounds + 1)][
            1:
        ]  # first: warm-up
        for kind, place in (("", 0), ("_processor", 1)):
            ratios = [theirs[place] / own[place] for own, theirs in times]
            figures[f"{name}_ratio{kind}"] = statistics.median(ratios)
        figures[f"{name}_megabytes_per_second"] = size / statistics.median(own[0] for own, _ in times)
        figures[f"{name}_plain_megabytes_per_second"] = size / statistics.median(
            their[0] for _, their in times
        )
    return figures


def measure_load(config: BenchData, folder: Path) -> dict[str, float]:
    """Megabytes of frames a second, from files to the tensors that batches are drawn from."""
    data = folder / "load"
    write_dataset(data, episodes(8 * config.episodes, config.steps, config.image_size, 1), {"made": "up"})
    relabel(data, "zero", "zero")
    device = usable_device(preset("cpu", data, data))
    rates = []
    for _ in range(max(3, config.rounds // 3)):
        began = time.perf_counter()
        buffer = Buffer(load(open_merge(data)), device, 128, "balanced", 0.95)
        rates.append(buffer.frames[0].stored.nbytes / 1e6 / (time.perf_counter() - began))
    return {"load_megabytes_per_second": statistics.median(rates)}


def make_merge(config: BenchData, folder: Path) -> Path:
    """Write the sources and a merge of them, or what is missing of them."""
    names: dict[bool, list[str]] = {True: [], False: []}
    with progress("write sources", config.sources, "source") as advance:
        for number in range(config.sources):
            task = number % 2 == 0
            data = folder / f"source{number:03d}"
            if not (data / "manifest.json").exists():
                made = episodes(
                    config.source_episodes, config.source_steps, config.source_image_size, number + 2
                )
                write_dataset(data, made, {"made": "up", "number": number})
            relabel(data, f"{__spec__.name}:rewarded_at_the_end" if task else "zero", "reward")
            names[task].append(f"{data}@reward")
            advance(number + 1, "")
    return write_merge(folder / "merge.json", names[True], names[False]).path


def use_merge(path: Path, out: Path) -> dict[str, float]:
    """Open a merge and train on it for one update; to be run in a fresh process."""
    before = _memory("VmRSS")
    opened = _seconds(lambda: open_merge(path))
    merge = open_merge(path)
    frames = sum(source.view.steps + source.episodes for source in merge.sources)
    size = frames * int(np.prod(merge.sources[0].dataset.environment["observations"]["image"]))
    files = sum(1 for _ in path.parent.rglob("*"))
    config = replace(preset("cpu", path, out), updates=1, log_every=1)
    began = time.perf_counter()
    train(config)
    trained = time.perf_counter() - began
    assert files == sum(1 for _ in path.parent.rglob("*"))  # nothing was copied
    return {
        "merge_sources": len(merge.sources),
        "merge_episodes": sum(source.episodes for source in merge.sources),
        "merge_frames_megabytes": size / 1e6,
        "merge_open_seconds": opened[0],
        "merge_open_processor_seconds": opened[1],
        "merge_first_update_seconds": trained,
        "merge_memory_ratio": (_memory("VmHWM") - before) / size,
    }


def measure(config: BenchData, folder: Path) -> dict[str, float]:
    """All figures."""
    figures = measure_shard(config, folder) | measure_load(config, folder)
    if config.sources:
        path = make_merge(config, folder / "merge")
        with tempfile.TemporaryDirectory() as out, processes(1) as pool:
            figures |= pool.submit(use_merge, path, Path(out) / "run").result()
    return {name: round(value, 4) for name, value in figures.items()}


def _seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds of an action by the clock and by the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - clock, time.process_time() - processor


def _memory(name: str) -> int:
    """Bytes of this process's memory: `VmRSS` now, `VmHWM` at most so far (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"{name} is unknown to this system")


def report(config: BenchData) -> None:
    """Print the figures, and write them where asked."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if config.folder is None else config.folder
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(config, folder)
    rows = [[name.replace("_", " "), f"{value:g}"] for name, value in figures.items()]
    console().print(table("Data on one process", ["figure", "value"], rows))
    console().print(json.dumps(figures))
    if config.out is not None:
        write_json(config.out, figures | {"cores": os.cpu_count()})


if __name__ == "__main__":
    script(BenchData, report)
