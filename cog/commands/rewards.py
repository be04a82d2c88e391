"""Commands that reward data: by a rule, or by a classifier that learns what success looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cog.classifier.config import ClassifierConfig
from cog.core.console import console, messages, progress, table


@dataclass(frozen=True)
class Relabel:
    """Give a dataset rewards by a rule; its shards do not change.

    The rewards are a view, a small file in the dataset's folder.
    """

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    rule: str
    """grasp_success, zero, "object_height > 0.1 for 3 steps", module:function."""
    name: str
    """Name of the view; it is written to relabels/NAME.json."""
    scale: float = 1.0
    """Reward of a step on which the rule holds."""
    terminate: bool = True
    """Whether the first rewarded step ends the episode, or only the environment does."""
    only: str | None = None
    """Keep only episodes whose last frame satisfies this rule, such as drawer_opened. Default: all."""
    out: Path | None = None
    """Folder for the view instead of a dataset's that cannot be written; it is used as OUT@NAME."""

    def run(self) -> None:
        from cog.datasets.relabel.view import relabel
        from cog.datasets.storage.dataset import open_dataset

        view = relabel(
            self.dataset,
            self.rule,
            self.name,
            scale=self.scale,
            terminate=self.terminate,
            only=self.only,
            out=self.out,
        )
        console().print(str(view))
        if self.out is not None:
            console().print(f"it lies in the folder {self.out}; use it as {self.out}@{self.name}")
        for remark in view.remarks(open_dataset(self.dataset).step_count):
            messages().print(f"note: {remark}")

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "Relabel":
        """The relabelling that these options ask for; a rule may begin with a minus sign."""
        joined: list[str] = []
        for argument in arguments:
            if joined and joined[-1] in ("--rule", "--only") and _negative(argument):
                joined[-1] += f"={argument}"
            else:
                joined.append(argument)
        return tyro.cli(cls, prog="cog relabel", args=joined)


def _negative(argument: str) -> bool:
    """Whether an argument is a rule such as -distance, not an option."""
    return argument.startswith("-") and not argument.startswith("--") and argument != "-h"


@dataclass(frozen=True)
class Classify:
    """Train a success classifier, to reward data without signals.

    It learns from labelled frames and is then used as the rule classifier:FOLDER.
    """

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
