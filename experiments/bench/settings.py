"""Updates a second by setting, beside the naive plan of the same run, and what an update costs.

Costs are counted once for the naive plan and once for ours (see `bench_cost`); every setting but "naive" is
held against ours. Shares are of a matrix product and a copy that took their turns in the same rounds.
"""

import contextlib
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch

from cog.core.workers import processes
from cog.experiments.bench.ceilings import COPY, PRODUCT, Ceiling, ceilings, finish_on
from cog.experiments.bench.config import BenchConfig
from cog.experiments.bench.cost import Cost, cost_of
from cog.experiments.bench.figures import Figure
from cog.experiments.bench.rounds import WARM_UP, Action, Rounds, in_turn
from cog.experiments.bench.update import FRAMES, SETTINGS, bench_config, buffer_for, chosen, synthetic
from cog.training.config import TrainConfig
from cog.training.presets import Preset

NAIVE, OURS = "naive", "eager"
COUNTED = (NAIVE, "shared", OURS)
"""Settings whose operations can be counted; all others launch those of the last."""

OnTurn = Callable[[str], None]
"""Called with what was measured after every turn."""


def measure_updates(config: BenchConfig, on_turn: OnTurn) -> list[Figure]:
    """The section `updates`."""
    figures = []
    for network in config.network:
        for batch_size in config.batch_size:
            for sampled in config.sampled:
                figures += measure_case(config, network, batch_size, sampled, on_turn)
    return figures


def cases(config: BenchConfig) -> int:
    """Number of turns that `measure_updates` takes."""
    combinations = len(config.network) * len(config.batch_size) * len(config.sampled)
    turns = len(chosen(config.settings, config.device)) + len((PRODUCT, COPY))
    return combinations * turns * config.rounds


def measure_case(
    config: BenchConfig,
    network: Preset,
    batch_size: int,
    sampled: int,
    on_turn: OnTurn,
) -> list[Figure]:
    """All settings of one network, batch size and N."""
    settings = bench_config(config, network, batch_size, sampled)
    device = torch.device(config.device)
    buffer = buffer_for(settings, synthetic(FRAMES, config.seed))
    case = f"{network}, batch {batch_size}, N = {sampled}"
    actions: dict[str, Action] = {}
    peaks = {}
    for name in chosen(config.settings, config.device):
        before = allocated(device)
        actions[name] = SETTINGS[name](settings, buffer)
        if device.type == "cuda":
            for _ in range(WARM_UP):
                actions[name]()
            peaks[name] = torch.cuda.max_memory_allocated(device) - before
    limits = ceilings(config)
    turns = actions | {name: limit.action for name, limit in limits.items()}
    with contextlib.ExitStack() as closing:
        if NAIVE in turns and device.type == "cpu":
            pool = closing.enter_context(processes(1))
            turns[NAIVE] = lambda: pool.submit(update_elsewhere, settings, NAIVE, config.seed).result()
        finish = finish_on(device)
        rounds = in_turn(turns, config.rounds, config.seconds, finish, on_turn=lambda: on_turn(case))
    costs = {name: cost_of(actions[name]) for name in COUNTED if name in actions}
    figures = rate_figures(case, rounds, list(actions))
    for name, limit in limits.items():
        rate = limit.work * rounds.rate(name) / 1e9
        figures.append(Figure("updates", f"{case}: {name}", rate, limit.unit))
    for name in actions:
        if (cost := costs.get(name if name in COUNTED else OURS)) is not None:
            figures += cost_figures(case, rounds, name, cost, limits)
    for name, peak in peaks.items():
        figures.append(Figure("updates", f"{case}, {name}: memory", peak / 1e6, "MB"))
    return figures


def update_elsewhere(config: TrainConfig, setting: str, seed: int) -> None:
    """One update in a worker process, whose allocator is left as the system has it."""
    _held(config, setting, seed)()


@functools.cache
def _held(config: TrainConfig, setting: str, seed: int) -> Action:
    """The setting's action, made at its first update."""
    torch.set_num_threads(config.threads)
    return SETTINGS[setting](config, buffer_for(config, synthetic(FRAMES, seed)))


def rate_figures(case: str, rounds: Rounds, names: Sequence[str]) -> list[Figure]:
    """Updates a second of these settings, and how many times those of the naive one that is."""
    figures = []
    for name in names:
        what, rate = f"{case}, {name}", rounds.rate(name)
        if NAIVE not in names:
            figures.append(Figure("updates", what, rate, "updates/s"))
            continue
        ratios = rounds.ratios(name, NAIVE)
        middle = statistics.median(ratios)
        figures.append(
            Figure("updates", what, rate, "updates/s", middle, ratios[0], ratios[-1], beside=NAIVE)
        )
    return figures


def cost_figures(
    case: str, rounds: Rounds, name: str, cost: Cost, limits: Mapping[str, Ceiling]
) -> list[Figure]:
    """Operations and bytes of one update, and the rate of each as a share of what the device can do."""
    figures = []
    for value, unit, limit in (
        (cost.flops, "GFLOP/update", PRODUCT),
        (cost.bytes, "GB/update", COPY),
    ):
        # As often as the one outruns the other, in units of its work.
        shares = [value / limits[limit].work * ratio for ratio in rounds.ratios(name, limit)]
        middle = statistics.median(shares)
        what = f"{case}, {name}"
        figures.append(Figure("updates", what, value / 1e9, unit, middle, shares[0], shares[-1], limit))
    return figures


def allocated(device: torch.device) -> int:
    """Bytes allocated on the device now, from which the next peak counts; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)
