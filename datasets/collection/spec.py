"""A collection spec: everything that determines the episodes of a dataset, including all random numbers.

Episode i of a collection draws its start and behaviour from (seed, i), and attempt k at it depends only on
(seed, i, k). So a shard is a pure function of the spec and its number, on any machine, in any order.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cog.core.bounds import refuse_below, refuse_seed
from cog.core.configs import take_types
from cog.core.files import hash_json
from cog.core.options import read_pairs
from cog.errors import UsageError

if TYPE_CHECKING:
    from cog.envs.make import Scene

Keep = Literal["all", "success", "failure"]
_PLAN_STREAM = 1  # separates the plan's draws from the seeds of attempts


@dataclass(frozen=True)
class BehaviourChoice:
    """One entry of a behaviour mix."""

    name: str
    """Name of the behaviour."""
    weight: float = 1.0
    """Relative frequency with which episodes draw it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the behaviour, recorded with every episode."""


@dataclass(frozen=True)
class Plan:
    """Start and behaviour of one episode, before any attempt at it."""

    start: str
    """Distribution of initial states."""
    behaviour: BehaviourChoice
    """Policy that acts."""


@dataclass(frozen=True)
class CollectionSpec:
    """A collection: environment, mix of starts and behaviours, noise, size and seed."""

    episodes: int
    """Number of episodes."""
    behaviours: tuple[BehaviourChoice, ...] = (BehaviourChoice("grasp"),)
    """Mix of behaviours; each episode draws one by weight."""
    starts: tuple[str, ...] = ("open",)
    """Starts; each episode draws one uniformly."""
    env: str = "cog/DrawerGrasp-v0"
    """Gymnasium id of the environment."""
    observation: Literal["image", "state"] = "image"
    """What is recorded: images and the arm's pose, or the simulator's state."""
    image_size: int = 48
    """Height and width of the images in pixels."""
    env_options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the environment, such as its objects or randomisations."""
    max_episode_steps: int = 50
    """Steps after which an episode is cut off."""
    terminate_on_success: bool = True
    """Whether success ends an episode."""
    noise: float = 0.1
    """Standard deviation of the Gaussian noise added to every component of every action."""
    keep: Keep = "all"
    """Which episodes are kept: all, those that end in success, or those that never succeed."""
    seed: int = 0
    """Seed of the whole collection."""
    episodes_per_shard: int = 50
    """Episodes in one shard, the unit of work and of possible loss."""

    def __post_init__(self) -> None:
        """Refuse what cannot be collected.

        Raises:
            UsageError: a value is out of range.
        """
        take_types(self)
        refuse_below(self, 1, "episodes", "image_size", "max_episode_steps", "episodes_per_shard")
        refuse_seed(self.seed)
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise UsageError(f"noise must be finite and not negative, got {self.noise}")
        if not self.starts or not self.behaviours:
            raise UsageError("a collection needs at least one start and one behaviour")
        weights = [choice.weight for choice in self.behaviours]
        if not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise UsageError(f"behaviour weights must be finite and positive, got {weights}")

    def scene(self) -> "Scene":
        """The environment that the episodes are collected in."""
        from cog.envs.make import Scene

        image = (self.image_size, self.image_size, 3) if self.observation == "image" else None
        options = tuple(self.env_options.items())
        return Scene(self.env, image, self.max_episode_steps, options, self.terminate_on_success)

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values, from which `from_json` rebuilds it."""
        value = dataclasses.asdict(self)
        value["starts"] = list(self.starts)
        value["behaviours"] = [dataclasses.asdict(choice) for choice in self.behaviours]
        if not self.env_options:
            del value["env_options"]  # so that collections without options keep their hash
        return value

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "CollectionSpec":
        """Rebuild a spec.

        Raises:
            UsageError: fields are missing, unknown or out of range.
        """
        try:
            fields = dict(value)
            fields["starts"] = tuple(fields["starts"])
            fields["behaviours"] = tuple(BehaviourChoice(**choice) for choice in fields["behaviours"])
            return CollectionSpec(**fields)
        except (KeyError, TypeError) as error:
            raise UsageError(f"not a collection spec that this version can read: {error}") from error

    def hash(self) -> str:
        """Identity of the spec."""
        return hash_json(self.to_json())

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return -(-self.episodes // self.episodes_per_shard)

    def shard_episodes(self, shard: int) -> range:
        """Numbers of the episodes in a shard."""
        first = shard * self.episodes_per_shard
        return range(first, min(first + self.episodes_per_shard, self.episodes))

    def plan(self, episode: int) -> Plan:
        """Start and behaviour of an episode; all attempts share them, so `keep` does not change the mix."""
        entropy = np.random.SeedSequence([self.seed, episode], spawn_key=(_PLAN_STREAM,))
        rng = np.random.default_rng(entropy)
        start = self.starts[int(rng.integers(len(self.starts)))]
        weights = np.array([choice.weight for choice in self.behaviours])
        return Plan(start, self.behaviours[int(rng.choice(len(weights), p=weights / weights.sum()))])

    def episode_seed(self, episode: int, attempt: int) -> int:
        """The recorded seed that determines one attempt at an episode."""
        sequence = np.random.SeedSequence([self.seed, episode, attempt])
        return int(sequence.generate_state(1)[0])


def parse_behaviour(text: str) -> BehaviourChoice:
    """Read `NAME`, `NAME=WEIGHT` or `NAME=WEIGHT:option=value,...`; values are JSON or plain text.

    Raises:
        UsageError: the text has another form.
    """
    head, _, tail = text.partition(":")
    name, equals, weight = head.partition("=")
    try:
        options = read_pairs(list(filter(None, tail.split(","))))
        if not name:
            raise ValueError(text)
        return BehaviourChoice(name, float(weight) if equals else 1.0, options)
    except ValueError as error:
        form = "NAME, NAME=WEIGHT or NAME=WEIGHT:option=value,..."
        raise UsageError(f"behaviour {text!r} cannot be read", remedy=f"write {form}") from error
