"""What all algorithms' configurations have in common, and what an algorithm reads of a run's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from cog.algorithms import algorithm
from cog.core.bounds import refuse_out_of_bounds
from cog.core.configs import Named, take_types
from cog.networks.config import NetworkConfig


class Returns(NamedTuple):
    """How rewards become the returns that an algorithm learns from."""

    discount: float = 0.0
    """Discount per step."""
    steps: int = 1
    """Steps of reward in a transition before the bootstrap.

    Over these steps the return is that of the data's own behaviour, uncorrected for the policy's: a bias that
    the papers' one-step targets do not have, accepted because rewards are far away.
    """


@dataclass(frozen=True)
class AlgorithmConfig(Named):
    """Hyper-parameters of one algorithm; each subclass names its algorithm and declares its fields."""

    def __post_init__(self) -> None:
        """Refuse settings out of their bounds.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        take_types(self, f"{self.name}.")
        refuse_out_of_bounds(self, f"{self.name}.")

    @classmethod
    def kind(cls, name: str) -> "type[AlgorithmConfig]":
        """The configuration of the algorithm called `name`.

        Raises:
            UsageError: there is none.
        """
        return algorithm(name).Config

    def returns(self) -> Returns:
        """Discount and steps of the transitions; an algorithm without critics looks at neither."""
        return Returns()

    def preparation(self) -> int:
        """First updates that fit something else, such as a model, before the policy begins to learn."""
        return 0

    def online(self, weights: Mapping[str, Any]) -> "AlgorithmConfig":
        """The configuration for fine-tuning online; `weights` change the fields of these names, if any."""
        return self


class Settings(Protocol):
    """What an algorithm reads of a run's settings (`cog.training.config.TrainConfig` has them all)."""

    @property
    def algorithm(self) -> AlgorithmConfig:
        """Its hyper-parameters."""

    @property
    def network(self) -> NetworkConfig:
        """Encoder, critics and actor."""

    @property
    def seed(self) -> int:
        """Seed of batches and sampled actions."""

    @property
    def updates(self) -> int:
        """Number of updates, over which a schedule runs."""

    @property
    def shift(self) -> int:
        """Largest random shift of an image in pixels."""

    @property
    def schedule(self) -> Any:
        """Whether step sizes are "constant" or follow a "cosine"."""

    @property
    def clip_gradient(self) -> float:
        """Largest norm of a gradient step; 0 is no clipping."""

    @property
    def average_decay(self) -> float:
        """Decay of the running average of policy weights."""

    @property
    def precision(self) -> Any:
        """Arithmetic of matrix products and convolutions."""

    @property
    def compiled(self) -> bool:
        """Whether gradients go through torch.compile."""

    @property
    def graphed(self) -> bool:
        """Whether the update is captured as one CUDA graph."""

    @property
    def device(self) -> str:
        """Where the run computes."""
