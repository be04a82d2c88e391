"""Reproduce the paper's experiments: plan, run what is missing, and set the results beside the paper's.

out/
  data/ merges/ runs/ evaluations/ records/    the jobs, see `jobs`; shared by all commands in this folder
  results.json  table.md  learning_curves_<row>.png  report.html    of the last command
  ablation_<kind>.json .md .png                                        of the last such ablation
"""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cog.core.configs import apart, differences, to_json
from cog.core.console import console, messages, table
from cog.core.files import Taken, read_json, write_bytes, write_json
from cog.core.lock import locked
from cog.core.workers import cores
from cog.errors import CogError
from cog.experiments.command_line import changed
from cog.experiments.jobs.code import code
from cog.experiments.jobs.crew import Place
from cog.experiments.jobs.estimate import Estimate, in_words, stages
from cog.experiments.jobs.kinds import Train
from cog.experiments.jobs.mark import read_mark
from cog.experiments.jobs.run import run_jobs
from cog.experiments.paper.ablations import draw, variants
from cog.experiments.paper.config import ReproduceConfig
from cog.experiments.paper.graph import Graph, build
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.paper.recipes.recipe import Recipe
from cog.experiments.paper.report import write_report
from cog.experiments.paper.reported import CAUTION, REPORTED
from cog.experiments.paper.results import columns, gather, markdown, measure, rows
from cog.training.setup import usable_device

FORMAT = 1
LEFT_OUT = tuple(name for name in apart(ReproduceConfig) if name != "out")  # of the printed command
STORE, RESULTS, TABLE = "store.json", "results.json", "table.md"


def reproduce(config: ReproduceConfig, recipes: Sequence[Recipe] | None = None) -> dict[str, Any] | None:
    """Run the experiments, or what is missing of them; returns what results.json holds, none for a plan.

    Args:
        config: what to run.
        recipes: other rows than those that `config` names.

    Raises:
        CogError: the folder holds something else or is in use, this machine lacks the device, or a job
            failed; finished jobs stay.
    """
    recipes = [RECIPES[name] for name in config.chosen_rows] if recipes is None else recipes
    if config.ablation is not None:
        recipes = [variant for recipe in recipes for variant in variants(config.ablation, recipe)]
    graph = build(recipes, config)
    show_plan(graph, config)
    if config.plan:
        return None
    if config.dask is None:
        refuse_device(graph)
    with claimed(config.out, config.mix_code):
        place = Place(config.workers, config.dask, config.dashboard)
        run_jobs(graph.jobs, place, Estimate(config.out / "records").seconds)
        results = gather(graph, config, command(config))
        results["code"] = read_json(config.out / STORE, "the mark of a folder of experiments")["code"]
        write_results(results, graph, config)
    show_results(results, config)
    return results


def refuse_device(graph: Graph) -> None:
    """Refuse a device before anything is collected for it; runs that are finished need none.

    Raises:
        CogError: this machine has not got what a run that is left to do asks for.
    """
    for job in graph.jobs:
        if isinstance(job, Train) and not job.finished():
            usable_device(job.settings)


def write_results(results: dict[str, Any], graph: Graph, config: ReproduceConfig) -> None:
    """Write the files of the command; pictures need optional packages and may be left out."""
    name = "" if config.ablation is None else f"ablation_{config.ablation}"
    write_json(config.out / (f"{name}.json" if name else RESULTS), results)
    page = f"{markdown(results)}\n\n{measure(results)}\n"
    write_bytes(config.out / (f"{name}.md" if name else TABLE), page.encode())
    if not name:
        write_report(config.out, results, graph)
        return
    starts = list(dict.fromkeys(entry.cell.name for entry in graph.entries if not entry.cell.extra))
    try:
        draw(config.out / f"{name}.png", results, starts)
    except CogError as error:
        messages().print(f"{name}.png left out: {error}", style="yellow")


def show_plan(graph: Graph, config: ReproduceConfig) -> None:
    """Print what is there and what is to be done, with expected times."""
    estimate = Estimate(config.out / "records")
    plan = stages(graph.jobs, estimate, cores(), config.workers or cores())
    lines = [
        [
            stage.kind,
            f"{stage.finished}/{stage.jobs}",
            in_words(stage.cpu_seconds),
            in_words(stage.wall_seconds),
        ]
        for stage in plan
    ]
    cpu = sum(stage.cpu_seconds for stage in plan)
    wall = sum(stage.wall_seconds for stage in plan)
    lines.append(["total", "", in_words(cpu), in_words(wall)])
    console().print(table(f"plan, in {config.out}", ["stage", "finished", "processor", "clock"], lines))


def show_results(results: dict[str, Any], config: ReproduceConfig) -> None:
    """Print the table, what others reported, and what it took."""
    screen = console()
    title = (
        f"success at the last step, {config.episodes} episodes a cell; 95 % intervals: Wilson, Student's t"
    )
    screen.print(table(title, columns(results), rows(results)))
    screen.print(measure(results))
    took = results["seconds"]["total"]
    screen.print(f"{in_words(took['cpu'])} of processor time; results are in {config.out}")
    if config.ablation is not None:
        return
    figures = [[figure.method, figure.task, figure.success, figure.source] for figure in REPORTED]
    screen.print(table("reported by others", ["method", "starts", "success", "source"], figures))
    screen.print(CAUTION, style="dim")


def command(config: ReproduceConfig) -> str:
    """The command line that gives these results."""
    chosen = changed(to_json(config), to_json(ReproduceConfig()), LEFT_OUT)
    return shlex.join(["cog", "reproduce", *chosen])


@contextlib.contextmanager
def claimed(out: Path, mix_code: bool) -> Iterator[None]:
    """Make the folder, or take one that holds experiments, and keep others out of it.

    Raises:
        CogError: it holds something else, another process works in it, or, unless `mix_code`, other code has.
    """
    mark, mine = out / STORE, code()
    if read_mark(mark, FORMAT, "experiments", "experiments") is None:
        with contextlib.suppress(Taken):  # another has just begun; its mark is read below
            write_json(mark, {"format": FORMAT, "kind": "experiments", "code": [mine]}, new=True)
    with locked(out):
        admit(mine, mark, mix_code)
        yield


def admit(mine: dict[str, str], mark: Path, mix_code: bool) -> None:
    """Note this code, as hashes by part, among that which has worked in a folder.

    Raises:
        CogError: it is new there, and that was not asked for.
    """
    held = read_json(mark, "the mark of a folder of experiments")
    known = held.get("code", [])
    if mine in known:
        return
    if not mix_code:
        parts = " and ".join(differences(known[-1] if known else {}, mine))
        raise CogError(
            f"{mark.parent}: its jobs were finished by other code ({parts} changed since), and its results "
            "would mix with those of this; choose another folder with --out, or reuse them with --mix-code"
        )
    write_json(mark, {**held, "code": [*known, mine]})
