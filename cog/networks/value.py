"""The value function V(s) of algorithms that bootstrap from states instead of actions."""

from torch import Tensor, nn

from cog.networks.config import NetworkConfig
from cog.networks.precision import full_precision, widened
from cog.networks.trunk import trunk


class Value(nn.Module):
    """Features (B, F) -> V(s), (B,), with hidden layers as each critic has them."""

    def __init__(self, features: int, config: NetworkConfig) -> None:
        super().__init__()
        self.trunk, width = trunk(features, config.critic_widths, config.layer_norm)
        self.last = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.trunk(features)
        with full_precision(hidden):
            value: Tensor = self.last(widened(hidden))
        return value[:, 0]
