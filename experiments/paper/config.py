"""Every setting of `cog reproduce`; only light modules are imported, so that the command line starts fast."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below, refuse_seed
from cog.core.configs import APART
from cog.errors import UsageError

Row = Literal["closed", "blocked_drawer", "blocked_object", "pick_place"]
ArmName = Literal[
    "cog",
    "cql_task_only",
    "bc_task_only",
    "bc_all",
    "bc_oracle",
    "sac",
    "ddpg",
    "td3",
    "q_cem",
    "bcq",
    "bear",
    "brac_v",
    "brac_p",
    "td3_bc",
    "cql_eq1",
    "cql_eq2",
    "cql_rho",
    "cql_plain",
    "iql",
    "idql",
    "fql",
    "mopo",
    "morel",
    "idql_smooth",
    "idql_wide",
    "rise",
    "cog_expert",
    "cog_reference",
]
Ablation = Literal["amount", "prior_share", "prior_success", "behaviours", "cameras", "history", "hold"]
ROWS: tuple[Row, ...] = ("closed", "blocked_drawer", "blocked_object", "pick_place")
USUAL_ARMS: tuple[ArmName, ...] = ("cog", "cql_task_only", "bc_task_only", "bc_all", "bc_oracle", "sac")
ABLATION_ROWS: tuple[Row, ...] = ("closed",)
ABLATION_ARMS: tuple[ArmName, ...] = ("cog", "bc_all")
SEED_BITS = 28  # collections use sixteen times the seed, and some more


@dataclass(frozen=True)
class ReproduceConfig:
    """Repeat the paper's experiments: collect, train, evaluate, and set the results beside its own."""

    rows: tuple[Row, ...] = ()
    """Rows of the paper's table; none means all, for an ablation `closed`."""
    arms: tuple[ArmName, ...] = ()
    """Arms; none means those of the paper's table, for an ablation cog and bc_all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; each has its own data, initial weights and evaluation episodes, shared by all arms."""
    observation: Literal["image", "state"] = "image"
    """What policies see: images and the arm's pose, or the simulator's state."""
    scale: float = 1.0
    """Factor on the number of episodes of all data."""
    updates: int | None = None
    """Gradient updates of every arm; none leaves those of the recipe."""
    episodes: int = 100
    """Evaluation episodes from each start, the same ones for every arm."""
    terminate_on_success: bool = True
    """Whether success ends an evaluation episode; otherwise it runs to the horizon and may be undone."""
    extra_cells: bool = True
    """Whether policies are also tried on shifted starts and other objects, which the paper did not try."""
    ablation: Ablation | None = None
    """Vary one thing about a row, such as its prior data or its cameras, instead of comparing all arms."""
    out: Path = field(default=Path("runs/reproduce"), metadata=APART)
    """Folder of all data, runs and results; what is finished in it is not done again."""
    workers: int = field(default=0, metadata=APART)
    """Processes side by side; their number does not change the results. Default: one per core."""
    dask: str | None = field(default=None, metadata=APART)
    """Address of a Dask scheduler whose workers do the jobs. Default: processes on this machine."""
    dashboard: bool = field(default=False, metadata=APART)
    """Whether to serve Dask's dashboard on this machine while jobs run."""
    device: str = "cpu"
    """Where training computes: "cpu", "cuda" or "cuda:1"."""
    mix_code: bool = field(default=False, metadata=APART)
    """Use jobs that were finished by other code of the package, too, which is otherwise refused."""
    plan: bool = field(default=False, metadata=APART)
    """Print what would be done and how long it should take, and stop."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "updates", "episodes")
        refuse_below(self, 0, "workers")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"scale is {self.scale}; it must be finite and positive")
        if not self.seeds:
            raise UsageError("seeds are empty; name at least one")
        for seed in self.seeds:
            refuse_seed(seed, SEED_BITS)
        for name in ("rows", "arms", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise UsageError(f"{name} are {values}; name each once")

    @property
    def chosen_rows(self) -> tuple[Row, ...]:
        """The rows asked for."""
        return self.rows or (ROWS if self.ablation is None else ABLATION_ROWS)

    @property
    def chosen_arms(self) -> tuple[ArmName, ...]:
        """The arms asked for."""
        return self.arms or (USUAL_ARMS if self.ablation is None else ABLATION_ARMS)
