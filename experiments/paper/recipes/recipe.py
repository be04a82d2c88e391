"""A recipe: what one row of the paper's table collects, learns from and is tried on."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cog.datasets.collection.spec import CollectionSpec
from cog.errors import UsageError
from cog.evaluation.config import Acting
from cog.experiments.paper.recipes import numbers

Observation = Literal["image", "state"]
SEEDS_APART = 16  # collections of one seed, at most; the next seed's begin after them


@dataclass(frozen=True)
class Cell:
    """One column of the table: a start, and with which options of the environment."""

    start: str
    """Start of the episodes."""
    env_options: tuple[str, ...] = ()
    """Options of the environment, each as name=value."""
    extra: bool = False
    """Whether the paper has no such column: poses or objects beyond those of the training data."""

    @property
    def name(self) -> str:
        """The start, with the options if there are any."""
        return " ".join([self.start, *self.env_options])


@dataclass(frozen=True)
class Recipe:
    """One row."""

    name: str
    """Name of the row."""
    title: str
    """What the row asks of a policy, for people."""
    task: CollectionSpec
    """Task data: they show the new skill and are rewarded; seed and observation are set for each run."""
    priors: tuple[CollectionSpec, ...]
    """Prior data: they show something else and carry no reward."""
    sub_skill: str
    """Predicate that the last frame of a prior episode satisfies if what it shows was done well."""
    cells: tuple[Cell, ...]
    """What policies are tried on; the first is the row's own start, which the task data never hold."""
    horizon: int
    """Steps of an evaluation episode."""
    task_rule: str = "grasp_success"
    """Reward rule of the task data, and the predicate of a task episode that was done well."""
    reward: float = numbers.REWARD
    """Reward of the step on which the rule first holds."""
    prior_share: float = numbers.PRIOR_SHARE
    """Share of prior data in each batch of an arm that learns from both."""
    prior_only: str | None = None
    """Predicate that prior episodes must end in to be kept for every arm; none keeps all."""
    acting: Mapping[str, Acting] = field(default_factory=lambda: numbers.ACTING)
    """How the policies of each algorithm act in evaluation."""
    candidates: int = numbers.CANDIDATES
    """Draws among which critics choose, for those that act so."""
    settings: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"image": numbers.IMAGE, "state": numbers.STATE}
    )
    """Changes of the `cpu` preset for each kind of observation."""
    reference: Mapping[str, Any] = field(default_factory=lambda: numbers.REFERENCE)
    """Changes of the `paper` preset."""

    seeds_apart: int = SEEDS_APART
    """Distance between the first collection seeds of one seed and of the next; at least all collections."""

    def collections(
        self, seed: int, observation: Observation, scale: float = 1.0
    ) -> tuple[CollectionSpec, tuple[CollectionSpec, ...]]:
        """The task and prior collections of one seed, their sizes multiplied by `scale`.

        Raises:
            UsageError: more prior collections than seeds are kept apart for.
        """
        if len(self.priors) >= self.seeds_apart:
            most = self.seeds_apart - 1
            raise UsageError(f"recipe {self.name!r} has {len(self.priors)} priors; at most {most}")
        specs = [
            dataclasses.replace(
                spec,
                episodes=max(1, round(spec.episodes * scale)),
                observation=observation,
                seed=self.seeds_apart * seed + number,
            )
            for number, spec in enumerate((self.task, *self.priors))
        ]
        return specs[0], tuple(specs[1:])
