"""Commands that exchange data with other packages; every format has its own options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro

from cog.commands.deploy import ExportPolicy
from cog.core.console import console, counting, progress
from cog.core.lazy import Entry
from cog.core.program import choose
from cog.datasets import exporters, importers
from cog.datasets.exporters.run import ExportOptions, export
from cog.datasets.importers.detect import describe, is_path
from cog.datasets.importers.run import ImportConfig, run_import
from cog.datasets.importers.source import ImportOptions
from cog.datasets.merge import open_merge

POLICY = Entry(
    "cog.commands.deploy", "ExportPolicy", "A trained policy for a robot, for PyTorch alone or ONNX Runtime."
)
In = TypeVar("In", bound=ImportOptions)
Out = TypeVar("Out", bound=ExportOptions)


@dataclass(frozen=True)
class Import(Generic[In]):
    """Turn data of another package into a dataset.

    The source does not change.
    """

    source: tyro.conf.Positional[Path]
    """File or folder to import."""
    out: Path
    """Folder of the dataset to write; new or empty."""
    options: Annotated[In, tyro.conf.arg(name="")]
    """What to take."""
    config: Annotated[ImportConfig, tyro.conf.arg(name="")]
    """How it is written."""

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Import[ImportOptions]:
        """The import that FORMAT, the first argument, and its options describe.

        Raises:
            UsageError: there is no such format; for a file or folder instead, it says which one that has.
        """
        if arguments and arguments[0] not in importers.FORMATS and is_path(arguments[0]):
            raise describe(Path(arguments[0]))
        usage = "cog import FORMAT SOURCE --out FOLDER [OPTIONS]"
        name, entry, options = choose(importers.FORMATS, "format", usage, _first_line(cls), arguments)
        command: Import[ImportOptions] = tyro.cli(
            cls[entry.load()],  # type: ignore[index]
            prog=f"cog import {name}",
            args=options,
        )
        return command

    def run(self) -> None:
        with counting("import", "episode") as on_progress:
            done = run_import(self.source, self.out, self.options, self.config, on_progress)
        for note in done.notes:
            console().print(f"note: {note}")
        dataset = done.dataset
        console().print(
            f"{self.out}: {dataset.episode_count} episodes, {dataset.step_count} steps, "
            f"{dataset.success_count} successes"
        )


@dataclass(frozen=True)
class Export(Generic[Out]):
    """Write a dataset or a merge in the format of another tool.

    The source does not change.
    """

    source: tyro.conf.Positional[Path]
    """Dataset as FOLDER@VIEW, or a merge."""
    out: Path
    """File or folder to write; it must not exist."""
    options: Annotated[Out, tyro.conf.arg(name="")]
    """How it is written."""

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Export[ExportOptions] | ExportPolicy:
        """The export that FORMAT, the first argument, and its options describe."""
        usage = "cog export FORMAT SOURCE --out PATH [OPTIONS]"
        formats = {**exporters.FORMATS, "policy": POLICY}
        about = f"{_first_line(cls)[:-1]}, or a policy for a robot."
        name, entry, options = choose(formats, "format", usage, about, arguments)
        if name == "policy":
            policy: ExportPolicy = tyro.cli(entry.load(), prog="cog export policy", args=options)
            return policy
        command: Export[ExportOptions] = tyro.cli(
            cls[entry.load()],  # type: ignore[index]
            prog=f"cog export {name}",
            args=options,
        )
        return command

    def run(self) -> None:
        merge = open_merge(self.source)
        total = sum(source.episodes for source in merge.sources)
        with progress(f"export {self.options.format}", total, "episode") as advance:
            result = export(self.options, merge, self.out, advance)
        for note in result.notes:
            console().print(f"note: {note}")
        console().print(str(result))


def _first_line(command: type) -> str:
    return str(command.__doc__).splitlines()[0]
