"""Commands on datasets: merge, check, describe, filter, split and pack them, and preview batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from cog.core.console import console, counting, messages, table
from cog.datasets.edit.config import FilterConfig
from cog.errors import CogError, UsageError
from cog.signals.success import SuccessBy

if TYPE_CHECKING:
    from cog.datasets.storage.dataset import Dataset

RESULTS = ("evaluation.json", "summary.json", "results.json")  # of evaluations, demos, reproductions


@dataclass(frozen=True)
class Merge:
    """Join task and prior datasets into one training set.

    Nothing is copied unless --materialise names a folder.
    """

    out: Path
    """Merge file to write (JSON)."""
    task: tuple[str, ...]
    """Task sources as FOLDER@RELABEL."""
    prior: tuple[str, ...] = ()
    """Prior sources as FOLDER@RELABEL."""
    task_share: float | None = None
    """Share of each batch from task sources; the rest is from prior sources. Default: 0.5, or 1 without them.

    Within a role, sources share in proportion to their steps."""
    camera: tuple[str, ...] = ()
    """Names of cameras in the merge as OLD=NEW, for every source that has OLD; NEW none leaves it out."""
    materialise: Path | None = None
    """Folder for a full copy with the rewards in its shards. Default: not written."""

    def run(self) -> None:
        from cog.datasets.materialise import materialise
        from cog.datasets.merge import write_merge
        from cog.datasets.storage.cameras import parse_renaming

        merge = write_merge(self.out, self.task, self.prior, self.task_share, parse_renaming(self.camera))
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
    """Check a dataset, merge or run, and name what is wrong.

    It checks every hash, shape, range and value.
    """

    path: tyro.conf.Positional[Path]
    """Dataset (a folder or packed), merge file, run, checkpoint or, with --deep, anything that cog wrote."""
    repair: bool = False
    """Whether to collect damaged shards again; damaged files are moved to damaged/, never deleted."""
    deep: bool = False
    """Whether to recompute the whole chain behind a dataset, run or result, running your reward functions."""

    def run(self) -> int:
        if self.deep:
            from cog.commands.provenance import verify_deep

            return verify_deep(self.path)
        problems = self._count_problems()
        if problems and self.repair:
            self._repair()
            problems = self._count_problems()
        console().print(
            f"{self.path}: {problems} problem{'s' * (problems > 1)}" if problems else f"{self.path}: sound"
        )
        return 1 if problems else 0

    def _count_problems(self) -> int:
        """Print all problems and count them."""
        from cog.datasets.storage.verify import verify
        from cog.provenance.verify_run import is_run, verify_run

        for result in RESULTS:
            if self.path.name == result or (self.path / result).exists():
                raise UsageError(
                    "is a result", where=self.path, remedy="check it, and all it was made from, with --deep"
                )
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
    """Whether to print JSON instead of a table."""
    success_by: SuccessBy | None = None
    """Whether episodes count as successes by any frame or by the last. Default: as the dataset counts."""
    film: Path | None = None
    """PNG to write, with a row of frames for each chosen episode of a dataset. Default: not written."""
    episodes: tuple[int, ...] = (0,)
    """Numbers of the episodes to show."""

    def run(self) -> None:
        import json

        from cog.datasets.info import describe

        if self.film is not None:
            self._write_film(self.film)
        with counting("read", "episode") as on_progress:
            facts = describe(self.path, on_progress, self.success_by)
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
        write_sheet(out, film(self.path, self.episodes), new=True)
        messages().print(f"{out}: film of episodes {', '.join(map(str, self.episodes))}")


@dataclass(frozen=True)
class Filter:
    """Copy the episodes that satisfy conditions into a new dataset.

    An episode must satisfy all of them; the source does not change.
    """

    dataset: tyro.conf.Positional[Path]
    """Dataset, a folder or packed."""
    out: Path
    """Folder of the new dataset."""
    config: Annotated[FilterConfig, tyro.conf.arg(name="")]
    """The conditions."""

    def run(self) -> None:
        from cog.datasets.edit.filter import filter_dataset

        with counting("filter", "episode") as on_progress:
            dataset = filter_dataset(self.dataset, self.out, self.config, on_progress)
        _report(dataset)


@dataclass(frozen=True)
class Split:
    """Distribute the episodes of a dataset over several new datasets.

    Each whole episode goes to one of them; the source does not change.
    """

    dataset: tyro.conf.Positional[Path]
    """Dataset, a folder or packed."""
    out: tuple[Path, ...]
    """Folders of the new datasets."""
    shares: tuple[float, ...] = (0.9, 0.1)
    """Share of the episodes for each folder; the shares add up to 1."""
    seed: int = 0
    """Seed of the assignment."""

    def run(self) -> None:
        from cog.datasets.edit.split import split_dataset

        with counting("split", "episode") as on_progress:
            datasets = split_dataset(self.dataset, self.out, self.shares, self.seed, on_progress)
        for dataset in datasets:
            _report(dataset)


@dataclass(frozen=True)
class Pack:
    """Put a whole dataset, views included, into one file.

    Every command accepts the file in place of the folder.
    """

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    out: Path
    """File to write, a zip archive."""

    def run(self) -> None:
        from cog.datasets.storage.packed import pack_dataset

        with counting("pack", "file") as on_progress:
            dataset = pack_dataset(self.dataset, self.out, on_progress)
        _report(dataset)


@dataclass(frozen=True)
class Unpack:
    """Write the files of a packed dataset into a new folder.

    They are identical, byte for byte.
    """

    packed: tyro.conf.Positional[Path]
    """File that cog pack wrote."""
    out: Path
    """Folder of the dataset."""

    def run(self) -> None:
        from cog.datasets.storage.packed import unpack_dataset

        with counting("unpack", "file") as on_progress:
            dataset = unpack_dataset(self.packed, self.out, on_progress)
        _report(dataset)


@dataclass(frozen=True)
class Sample:
    """Show the content of the first batch of a training run.

    Each source of the data has a column.
    """

    data: tyro.conf.Positional[Path]
    """Merge file, or a dataset as FOLDER@RELABEL."""
    batch: int = 128
    """Transitions in the batch."""
    seed: int = 0
    """Seed of the run whose first batch is drawn."""
    sampling: Literal["balanced", "uniform"] = "balanced"
    """Whether the batch follows the shares of the merge, or transitions are drawn uniformly."""
    film: Path | None = None
    """PNG to write, with some observations from each source. Default: not written."""

    def run(self) -> None:
        from cog.algorithms import algorithm
        from cog.core.videos import check_new_sheet, write_sheet
        from cog.replay.preview import preview

        if self.film is not None:
            check_new_sheet(self.film)
        messages().print(f"reading {self.data}")
        returns = algorithm("cql").Config().returns()
        found = preview(self.data, self.batch, self.seed, returns, self.sampling)
        header = ["", *found.facts]
        rows = [
            [fact, *(_text(facts[fact]) for facts in found.facts.values())]
            for fact in next(iter(found.facts.values()))
        ]
        console().print(table(f"a batch of {self.batch} from {self.data}", header, rows))
        if self.film is not None:
            if not found.pictures:
                raise CogError("has states but no images, so there is no film to write", where=self.data)
            write_sheet(self.film, found.pictures, new=True)


def _report(dataset: "Dataset") -> None:
    console().print(
        f"{dataset.path}: {dataset.episode_count} episodes, {dataset.step_count} steps, "
        f"{dataset.success_count} successes, hash {dataset.hash[:12]}",
    )


def _text(value: object) -> str:
    """A value as the text of a cell; named counts have a line each."""
    if isinstance(value, dict):
        return "\n".join(f"{name} {count}" for name, count in value.items()) or "-"
    return str(value)
