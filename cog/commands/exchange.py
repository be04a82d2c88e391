"""Commands by which data travel: import what other packages wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cog.core.console import console, progress
from cog.errors import UsageError

if TYPE_CHECKING:
    from cog.datasets.importers.run import Bounds
    from cog.datasets.importers.source import Choice, Source

Kind = Literal["robomimic", "d4rl", "minari", "lerobot"]


@dataclass(frozen=True)
class Import:
    """Turn data of another package into a dataset; the source is only read."""

    kind: tyro.conf.Positional[Kind]
    """Format of the source: robomimic HDF5, D4RL-style flat HDF5, Minari (HDF5), LeRobot folder v3."""
    source: tyro.conf.Positional[Path]
    """File or folder to import."""
    out: Path
    """Folder of the dataset to write; new or empty."""
    image: str | None = None
    """Key of the images; "none" takes none, no key the only ones there are."""
    proprio: tuple[str, ...] = ()
    """Keys of the vectors, joined in this order: the pose beside images, or the state; "none" takes none."""
    success: str | None = None
    """What tells success: reward>NUMBER, or the key of an array that is positive at success."""
    last_frame: Literal["next", "drop", "repeat"] = "next"
    """After the last action: the source's next observation, or drop that action, or repeat the last frame."""
    mask: str | None = None
    """Name of a subset of the episodes, in robomimic files."""
    episode_steps: int | None = None
    """Steps of a full episode, for flat files that do not mark time limits."""
    action_bounds: Literal["unit", "measured"] = "unit"
    """Whether actions lie in [-1, 1] already, or are scaled from the bounds measured over all of them."""
    action_low: tuple[float, ...] = ()
    """Lower bounds of the source's actions, one for each component or one for all; they become -1."""
    action_high: tuple[float, ...] = ()
    """Upper bounds of the source's actions, one for each component or one for all; they become 1."""
    image_size: int = 48
    """Height and width to which images are stretched, in pixels; 0 keeps theirs."""
    colour: Literal["rgb", "bgr"] = "rgb"
    """Order of the colours in the source's images."""
    episodes_per_shard: int = 50
    """Episodes in one shard, the unit of loss."""

    def run(self) -> None:
        from cog.datasets.importers.run import run_import
        from cog.datasets.importers.source import Choice

        if self.episode_steps is not None and self.episode_steps < 1:
            raise UsageError(f"--episode-steps must be at least 1, got {self.episode_steps}")
        choice = Choice(
            image=self.image,
            proprio=self.proprio,
            success=self.success,
            last_frame=self.last_frame,
            mask=self.mask,
            episode_steps=self.episode_steps,
        )
        source = self._open(choice)
        with progress("import", len(source), "episode") as advance:
            done = run_import(
                source,
                self.out,
                self.kind,
                choice,
                bounds=self._bounds(source),
                image_size=self.image_size or None,
                colour=self.colour,
                episodes_per_shard=self.episodes_per_shard,
                on_progress=lambda episodes: advance(episodes, ""),
            )
        for note in done.notes:
            console().print(f"note: {note}")
        dataset = done.dataset
        console().print(
            f"{self.out}: {dataset.episode_count} episodes, {dataset.step_count} steps, "
            f"{dataset.success_count} successes",
        )

    def _open(self, choice: "Choice") -> "Source":
        """The source, by its format."""
        if self.kind == "robomimic":
            from cog.datasets.importers.robomimic import RobomimicSource

            return RobomimicSource(self.source, choice)
        if self.kind == "d4rl":
            from cog.datasets.importers.d4rl import D4RLSource

            return D4RLSource(self.source, choice)
        if self.kind == "minari":
            from cog.datasets.importers.minari import MinariSource

            return MinariSource(self.source, choice)
        from cog.datasets.importers.lerobot import LeRobotSource

        return LeRobotSource(self.source, choice)

    def _bounds(self, source: "Source") -> "Bounds":
        """Bounds of the source's actions, as given."""
        from cog.datasets.action_scale import ActionScale

        if not self.action_low and not self.action_high:
            return self.action_bounds
        if self.action_bounds == "measured":
            raise UsageError("give --action-low and --action-high, or measure the bounds; not both")
        parts = source.actions(0).shape[-1]
        low, high = (
            bounds * parts if len(bounds) == 1 else bounds for bounds in (self.action_low, self.action_high)
        )
        return ActionScale(low, high)
