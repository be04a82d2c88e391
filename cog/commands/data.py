"""Commands on datasets: reward, merge, check and describe them."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cog.console import console, messages, table


@dataclass(frozen=True)
class Relabel:
    """Give a dataset rewards by a rule, as a small file beside its untouched shards."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    rule: str
    """A named predicate such as grasp_success, zero, or your own function as module:function."""
    name: str
    """Name of the view; it is written to relabels/NAME.json."""
    scale: float = 1.0
    """Reward of a step on which the rule holds."""
    terminate: bool = True
    """Whether the first rewarded step ends the episode, or rewards persist and nothing terminates."""
    only: str | None = None
    """Keep only episodes whose last frame satisfies this rule, such as drawer_opened; none keeps all."""

    def run(self) -> None:
        from cog.datasets.relabel import relabel

        view = relabel(
            self.dataset, self.rule, self.name, scale=self.scale, terminate=self.terminate, only=self.only
        )
        console().print(str(view), markup=False)


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
        if self.materialise is not None:
            merge = materialise(self.out, self.materialise)
        rows = [
            [source.name, source.role, source.view.name, f"{source.share:.3f}", str(source.view.steps)]
            for source in merge.sources
        ]
        console().print(table(str(merge.path), ["source", "role", "relabel", "share", "steps"], rows))


@dataclass(frozen=True)
class Verify:
    """Check every hash, shape, range and value of a dataset, merge or run, and name what is wrong."""

    path: tyro.conf.Positional[Path]
    """Dataset folder, merge file, folder of a run or of one of its checkpoints."""

    def run(self) -> int:
        from cog.datasets.verify import verify
        from cog.verify_run import is_run, verify_run

        problems = verify_run(self.path) if is_run(self.path) else verify(self.path)
        for problem in problems:
            messages().print(str(problem), style="red", markup=False)
        console().print(f"{self.path}: {len(problems)} problems" if problems else f"{self.path}: sound")
        return 1 if problems else 0


@dataclass(frozen=True)
class Info:
    """Print what a dataset holds."""

    path: tyro.conf.Positional[Path]
    """Dataset folder or merge file."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        import json

        from cog.datasets.info import describe

        facts = describe(self.path)
        if self.json:
            console().print_json(json.dumps(facts))
            return
        rows = [[name, str(value)] for name, value in facts.items() if not isinstance(value, dict | list)]
        console().print(table(str(self.path), ["fact", "value"], rows))
        for name, value in facts.items():
            if isinstance(value, dict):
                console().print(
                    table(name, ["name", "value"], [[key, str(entry)] for key, entry in value.items()])
                )
