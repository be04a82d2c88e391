"""Commands that make new datasets of old ones, carry them around, and show what training will see."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cog.core.console import console, counting, messages, table

if TYPE_CHECKING:
    from cog.datasets.storage.dataset import Dataset


@dataclass(frozen=True)
class Filter:
    """Copy the episodes that satisfy everything asked for into a new dataset; the source stays as it is."""

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
    """Draw a dataset's episodes, whole and each once, into new datasets; the source stays as it is."""

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
    """Put a whole dataset, views included, into one file that every command takes in its place."""

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
    """Write the files of a packed dataset into a new folder, byte for byte."""

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
    """Show what the first batch of a training run holds, source by source."""

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
        from cog.algorithms import algorithm
        from cog.core.videos import check_new_sheet, write_sheet
        from cog.errors import CogError
        from cog.replay.preview import preview

        if self.film is not None:
            check_new_sheet(self.film)
        messages().print(f"reading {self.data}")
        found = preview(self.data, self.batch, self.seed, algorithm("cql").Config().returns(), self.sampling)
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
