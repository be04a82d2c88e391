"""Commands on datasets: reward, merge, check and describe them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from cog.core.console import console, counting, messages, table
from cog.errors import UsageError

RESULTS = ("evaluation.json", "summary.json", "results.json")  # of evaluations, demos, reproductions


@dataclass(frozen=True)
class Relabel:
    """Give a dataset rewards by a rule, as a small file beside its untouched shards."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    rule: str
    """grasp_success, zero, "object_height > 0.1 for 3 steps", module:function."""
    name: str
    """Name of the view; it is written to relabels/NAME.json."""
    scale: float = 1.0
    """Reward of a step on which the rule holds."""
    terminate: bool = True
    """Whether the first rewarded step ends the episode, or rewards persist and nothing terminates."""
    only: str | None = None
    """Keep only episodes whose last frame satisfies this rule, such as drawer_opened; none keeps all."""

    def run(self) -> None:
        from cog.datasets.relabel.view import relabel
        from cog.datasets.storage.dataset import open_dataset

        view = relabel(
            self.dataset, self.rule, self.name, scale=self.scale, terminate=self.terminate, only=self.only
        )
        console().print(str(view))
        for remark in view.remarks(open_dataset(self.dataset).step_count):
            messages().print(f"note: {remark}")


@dataclass(frozen=True)
class Merge:
    """Join task and prior datasets into one training set; nothing is copied."""

    out: Path
    """Merge file to write (JSON)."""
    task: tuple[str, ...]
    """Task sources as FOLDER@RELABEL."""
    prior: tuple[str, ...] = ()
    """Prior sources as FOLDER@RELABEL."""
    task_share: float = 0.5
    """Share of each batch that task sources supply; prior sources supply the rest, by their steps."""
    materialise: Path | None = None
    """Folder for a full copy with the rewards in its shards; none copies nothing."""

    def run(self) -> None:
        from cog.datasets.materialise import materialise
        from cog.datasets.merge import write_merge

        merge = write_merge(self.out, self.task, self.prior, self.task_share)
        remarks = merge.remarks()
        if self.materialise is not None:
            merge = materialise(self.out, self.materialise)
        rows = [
            [source.name, source.role, source.view.name, f"{source.share:.3f}", str(source.view.steps)]
            for source in merge.sources
        ]
        console().print(table(str(merge.path), ["source", "role", "relabel", "share", "steps"], rows))
        for remark in remarks:
            messages().print(f"note: {remark}")


@dataclass(frozen=True)
class Verify:
    """Check every hash, shape, range and value of a dataset, merge or run, and name what is wrong."""

    path: tyro.conf.Positional[Path]
    """Dataset (a folder or packed), merge file, run, checkpoint or, with --deep, anything that cog made."""
    repair: bool = False
    """Collect damaged shards of a collection again; damaged files are moved to damaged/, never deleted."""
    deep: bool = False
    """Recompute the whole chain above a dataset, run or result; your own reward functions are run."""

    def run(self) -> int:
        if self.deep:
            from cog.commands.provenance import verify_deep

            return verify_deep(self.path)
        problems = self._look()
        if problems and self.repair:
            self._repair()
            problems = self._look()
        console().print(f"{self.path}: {problems} problems" if problems else f"{self.path}: sound")
        return 1 if problems else 0

    def _look(self) -> int:
        """Print all problems and count them."""
        from cog.datasets.storage.verify import verify
        from cog.provenance.verify_run import is_run, verify_run

        for result in RESULTS:
            if self.path.name == result or (self.path / result).exists():
                raise UsageError(f"{self.path} is a result; check it, and all it was made from, with --deep")
        problems = verify_run(self.path) if is_run(self.path) else verify(self.path)
        for problem in problems:
            messages().print(str(problem), style="red")
        return len(problems)

    def _repair(self) -> None:
        from cog.datasets.storage.repair import repair

        with counting("collect again", "shard") as on_progress:
            done = repair(self.path, on_progress=on_progress)
        for path in done.mended:
            console().print(f"{path}: mended")
        for path in done.set_aside:
            console().print(f"{path}: the damaged file")


def _spread(facts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of named facts: a column for each name in facts that are dicts, two for (low, high)."""
    entries = {
        key: {"low": value[0], "high": value[1]} if isinstance(value, list) and len(value) == 2 else value
        for key, value in facts.items()
    }
    if all(isinstance(entry, dict) for entry in entries.values()):
        names = list(dict.fromkeys(name for entry in entries.values() for name in entry))
        return ["name", *names], [
            [key, *(str(entry.get(name, "")) for name in names)] for key, entry in entries.items()
        ]
    return ["name", "value"], [[key, str(entry)] for key, entry in entries.items()]


@dataclass(frozen=True)
class Info:
    """Print what a dataset holds."""

    path: tyro.conf.Positional[Path]
    """Dataset (a folder or packed) or merge file."""
    json: bool = False
    """Print JSON instead of a table."""
    film: Path | None = None
    """PNG to write, a row of frames for each of the chosen episodes of a dataset; none writes no film."""
    episodes: tuple[int, ...] = (0,)
    """Numbers of the episodes in the film."""

    def run(self) -> None:
        import json

        from cog.datasets.info import describe

        if self.film is not None:
            self._write_film(self.film)
        with counting("read", "episode") as on_progress:
            facts = describe(self.path, on_progress)
        if self.json:
            console().print_json(json.dumps(facts))
            return
        rows = [[name, str(value)] for name, value in facts.items() if not isinstance(value, dict | list)]
        console().print(table(str(self.path), ["fact", "value"], rows))
        for name, value in facts.items():
            if isinstance(value, dict):
                console().print(table(name, *_spread(value)))

    def _write_film(self, out: Path) -> None:
        from cog.core.videos import check_new_sheet, write_sheet
        from cog.datasets.info import film

        check_new_sheet(out)
        write_sheet(out, film(self.path, self.episodes))
        messages().print(f"{out}: film of episodes {', '.join(map(str, self.episodes))}")
