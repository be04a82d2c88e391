"""The command by which a policy leaves the toolkit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from cog.core.bounds import refuse_below
from cog.core.console import console
from cog.errors import CogError

if TYPE_CHECKING:
    import numpy as np

    from cog.evaluation.policy import Policy
    from cog.networks.history import History

SAME_ROBOT = "name data of the same robot with --data"


@dataclass(frozen=True)
class ExportPolicy:
    """Write a trained policy for a machine without this toolkit.

    It is compared with the original on recorded observations; FILE.json says what the robot must know.
    """

    checkpoint: tyro.conf.Positional[Path]
    """Run folder (its latest checkpoint), a checkpoint folder or a policy that `Policy.export` wrote."""
    out: Path
    """File to write, ending in .pt2 or .onnx; neither it nor FILE.json may exist."""
    format: Literal["torch", "onnx"] = "torch"
    """Whether PyTorch (`torch.export.load`) or ONNX Runtime is to run it."""
    acting: Literal["mode", "sample", "critic"] = "mode"
    """Its mode, a draw by an input `noise`, or the critics' choice among fixed draws and the mode."""
    candidates: int = 8
    """Draws among which the critics choose."""
    data: Path | None = None
    """Merge or dataset whose observations are compared. Default: the data of the run."""
    observations: int = 100
    """Number of observations to compare."""

    def __post_init__(self) -> None:
        """Refuse numbers below 1.

        Raises:
            UsageError: naming the field.
        """
        refuse_below(self, 1, "candidates", "observations")

    def run(self) -> None:
        from cog.evaluation.policy import Policy
        from cog.evaluation.portable import export_policy

        policy = Policy.load(self.checkpoint, critics=self.acting == "critic")
        images, poses = self._observed(policy.shape.history)
        self._check(policy, images or {}, poses.shape[1])
        done = export_policy(policy, self.out, self.format, images, poses, self.acting, self.candidates)
        screen = console()
        screen.print(f"{self.out} ({self.out.stat().st_size / 1e6:.2g} MB) and {self.out.name}.json")
        apart = f", {done.apart} chose another candidate" if done.apart else ""
        screen.print(
            f"{done.observations} recorded observations: largest difference {done.largest:.2g} of an "
            f"action's range{apart}"
        )
        screen.print(
            f"median time of an action, one thread: {done.original_ms:.2f} ms in cog, "
            f"{done.exported_ms:.2f} ms exported"
        )
        screen.print(str(policy.expects))
        if images is not None and policy.expects.known.colour == "bgr":
            screen.print("the file takes RGB: turn over the channels of the robot's own pictures")

    def _observed(self, history: "History | None") -> "tuple[dict[str, np.ndarray] | None, np.ndarray]":
        """Observations of the data that are given, or else of the run's own.

        Raises:
            CogError: the data cannot be read, or are neither given nor recorded.
        """
        from cog.evaluation.exported import is_exported
        from cog.evaluation.portable import recorded_observations
        from cog.training import checkpoint

        if self.data is not None:
            return recorded_observations(self.data, self.observations, history)
        found = None if is_exported(self.checkpoint) else checkpoint.load(self.checkpoint)
        own = [entry for entry in found.inputs if entry.kind in ("merge", "view")] if found else []
        if found is None or not own:
            raise CogError("does not record its data", where=self.checkpoint, remedy=SAME_ROBOT)
        try:
            data = (found.folder / own[0].path).resolve()
            return recorded_observations(data, self.observations, history)
        except CogError as error:
            raise CogError(
                f"its data cannot be read ({error})", where=found.folder, remedy=SAME_ROBOT
            ) from error

    def _check(self, policy: "Policy", images: "Mapping[str, np.ndarray]", pose: int) -> None:
        """Refuse observations of another shape.

        Raises:
            CogError: naming both.
        """
        sizes = {name: pictures.shape[1:] for name, pictures in images.items()}
        wanted = policy.shape.pictures()
        if not wanted.items() <= sizes.items() or bool(wanted) != bool(sizes) or pose != policy.shape.proprio:
            words = [
                " and ".join(
                    [f"images of '{name}' {'x'.join(map(str, size))}" for name, size in cameras.items()]
                    + [f"{numbers} numbers"]
                )
                for cameras, numbers in ((wanted, policy.shape.proprio), (sizes, pose))
            ]
            history = policy.shape.history
            several = "" if history is None else f" in {history.frames} frames at once"
            raise CogError(
                f"the policy sees {words[0]}{several}, but the data hold {words[1]}",
                where=self.data,
                remedy=SAME_ROBOT,
            )
