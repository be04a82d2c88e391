"""Every setting of the study of extrapolation; only light modules are imported."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from cog.core.bounds import refuse_out_of_bounds, within
from cog.core.configs import APART
from cog.errors import UsageError

Experiment = Literal["final", "concurrent", "imitation"]
EXPERIMENTS: tuple[Experiment, ...] = get_args(Experiment)
METHODS = ("td3", "bcq", "bear", "brac", "td3_bc", "iql", "cql")
SEED_LIMIT = 1_000_000  # larger numbers seed the agents that do not act


@dataclass(frozen=True)
class ExtrapolationConfig:
    """Let agents learn from the data of others, and see how wrong their critics become.

    The three experiments of Fujimoto, Meger and Precup, "Off-Policy Deep Reinforcement Learning without
    Exploration" (2019), section 3.1, and other methods on the same three buffers.
    """

    task: str = "Pendulum-v1"
    """Gymnasium's name of the task, such as Hopper-v5, which needs the extra `mujoco` and far more steps."""
    experiments: tuple[Experiment, ...] = field(default=EXPERIMENTS, metadata=APART)
    """Which of the three experiments."""
    methods: tuple[str, ...] = field(default=METHODS, metadata=APART)
    """Algorithms that learn from the same buffers besides offline DDPG, by their --algorithm names."""
    seeds: tuple[int, ...] = within("[0, 1000000)", (0, 1, 2, 3, 4), APART)
    """Seeds; each has its own online agents, buffers and offline agents."""
    steps: int = within("[1, inf)", 15_000)
    """Steps in the environment of each online agent, all of which its buffer keeps, and of the expert."""
    updates: int = within("[1, inf)", 15_000)
    """Updates of each agent that learns from a finished buffer."""
    random_steps: int = within("[0, inf)", 1000)
    """First online steps, with uniformly random actions and without learning."""
    final_noise: float = within("[0, inf)", 0.5)
    """Exploration noise of the online agent of "final", its standard deviation for actions in [-1, 1]."""
    concurrent_noise: float = within("[0, inf)", 0.1)
    """Exploration noise of the online agent of "concurrent"."""
    widths: tuple[int, ...] = within("[1, inf)", (256, 256))
    """Hidden layers of all actors and critics."""
    batch_size: int = within("[1, inf)", 100)
    """Transitions in a batch."""
    lr: float = within("(0, inf)", 1e-3)
    """Adam's step size for DDPG, online and offline; other methods keep their own."""
    discount: float = within("(0, 1)", 0.99)
    """Discount per step, of all methods."""
    evaluate_every: int = within("[1, inf)", 1000)
    """Steps or updates between two evaluations."""
    evaluations: int = within("[1, inf)", 10)
    """Episodes of an evaluation, without noise, from the same starts for all agents."""
    out: Path = field(default=Path("runs/extrapolation"), metadata=APART)
    """Folder of all results; what is finished in it is not done again."""
    processes: int = within("[0, inf)", 0, APART)
    """Jobs side by side; their number does not change the results. Default: one per core."""
    quick: bool = field(default=False, metadata=APART)
    """Run two seeds with a fifth of the steps and updates and few other methods, to see it work."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        refuse_out_of_bounds(self)
        for name in ("experiments", "seeds"):
            if not getattr(self, name):
                raise UsageError(f"{name} are empty; name at least one")
        for name in ("experiments", "methods", "seeds"):
            values: Sequence[object] = getattr(self, name)
            if len(set(values)) != len(values):
                raise UsageError(f"{name} are {values}; name each once")
        if "ddpg" in self.methods:
            raise UsageError("methods hold ddpg, which is always run; leave it out")
        if self.random_steps >= self.steps:
            raise UsageError(
                f"random_steps is {self.random_steps} of {self.steps} steps in all: nothing would be learned",
                remedy="lower random_steps, or raise steps",
            )
        if self.evaluate_every > min(self.steps, self.updates):
            raise UsageError(
                f"evaluate_every is {self.evaluate_every}, more than the {self.steps} steps or the "
                f"{self.updates} updates: nothing would be evaluated",
                remedy="lower evaluate_every",
            )

    def chosen(self) -> "ExtrapolationConfig":
        """The settings that are run: these, or with `quick` a smaller study."""
        if not self.quick:
            return self
        return dataclasses.replace(
            self,
            quick=False,
            seeds=self.seeds[:2],
            methods=tuple(name for name in self.methods if name in ("td3_bc", "bcq")),
            steps=max(self.steps // 5, self.random_steps + 1, self.evaluate_every),
            updates=max(self.updates // 5, self.evaluate_every),
        )

    def run(self) -> None:
        """Run the study and print what it found.

        Raises:
            UsageError: the task or a method does not exist or does not fit.
            CogError: a package of an extra is missing, or the folder holds results of other settings.
        """
        from cog.experiments.studies.extrapolation.run import run_extrapolation

        run_extrapolation(self)
