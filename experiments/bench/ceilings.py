"""What a device can do at most: the rates of one large matrix product and of one large copy."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from cog.core.workers import cores
from cog.experiments.bench.config import BenchConfig
from cog.experiments.bench.figures import Figure
from cog.experiments.bench.rounds import Action, in_turn
from cog.experiments.machine import processor
from cog.training.execution import keep_freed_memory, set_arithmetic

PRODUCT, COPY = "largest matrix product", "largest copy"
ROWS = {"cpu": 2048, "cuda": 8192}  # large enough to fill the device
MEGABYTES = {"cpu": 256, "cuda": 2048}  # larger than any cache


@dataclass(frozen=True)
class Ceiling:
    """Work that keeps one part of a device busy."""

    action: Action
    """Does the work once."""
    work: int
    """Floating-point operations, a multiplication and an addition being two, or bytes read and written."""
    unit: str
    """Unit of a thousand million of them a second."""


def ceilings(config: BenchConfig) -> dict[str, Ceiling]:
    """The matrix product, in the precision of the updates, and the copy."""
    device = torch.device(config.device)
    kind = "cpu" if device.type == "cpu" else "cuda"
    rows = config.product or ROWS[kind]
    size = 1_000_000 * (config.copy_megabytes or MEGABYTES[kind])
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    factors = torch.rand(2, rows, rows, device=device).to(dtype)
    product = torch.empty_like(factors[0])
    source = torch.ones(size, dtype=torch.uint8, device=device)
    copy = torch.zeros_like(source)
    return {
        PRODUCT: Ceiling(lambda: torch.mm(factors[0], factors[1], out=product), 2 * rows**3, "GFLOP/s"),
        COPY: Ceiling(lambda: copy.copy_(source), 2 * size, "GB/s"),
    }


def measure_ceilings(config: BenchConfig) -> list[Figure]:
    """The section `device`: the best round of each."""
    found = ceilings(config)
    actions = {name: ceiling.action for name, ceiling in found.items()}
    finish = finish_on(torch.device(config.device))
    rounds = in_turn(actions, max(3, config.rounds), config.seconds, finish)
    where = f"{config.device}, {config.precision}"
    return [
        Figure(
            "device",
            f"{name}, {where}",
            ceiling.work / min(rounds.seconds[name]) / 1e9,
            ceiling.unit,
        )
        for name, ceiling in found.items()
    ]


def finish_on(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has done what was asked of it."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def threads_of(config: BenchConfig) -> int:
    """Threads of one operation."""
    return config.threads or cores()


@contextlib.contextmanager
def computing(config: BenchConfig) -> Iterator[None]:
    """The threads and the memory that training would have, for as long as something is timed."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_of(config))
    set_arithmetic(config.precision)
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        set_arithmetic("float32")


def machine(config: BenchConfig) -> dict[str, object]:
    """What the figures were measured on."""
    device = torch.device(config.device)
    return {
        "processor": processor(),
        "cores": cores(),
        "load_average": round(os.getloadavg()[0], 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": config.precision,
        "threads": threads_of(config),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
