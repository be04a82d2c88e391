"""The command for studies; every study has its own options.

A new study is a dataclass in `cog.experiments.studies.config`, whose fields are its options and whose `run`
runs it, and one line of the table here.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import tyro

from cog.core.lazy import Entry
from cog.core.program import choose


class Runs(Protocol):
    """A study with its settings."""

    def run(self) -> None:
        """Run it and print what it found."""


def _entry(name: str, help: str, module: str = "config") -> Entry:
    return Entry(f"cog.experiments.studies.{module}", name, help)


STUDIES: Mapping[str, Entry] = {
    "stitching": _entry("StitchingConfig", "Show which methods join what two trajectories did."),
    "extrapolation": _entry(
        "ExtrapolationConfig",
        "Let agents learn from the data of others, and see how wrong their critics become.",
        "extrapolation.config",
    ),
    "meters": _entry("MetersConfig", "Draw the failure meters of a run."),
}
"""Every study, with the class of its settings."""


class Study:
    """Answer one question about methods with numbers and pictures.

    Each study has its own options and writes a report.
    """

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Runs:
        """The study that NAME, the first argument, and its options describe."""
        about = str(cls.__doc__).splitlines()[0]
        name, entry, options = choose(STUDIES, "study", "cog study NAME [OPTIONS]", about, arguments)
        study: Runs = tyro.cli(entry.load(), prog=f"cog study {name}", args=options)
        return study
