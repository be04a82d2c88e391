"""The settings of the networks."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of encoder, critics and actor."""

    encoder: Literal["patch", "paper"] = "patch"
    """Convolutions: "patch" strides over patches, cheap on a CPU; "paper" is the reference's."""
    sharing: Literal["shared", "separate"] = "shared"
    """Whether one encoder, trained by the critics, serves all, or each critic and the actor has its own."""
    bottleneck: int = 128
    """Width of the tanh layer that ends the encoder; 0 leaves the convolutions' output as it is."""
    use_proprio: bool = True
    """Whether the arm's own pose is an input beside the image; without images it always is."""
    proprio_features: int = 64
    """Width of the pose's embedding beside the image features; 0 passes the standardised pose on as it is."""
    critic_widths: tuple[int, ...] = (256, 256)
    """Hidden layers of each critic."""
    actor_widths: tuple[int, ...] = (256, 256)
    """Hidden layers of the actor."""
    layer_norm: bool = True
    """Whether each hidden layer of critics and actor is normalised before its ReLU."""
    critic_init: float = 0.0
    """Bound of the critics' initial uniform weights; 0 keeps PyTorch's fan-in rule."""
    switches: int = 0
    """How many of the last components of an action only switch, as gripper and neutral do; 0 or more."""
    action_limit: float = 0.999
    """Recorded actions are pulled inside this bound before atanh, where a saturated action is infinite."""
