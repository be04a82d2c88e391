"""Commands on datasets: merge, check, describe, filter, split and pack them, and preview batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from cog.core.console import console, counting, messages, table
from cog.errors import CogError, UsageError

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
    """Check a dataset, merge or run, and name what is wrong.

    Every hash, shape, range and value is checked.
    """

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


@dataclass(frozen=True)
class Filter:
    """Copy the episodes that satisfy conditions into a new dataset.

    An episode must satisfy all of them; the source stays as it is.
    """

    dataset: tyro.conf.Positional[Path]
    """Dataset, a folder or packed."""
    out: Path
    """Folder of the new dataset."""
    ends_in: tuple[str, ...] = ()
    """Rules that all hold at the last frame, such as grasp_success or your own module:function."""
    reaches: tuple[str, ...] = ()
    """Rules that each hold after some step."""
    behaviour: tuple[str, ...] = ()
    """Behaviours, one of which acted."""
    start: tuple[str, ...] = ()
    """Starts, one of which the episode began at."""
    success: Literal["any", "true", "false"] = "any"
    """Whether the environment called the last frame a success."""
    min_length: int | None = None
    """Fewest steps."""
    max_length: int | None = None
    """Most steps."""

    def run(self) -> None:
        from cog.datasets.edit.filter import Filter as Wanted
        from cog.datasets.edit.filter import filter_dataset

        wanted = Wanted(
            ends_in=self.ends_in,
            reaches=self.reaches,
            behaviours=self.behaviour,
            starts=self.start,
            success=None if self.success == "any" else self.success == "true",
            min_length=self.min_length,
            max_length=self.max_length,
        )
        with counting("filter", "episode") as on_progress:
            dataset = filter_dataset(self.dataset, self.out, wanted, on_progress)
        _tell(dataset)


@dataclass(frozen=True)
class Split:
    """Draw the episodes of a dataset into several new datasets.

    Episodes stay whole, each is drawn once, and the source stays as it is.
    """

    dataset: tyro.conf.Positional[Path]
    """Dataset, a folder or packed."""
    out: tuple[Path, ...]
    """Folders of the new datasets."""
    shares: tuple[float, ...] = (0.9, 0.1)
    """Share of the episodes for each folder; they add up to 1."""
    seed: int = 0
    """Seed of the draw."""

    def run(self) -> None:
        from cog.datasets.edit.split import split_dataset

        with counting("split", "episode") as on_progress:
            datasets = split_dataset(self.dataset, self.out, self.shares, self.seed, on_progress)
        for dataset in datasets:
            _tell(dataset)


@dataclass(frozen=True)
class Pack:
    """Put a whole dataset, views included, into one file.

    Every command takes the file in place of the folder.
    """

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    out: Path
    """File to write, a zip archive."""

    def run(self) -> None:
        from cog.datasets.storage.packed import pack_dataset

        with counting("pack", "file") as on_progress:
            dataset = pack_dataset(self.dataset, self.out, on_progress)
        _tell(dataset)


@dataclass(frozen=True)
class Unpack:
    """Write the files of a packed dataset into a new folder.

    They are the same byte for byte.
    """

    packed: tyro.conf.Positional[Path]
    """File that cog pack wrote."""
    out: Path
    """Folder of the dataset."""

    def run(self) -> None:
        from cog.datasets.storage.packed import unpack_dataset

        with counting("unpack", "file") as on_progress:
            dataset = unpack_dataset(self.packed, self.out, on_progress)
        _tell(dataset)


@dataclass(frozen=True)
class Sample:
    """Show what the first batch of a training run holds.

    Each source of the data has a column.
    """

    data: tyro.conf.Positional[Path]
    """Merge file, or a dataset as FOLDER@RELABEL."""
    batch: int = 128
    """Transitions in the batch."""
    seed: int = 0
    """Seed of the run whose first batch is drawn."""
    sampling: Literal["balanced", "uniform"] = "balanced"
    """Whether sources have their shares of the batch, or all transitions are drawn alike."""
    film: Path | None = None
    """PNG to write, with some observations of each source; none writes no film."""

    def run(self) -> None:
        from cog.core.videos import check_new_sheet, write_sheet
        from cog.replay.preview import preview

        if self.film is not None:
            check_new_sheet(self.film)
        messages().print(f"reading {self.data}")
        found = preview(self.data, self.batch, self.seed, self.sampling)
        header = ["", *found.facts]
        rows = [
            [fact, *(_text(facts[fact]) for facts in found.facts.values())]
            for fact in next(iter(found.facts.values()))
        ]
        console().print(table(f"a batch of {self.batch} from {self.data}", header, rows))
        if self.film is not None:
            if not found.pictures:
                raise CogError(f"{self.data}: holds states and no images, so there is no film to write")
            write_sheet(self.film, found.pictures)


def _tell(dataset: "Dataset") -> None:
    console().print(
        f"{dataset.path}: {dataset.episode_count} episodes, {dataset.step_count} steps, "
        f"{dataset.success_count} successes, hash {dataset.hash[:12]}",
    )


def _text(value: object) -> str:
    """A value for a cell; counts by name stand below each other."""
    if isinstance(value, dict):
        return "\n".join(f"{name} {count}" for name, count in value.items()) or "-"
    return str(value)
