"""The command that learns what success looks like."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cog.classifier.config import ClassifierConfig
from cog.core.console import console, messages, progress, table


@dataclass(frozen=True)
class Classify:
    """Train a success classifier on labelled frames, to reward data without signals: classifier:FOLDER."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of datasets that show the task."""
    config: Annotated[ClassifierConfig, tyro.conf.arg(name="")]
    """The classifier."""

    def run(self) -> None:
        from cog.classifier.fit import classify

        with progress("classify", self.config.updates, "update") as advance:
            verdicts = classify(self.sources, self.config, advance, lambda text: messages().print(text))
        rows = [verdict.row for verdict in verdicts]
        title = "held-out episodes, Wilson 95% interval"
        console().print(table(title, ["decision on", "precision", "recall"], rows))
        console().print(
            f"reward data with: cog relabel DATASET --rule classifier:{self.config.out} --name NAME"
        )
