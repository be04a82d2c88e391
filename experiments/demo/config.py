"""Every setting of the demo; only light modules are imported, so that the command line starts fast."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from cog.core.bounds import refuse_below, refuse_outside, refuse_seed
from cog.core.configs import APART
from cog.errors import UsageError

QUICK = {"task_episodes": 12, "prior_episodes": 16, "updates": 30, "episodes": 4}
"""Sizes of a smoke test, whose numbers mean nothing."""
SEED_BITS = 31  # the collections use twice the seed, and one more


@dataclass(frozen=True)
class DemoConfig:
    """The whole chain: collect, relabel, merge, train four arms, evaluate, report."""

    out: Path = field(default=Path("runs/demo"), metadata=APART)
    """Folder of the demo; the same command continues one that was interrupted there."""
    seed: int = 0
    """Seed from which the seeds of data, training and evaluation follow."""
    quick: bool = False
    """Run everything in under a minute, as a smoke test whose numbers mean nothing."""
    task_episodes: int = 2000
    """Episodes of task data: grasps from open starts, rewarded."""
    prior_episodes: int = 1500
    """Episodes of prior data: clumsy openings and wandering from closed starts, without reward."""
    noise: float = 0.1
    """Standard deviation of the noise on every action of the data."""
    aim_error: float = 0.015
    """Standard deviation (m) of the first aim of grasps, so that the data hold recoveries."""
    wander: float = 0.1
    """Share of prior episodes that wander to no purpose."""
    version: Literal[0, 1] = 0
    """Version of the scene; in 1 actions do what they say, and what is held stays where it is."""
    wrist: bool = False
    """Whether data and policies have the camera at the wrist as well."""
    hold: bool = False
    """Whether task data hold the object for 6 steps before a reward, and success counts at the last step."""
    reward: float = 10.0
    """Reward of the step on which the grasp succeeds, or has lasted."""
    task_share: float = 0.5
    """Share of task data in each batch of the arms that learn from both."""
    updates: int = 7_000
    """Gradient updates of each arm."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Arithmetic of training; "auto" tries which is the faster one on this processor, and keeps to it."""
    episodes: int = 100
    """Evaluation episodes from each start, the same ones for every arm."""
    workers: int = field(default=0, metadata=APART)
    """Processes side by side; their number does not change the results. Default: one per core."""
    dask: str | None = field(default=None, metadata=APART)
    """Address of a Dask scheduler whose workers do the jobs. Default: processes on this machine."""
    dashboard: bool = field(default=False, metadata=APART)
    """Whether to serve Dask's dashboard on this machine while jobs run."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_below(self, 1, "task_episodes", "prior_episodes", "updates", "episodes")
        refuse_below(self, 0, "workers", "noise", "aim_error")
        refuse_outside(self, "(0, 1)", "wander", "task_share")
        refuse_outside(self, "(0, inf)", "reward")
        refuse_seed(self.seed, SEED_BITS)
        if self.quick:
            defaults = {item.name: item.default for item in fields(self)}
            for name, value in QUICK.items():
                if getattr(self, name) not in (value, defaults[name]):
                    raise UsageError(f"quick sets {name} to {value}; leave out one of the two")

    def sized(self) -> "DemoConfig":
        """The demo as it is run, with the small sizes if it is a quick one."""
        return replace(self, **QUICK) if self.quick else self  # type: ignore[arg-type]
