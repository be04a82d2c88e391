"""What the settings of model-based algorithms have in common."""

from dataclasses import dataclass

from cog.algorithms.shared.config import AlgorithmConfig, Returns
from cog.core.bounds import refuse_out_of_bounds, within
from cog.core.configs import take_types
from cog.errors import UsageError


@dataclass(frozen=True)
class ModelBasedConfig(AlgorithmConfig):
    """Settings of a model, of rollouts in it, and of the soft actor-critic that learns from them."""

    model_updates: int = within("[1, inf)", 3000)
    """First updates of a run, in which the model alone learns; the policy learns in those after them."""
    members: int = within("[1, inf)", 4)
    """Models in the ensemble."""
    model_widths: tuple[int, ...] = within("[1, inf)", (200, 200))
    """Hidden layers of each model."""
    model_lr: float = within("[0, inf)", 1e-3)
    """Adam's step size for the model."""
    rollout_steps: int = within("[1, inf)", 3)
    """Steps of the policy in the model from each state of a batch (h)."""
    real_share: float = within("[0, 1]", 0.5)
    """Share of recorded transitions, as against imagined ones, in the losses of critics and actor."""
    discount: float = within("(0, 1)", 0.97)
    """Discount of the return per step."""
    target_rate: float = within("(0, 1]", 0.01)
    """Share of the critics that moves into the target critics at each update (tau)."""
    critic_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for critics."""
    actor_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the actor."""
    temperature_lr: float = within("[0, inf)", 3e-4)
    """Adam's step size for the entropy temperature."""
    initial_temperature: float = within("(0, inf)", 0.05)
    """Entropy temperature at the start."""
    target_entropy: float | None = within("(-inf, inf)", None)
    """Entropy in nats that the temperature aims at. Default: minus the number of components that move."""

    def __post_init__(self) -> None:
        """Refuse settings out of their bounds.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        take_types(self, f"{self.name}.")
        refuse_out_of_bounds(self, f"{self.name}.")
        if not self.model_widths:
            raise UsageError("models need at least one hidden layer", where=f"{self.name}.model_widths")

    def returns(self) -> Returns:
        """Discount of the one-step transitions, which are what a model predicts."""
        return Returns(self.discount)

    def preparation(self) -> int:
        """Updates that fit the model."""
        return self.model_updates
