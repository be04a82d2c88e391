"""Settings of the networks."""

from dataclasses import dataclass
from typing import Literal

from cog.core.bounds import refuse_out_of_bounds, within
from cog.core.configs import take_types
from cog.errors import UsageError
from cog.networks.history import HistoryOf


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of encoder, critics and actor."""

    encoder: Literal["patch", "paper", "strided", "resnet18"] = "patch"
    """Convolutions: cheap "patch", the reference's "paper", "strided" for large images, or "resnet18"."""
    cameras: tuple[str, ...] = ()
    """Names of the cameras that the policy sees, in this order. Default: all of the data's."""
    camera_encoders: Literal["each", "shared"] = "each"
    """Whether each camera has convolutions of its own, or all share one set."""
    history: int = within("[1, inf)", 1)
    """Frames that policy and critics see at once: the current one and those before it in its episode."""
    history_of: HistoryOf = "both"
    """What they see of the frames before: pictures ("frames"), poses and the actions between, or both."""
    sharing: Literal["shared", "separate"] = "shared"
    """Whether all share one encoder, trained by the critics, or each critic and the actor has its own."""
    critics: int = within("[1, inf)", 2)
    """Number of Q functions in the ensemble; the targets of most algorithms take the lowest of them."""
    bottleneck: int = within("[0, inf)", 128)
    """Width of the tanh layer that ends the encoder; 0 omits this layer."""
    use_proprio: bool = True
    """Whether the arm's own pose is an input in addition to the image; without images it always is."""
    proprio_features: int = within("[0, inf)", 64)
    """Width of the pose's embedding; 0 uses the standardised pose directly."""
    critic_widths: tuple[int, ...] = within("[1, inf)", (256, 256))
    """Hidden layers of each critic."""
    actor_widths: tuple[int, ...] = within("[1, inf)", (256, 256))
    """Hidden layers of the actor."""
    layer_norm: bool = True
    """Whether each hidden layer of critics and actor is normalised before its ReLU."""
    critic_init: float = within("[0, inf)", 0.0)
    """Bound of the critics' initial uniform weights; 0 uses PyTorch's fan-in rule."""
    switches: int = within("[0, inf)", 0)
    """Number of last action components that are switches (-1 or 1), as gripper and neutral are."""
    action_limit: float = within("(0, 1)", 0.999)
    """Recorded actions are clamped to this bound before atanh, which is infinite for a saturated action."""

    def __post_init__(self) -> None:
        """Refuse settings out of their bounds.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        take_types(self, "network.")
        refuse_out_of_bounds(self, "network.")
        if not self.critic_widths:
            raise UsageError("critics need at least one hidden layer", where="network.critic_widths")
