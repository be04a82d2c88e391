"""How updates a second depend on the size of a batch and on the number of frames in the buffer.

The frames of large buffers are zeros, but every page of their memory is written, so that a batch is gathered
from memory that is really there; what is compared is the gathering, not the pictures.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cog.core.figures import COLOURS, new_picture, style, write_picture
from cog.datasets.transitions import Transitions
from cog.experiments.bench.ceilings import finish_on
from cog.experiments.bench.config import BenchConfig
from cog.experiments.bench.figures import Figure
from cog.experiments.bench.rounds import Rounds, in_turn
from cog.experiments.bench.update import FRAMES, SETTINGS, bench_config, buffer_for, chosen, synthetic
from cog.training.config import TrainConfig

BATCHES = {"cpu": (64, 128, 256, 512, 1024), "cuda": (64, 128, 256, 512, 1024, 2048, 4096)}
UNASKED = ("eager",)  # the settings that are scaled unless others are named
PAGE = 4096  # bytes; the memory of a page that nobody wrote to is one page shared by all
SHARE_OF_MEMORY = 0.5  # that the buffers may take, all together
BATCHES_UNIT, FRAMES_UNIT = "transitions a batch", "frames in the buffer"


def measure_scaling(config: BenchConfig) -> tuple[list[Figure], list[str]]:
    """The section `scaling`, and what was left out and why."""
    settings = [name for name in chosen(config.settings or UNASKED, config.device) if name != "naive"]
    kind = "cpu" if config.device == "cpu" else "cuda"
    batches = config.scaling_batches or BATCHES[kind]
    sizes, left_out = fitting(config)
    figures = []
    for name in settings:
        figures += compared(config, name, BATCHES_UNIT, sorted(batches), time_batches(config, name, batches))
        if sizes:
            figures += compared(config, name, FRAMES_UNIT, sizes, time_buffers(config, name, sizes))
    return figures, left_out


def compared(
    config: BenchConfig, setting: str, unit: str, sizes: Sequence[int], rounds: Rounds
) -> list[Figure]:
    """Updates a second of every size, as ratios to the smallest."""
    smallest = str(min(sizes))
    found = []
    for size in sizes:
        each = rounds.ratios(str(size), smallest)
        found.append(
            Figure(
                section="scaling",
                what=f"{config.network[0]}, N = {config.sampled[0]}, {setting}, {size} {unit}",
                value=rounds.rate(str(size)),
                unit="updates/s",
                ratio=statistics.median(each),
                low=each[0],
                high=each[-1],
                beside=f"{smallest} {unit}",
            )
        )
    return found


def time_batches(config: BenchConfig, setting: str, batches: Sequence[int]) -> Rounds:
    """Updates with every size of batch, in turn, on the small buffer."""
    actions = {}
    transitions = synthetic(FRAMES, config.seed)
    for size in batches:
        settings = scaled(config, size)
        actions[str(size)] = SETTINGS[setting](settings, buffer_for(settings, transitions))
    return in_turn(actions, config.rounds, config.seconds, finish_on(torch.device(config.device)))


def time_buffers(config: BenchConfig, setting: str, sizes: Sequence[int]) -> Rounds:
    """Updates from every size of buffer, in turn, with the first of the batch sizes."""
    settings = scaled(config, config.batch_size[0])
    actions = {
        str(size): SETTINGS[setting](settings, buffer_for(settings, blank(size, config))) for size in sizes
    }
    return in_turn(actions, config.rounds, config.seconds, finish_on(torch.device(config.device)))


def scaled(config: BenchConfig, batch_size: int) -> TrainConfig:
    """The first network at the first N."""
    return bench_config(config, config.network[0], batch_size, config.sampled[0])


def blank(frames: int, config: BenchConfig) -> Transitions:
    """Synthetic transitions whose frames are zeros in memory of their own."""
    rng = np.random.default_rng(config.seed)
    steps = frames - 1
    images = np.zeros(frames * frame_bytes(config), np.uint8)
    images[::PAGE] = 0
    size = config.frame_size
    return dataclasses.replace(
        synthetic(FRAMES, config.seed),
        frames=images.reshape(frames, size, size, 3),
        proprio=rng.normal(size=(frames, 8)).astype(np.float32),
        actions=rng.uniform(-1, 1, (steps, 8)).astype(np.float32),
        rewards=np.zeros(steps, np.float32),
        terminals=np.zeros(steps, bool),
        frame_index=np.arange(steps),
        source=np.zeros(steps, np.int64),
        episode=np.zeros(steps, np.int64),
    )


def fitting(config: BenchConfig) -> tuple[list[int], list[str]]:
    """The sizes of buffer that fit into the memory together, and a sentence for each that does not."""
    free = SHARE_OF_MEMORY * free_bytes(config)
    sizes, left_out, taken = [], [], 0
    for frames in sorted(config.scaling_frames):
        size = frames * frame_bytes(config)
        if taken + size > free:
            need = f"needs {size / 1e9:.1f} GB beside {taken / 1e9:.1f} GB, of {free / 1e9:.1f} GB granted"
            left_out.append(f"a buffer of {frames} frames was left out: it {need}; see --frame-size")
        else:
            sizes.append(frames)
            taken += size
    return sizes, left_out


def frame_bytes(config: BenchConfig) -> int:
    """Bytes of one frame."""
    return config.frame_size**2 * 3


def free_bytes(config: BenchConfig) -> int:
    """Memory that is free, on the host and on the device (Linux; elsewhere the host's is not asked for)."""
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    except (OSError, StopIteration):
        pass
    if config.device != "cpu":
        free.append(torch.cuda.mem_get_info(torch.device(config.device))[0])
    return min(free, default=2**62)


def lines(figures: Sequence[Figure], unit: str) -> dict[str, list[tuple[int, float]]]:
    """(size, updates/s) of every setting whose figures are about this unit."""
    found: dict[str, list[tuple[int, float]]] = {}
    for figure in figures:
        if figure.section == "scaling" and figure.what.endswith(unit):
            name, _, size = figure.what.removesuffix(f" {unit}").rpartition(", ")
            found.setdefault(name, []).append((int(size), figure.value))
    return found


def draw_scaling(path: Path, figures: Sequence[Figure]) -> None:
    """Write both panels as a PNG.

    Raises:
        CogError: matplotlib is not installed.
    """
    picture = new_picture(9, 3.4)
    for place, unit in enumerate((BATCHES_UNIT, FRAMES_UNIT), start=1):
        axes = picture.add_subplot(1, 2, place)
        shown = lines(figures, unit)
        for colour, (name, points) in zip(itertools.cycle(COLOURS.values()), shown.items(), strict=False):
            axes.plot(*zip(*points, strict=True), label=name, color=colour, marker="o", linewidth=1.4)
        axes.set_xlabel(unit, fontsize=9)
        axes.set_ylabel("updates/s", fontsize=9)
        axes.set_xscale("log")
        axes.grid(alpha=0.25)
        style(axes)
        if shown:
            highest = max(rate for points in shown.values() for _, rate in points)
            axes.set_ylim(0, 1.1 * highest)
            axes.legend(fontsize=8, frameon=False)
    write_picture(path, picture, 110)
