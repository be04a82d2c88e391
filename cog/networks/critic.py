"""The critics: an ensemble of Q functions that score many actions per state.

Shapes: K critics, E encoders, B states, F features, H hidden units, A action dimensions, N actions a state.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cog.networks.config import NetworkConfig
from cog.networks.encoder import Encoder, Images, ObservationShape
from cog.networks.precision import full_precision, widened


class Critic(nn.Module):
    """K Q functions: one encoder for all or one each, heads evaluated together as stacked weights.

    The first layer is split, W[f; a] = Wf f + Wa a, so that features are multiplied once per state, no
    matter how many actions are scored there.
    """

    def __init__(self, shape: ObservationShape, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.ensemble = config.critics
        encoders = 1 if config.sharing == "shared" else self.ensemble
        self.encoders = nn.ModuleList(Encoder(shape, config) for _ in range(encoders))
        features = self.encoders[0].features
        assert isinstance(features, int)
        first, *others = config.critic_widths
        bound = config.critic_init
        self.norm = config.layer_norm
        # Two parameters rather than slices of one, whose gradients would each be padded to the full size.
        fan_in = features + actions
        self.of_state = StackedLinear(self.ensemble, features, first, bound or 1 / math.sqrt(fan_in))
        self.of_action = StackedLinear(
            self.ensemble, actions, first, bound or 1 / math.sqrt(fan_in), bias=False
        )
        self.hidden = nn.ModuleList(
            StackedLinear(self.ensemble, width_in, width_out, bound or 1 / math.sqrt(width_in))
            for width_in, width_out in itertools.pairwise((first, *others))
        )
        width = config.critic_widths[-1]
        self.last = StackedLinear(self.ensemble, width, 1, bound or 1 / math.sqrt(width))

    def encode(self, images: Images | None, proprio: Tensor | None) -> Tensor:
        """Features (E, B, F) of each state."""
        return torch.stack([encoder(images, proprio) for encoder in self.encoders])

    def project(self, features: Tensor) -> Tensor:
        """The states' part of the first layer, (K, B, H), from features (E, B, F)."""
        projected: Tensor = self.of_state(features)
        return projected

    def q(self, states: Tensor, actions: Tensor, first: int | None = None) -> Tensor:
        """Q of actions (B, N, A) -> (K, B, N) at projected states (K, B, H).

        With `first`, of that many critics alone, the first ones: K is then their number.
        """
        batch, number, dimensions = actions.shape
        count = self.ensemble if first is None else first
        hidden = self.of_action(actions.reshape(1, batch * number, dimensions), first)
        hidden = hidden.view(count, batch, number, -1) + states[:count, :, None]
        hidden = self._activate(hidden.view(count, batch * number, -1))
        for layer in self.hidden:
            hidden = self._activate(layer(hidden, first))
        with full_precision(hidden):
            q: Tensor = self.last(widened(hidden), first)
        return q.view(count, batch, number)

    def _activate(self, hidden: Tensor) -> Tensor:
        """Normalise, if configured, and apply the ReLU."""
        if not self.norm:
            return F.relu(hidden)
        # Without gain and offset, which the neighbouring layers can express: this saves two passes over
        # memory.
        return F.relu_(F.layer_norm(hidden, hidden.shape[-1:]))


class StackedLinear(nn.Module):
    """One linear layer per critic, evaluated together: (K, B, I), or a shared (1, B, I), -> (K, B, O)."""

    def __init__(self, ensemble: int, width_in: int, width_out: int, bound: float, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(ensemble, width_in, width_out).uniform_(-bound, bound))
        self.bias = (
            nn.Parameter(torch.empty(ensemble, 1, width_out).uniform_(-bound, bound)) if bias else None
        )

    def forward(self, rows: Tensor, first: int | None = None) -> Tensor:
        """The layers of all critics, or of the `first` ones."""
        weight = self.weight if first is None else self.weight[:first]
        rows = rows.expand(len(weight), -1, -1)
        if self.bias is None:
            return torch.bmm(rows, weight)
        return torch.baddbmm(self.bias if first is None else self.bias[:first], rows, weight)
