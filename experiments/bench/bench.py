"""`cog bench`: measure this machine in sections, and show every figure in one table and as JSON."""

import dataclasses
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cog.core.console import console, messages, progress
from cog.core.files import code_version, write_json
from cog.envs import SCENES
from cog.envs.make import scene_class
from cog.errors import missing_extra
from cog.experiments.bench.ceilings import computing, machine, measure_ceilings
from cog.experiments.bench.collect import MESH_ROBOT, measure_collection
from cog.experiments.bench.config import SECTIONS, BenchConfig
from cog.experiments.bench.data import BenchData, measure_load
from cog.experiments.bench.environment import BenchEnvironment
from cog.experiments.bench.environment import measure as measure_scene
from cog.experiments.bench.evaluate import measure_evaluation
from cog.experiments.bench.figures import Figure, figures_table, to_json
from cog.experiments.bench.parity import parity, refuse_parting
from cog.experiments.bench.plot import draw_scaling
from cog.experiments.bench.scaling import measure_scaling
from cog.experiments.bench.settings import cases, measure_updates
from cog.experiments.bench.update import bench_config, chosen
from cog.training.train import usable_device

FORMAT = 1
NOTES = {
    "collection": "the first shard of every worker is left out, and with it the start of its process",
    "updates": (
        "on a CPU, naive runs in a process whose allocator is as the system has it, the others in one that "
        "keeps freed memory, as cog train does; operations are those of matrix products and convolutions; "
        "bytes are the sizes of all that each operation reads and writes, as if nothing stayed in a cache, "
        "so their share may exceed 1; those of compiled settings are the ones before operations are fused"
    ),
    "scaling": "the frames are zeros in memory that was written to",
    "parity": (
        "largest differences from the naive plan; losses and values relative to their largest size, weights "
        "to how far they have moved; the ratio is the share of the tolerance"
    ),
    "evaluation": "an untrained policy runs every episode to the horizon: the worst case",
}
"""What a section's figures mean, shown below the table."""


@dataclasses.dataclass(frozen=True)
class Report:
    """A finished benchmark."""

    figures: list[Figure]
    """All figures, in the order of the sections."""
    notes: list[str]
    """What the figures mean, and what was left out."""
    machine: dict[str, Any]
    """What they were measured on."""


def bench(config: BenchConfig) -> Report:
    """Measure the sections asked for, print one table, and write JSON and plot where asked.

    Raises:
        UsageError: there is no such setting of the update.
        CogError: no such device, no package to draw with, a worker died, or settings do not compute the same.
    """
    sized = config.sized()
    usable_device(bench_config(sized, sized.network[0], sized.batch_size[0], sized.sampled[0]))
    chosen(sized.settings, sized.device)
    if sized.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise missing_extra("matplotlib", "report")
    report = compare(sized) if sized.parity else measure(sized)
    title = "Benchmark (quick: the numbers mean nothing)" if config.quick else "Benchmark"
    screen = console()
    screen.print(figures_table(title, report.figures))
    for note in report.notes:
        screen.print(note)
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.machine.items())
    screen.print(facts)
    if sized.out is not None:
        write_json(sized.out, to_file(config, report))
        screen.print(str(sized.out))
    if sized.plot is not None:
        draw_scaling(sized.plot, report.figures)
        screen.print(str(sized.plot))
    if sized.parity:
        refuse_parting(report.figures)
    return report


def compare(config: BenchConfig) -> Report:
    """What the settings of the update compute, beside each other."""
    with computing(config):
        figures = parity(config, lambda name: messages().print(f"training: {name}"))
    return Report(figures, [f"parity: {NOTES['parity']}"], machine(config))


def measure(config: BenchConfig) -> Report:
    """All sections asked for, in their order."""
    facts = machine(config)
    figures: list[Figure] = []
    notes: list[str] = []
    for section in (name for name in SECTIONS if name in config.only):
        messages().print(f"measuring: {section}")
        if section == "device":
            with computing(config):
                figures += measure_ceilings(config)
        elif section == "updates":
            with computing(config), progress("updates", cases(config), "turn") as advance:
                figures += measure_updates(config, counting(advance))
        elif section == "scaling":
            with computing(config):
                found, left_out = measure_scaling(config)
            figures += found
            notes += left_out
        else:
            figures += OTHERS[section](config)
        if section in NOTES:
            notes.append(f"{section}: {NOTES[section]}")
    return Report(figures, notes, facts)


def measure_environment(config: BenchConfig) -> list[Figure]:
    """The section `environment`: each scene on one core, beside the mesh robot's loop in turn."""
    figures = []
    for env in SCENES:
        start = scene_class(env).starts[0]
        steps = max(1, round(50 * config.seconds))
        found = measure_scene(BenchEnvironment(rounds=2 * config.rounds, steps=steps, env=env, start=start))
        figures += [
            Figure(
                "environment",
                f"{env} from {start}, 48x48 image, one core",
                found["scene_steps_per_second"],
                "steps/s",
                found["ratio"],
                found["ratio_low"],
                found["ratio_high"],
                beside=f"{MESH_ROBOT}, {found['panda_steps_per_second']:.4g} steps/s",
            ),
            Figure("environment", f"{env} from {start}, reset", found["reset_milliseconds"], "ms"),
        ]
    return figures


def measure_loading(config: BenchConfig) -> list[Figure]:
    """The section `load`."""
    settings = BenchData(rounds=3 * config.rounds, episodes=max(1, config.load_episodes // 8))
    with tempfile.TemporaryDirectory() as folder:
        found = measure_load(settings, Path(folder))
    what = "shards checked, decoded and put into the buffer"
    return [Figure("load", what, found["load_megabytes_per_second"], "MB/s")]


OTHERS: dict[str, Callable[[BenchConfig], list[Figure]]] = {
    "environment": measure_environment,
    "collection": measure_collection,
    "load": measure_loading,
    "evaluation": measure_evaluation,
}
"""Sections that need nothing but the settings."""


def to_file(config: BenchConfig, report: Report) -> dict[str, Any]:
    """What the JSON file holds."""
    return {
        "format": FORMAT,
        "kind": "benchmark",
        "code_version": code_version(),
        "quick": config.quick,
        "machine": report.machine,
        "figures": to_json(report.figures),
        "notes": report.notes,
    }


def counting(advance: Callable[[int, str], None]) -> Callable[[str], None]:
    """Count turns for a progress bar."""
    done = 0

    def turn(case: str) -> None:
        nonlocal done
        done += 1
        advance(done, case)

    return turn
