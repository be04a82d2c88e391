"""The command that hands data on to other tools."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cog.core.console import console, progress
from cog.datasets.exporters import Kind


@dataclass(frozen=True)
class Export:
    """Write a dataset under a view, or a merge, in the format of another tool; the source stays as it is."""

    kind: tyro.conf.Positional[Kind]
    """Format."""
    source: tyro.conf.Positional[Path]
    """Dataset as FOLDER@VIEW, or a merge."""
    out: Path
    """File (robomimic, d3rlpy) or folder (minari, lerobot) to write; it must not exist."""
    valid_share: float = 0.0
    """robomimic only: share of the episodes under the filter key valid, others under train; 0 for neither."""
    seed: int = 0
    """robomimic only: seed of the draw of that share."""
    name: str | None = None
    """minari only: id of the dataset, with which the path must end; none takes the folder's name."""
    observation: str | None = None
    """d3rlpy only: the one observation to write, such as image; none writes all, two as a tuple."""
    fps: int | None = None
    """lerobot only, and needed there: steps in a second."""

    def run(self) -> None:
        from cog.datasets.exporters.run import ExportOptions, export
        from cog.datasets.merge import open_merge

        options = ExportOptions(self.valid_share, self.seed, self.name, self.observation, self.fps)
        merge = open_merge(self.source)
        total = sum(source.episodes for source in merge.sources)
        with progress(f"export {self.kind}", total, "episode") as advance:
            result = export(self.kind, merge, self.out, options, advance)
        console().print(str(result))
