"""Every setting of the studies; only light modules are imported, so that the command line starts fast.

Each class is one study: its fields are the options of `cog study NAME`, and `run` runs it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from cog.core.bounds import refuse_out_of_bounds, within
from cog.core.configs import APART


@dataclass(frozen=True)
class StitchingConfig:
    """Show which methods join what two trajectories did.

    Trajectories lead from A to B and from B to C, never from A to C, on tables where every value is exact.
    """

    out: Path = field(default=Path("runs/stitching"), metadata=APART)
    """Folder of the results, pictures and report; files of an earlier run are replaced."""
    first: int = within("[1, inf)", 7)
    """Copies of the trajectory from A through B to a dead end."""
    second: int = within("[1, inf)", 3)
    """Copies of the trajectory from E through B to C, where the reward is."""
    discount: float = within("(0, 1)", 0.9)
    """Discount per step."""
    quick: bool = False
    """Draw smaller pictures; the numbers are the same."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_out_of_bounds(self)

    def run(self) -> None:
        """Run the study.

        Raises:
            CogError: a package of the extra `report` is missing, or the folder cannot be written.
        """
        from cog.experiments.studies.stitching import run_stitching

        run_stitching(self)


@dataclass(frozen=True)
class MetersConfig:
    """Draw the failure meters of a run.

    One picture: values against returns, distance and likelihood of its actions, size of Q, a model's error.
    """

    run_folder: tyro.conf.Positional[Path]
    """Folder of a run that was trained with --meter-every."""
    out: Path = Path("meters.png")
    """PNG to write."""

    def run(self) -> None:
        """Draw them and print the last values.

        Raises:
            CogError: the run has no meters, its files cannot be read, or matplotlib is not installed.
        """
        from cog.experiments.studies.meters import run_meters

        run_meters(self)
