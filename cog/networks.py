"""The networks: an image encoder, a tanh-Gaussian actor, and twin critics that score many actions per state.

Shapes: B states, E encoders, F features, A action dimensions, N actions per state.
"""

import itertools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cog.config import NetworkConfig
from cog.distribution import TanhGaussian
from cog.errors import CogError

CRITICS = 2
SMALLEST_IMAGE = 4  # pixels that either kind of convolutions leaves something of
LOG_STD_RANGE = (-5.0, 2.0)  # the reference's bounds


class ObservationShape(NamedTuple):
    """What the policy sees: image (height, width, channels) or none, and the length of the pose vector."""

    image: tuple[int, int, int] | None
    proprio: int


class Encoder(nn.Module):
    """Images (B, C, H, W) as uint8, or floats in [0, 1], and pose (B, P) -> features (B, F).

    Without images the features are the standardised pose itself.
    """

    proprio_mean: Tensor
    proprio_scale: Tensor

    def __init__(self, shape: ObservationShape, config: NetworkConfig) -> None:
        super().__init__()
        self.uses_proprio = config.use_proprio or shape.image is None
        self.register_buffer("proprio_mean", torch.zeros(shape.proprio))
        self.register_buffer("proprio_scale", torch.ones(shape.proprio))
        self.convolutions: nn.Module | None = None
        self.bottleneck: nn.Module | None = None
        self.embedding: nn.Module | None = None
        self.features = 0
        if shape.image is not None:
            height, width, channels = shape.image
            if min(height, width) < SMALLEST_IMAGE:
                raise CogError(
                    f"the images are {height}x{width} pixels; the network needs at least "
                    f"{SMALLEST_IMAGE}x{SMALLEST_IMAGE}: collect or import larger ones"
                )
            self.convolutions = _convolutions(config.encoder, channels)
            self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            with torch.no_grad():
                self.features = self.convolutions(torch.zeros(1, channels, height, width)).numel()
            if config.bottleneck:
                self.bottleneck = _squash(self.features, config.bottleneck)
                self.features = config.bottleneck
        if self.uses_proprio:
            if shape.proprio == 0:
                raise CogError("the data hold neither images nor a pose to learn from")
            if shape.image is not None and config.proprio_features:
                self.embedding = _squash(shape.proprio, config.proprio_features)
                self.features += config.proprio_features
            else:
                self.features += shape.proprio

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Set the pose's mean and standard deviation, (P,) each, as the data have them."""
        self.proprio_mean.copy_(mean)
        self.proprio_scale.copy_(scale)

    def forward(self, images: Tensor | None, proprio: Tensor | None) -> Tensor:
        parts = []
        if self.convolutions is not None:
            if images is None:
                raise CogError("this network was built for images; none were given")
            parts.append(self.convolutions(_centred(images, self.proprio_mean.dtype)).flatten(1))
            if self.bottleneck is not None:
                parts[0] = self.bottleneck(parts[0])
        if self.uses_proprio:
            if proprio is None:
                raise CogError("this network was built for the arm's pose; none was given")
            pose = (proprio - self.proprio_mean) / self.proprio_scale
            parts.append(pose if self.embedding is None else self.embedding(pose))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class Actor(nn.Module):
    """Features (B, F) -> the policy at those states."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        widths = (features, *config.actor_widths)
        layers: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(widths):
            layers.append(nn.Linear(width_in, width_out))
            if config.layer_norm:
                layers.append(nn.LayerNorm(width_out))
            layers.append(nn.ReLU())
        self.trunk = nn.Sequential(*layers)
        moves = actions - config.switches
        self.mean = nn.Linear(widths[-1], moves)
        self.log_std = nn.Linear(widths[-1], moves)
        self.odds = nn.Linear(widths[-1], config.switches) if config.switches else None
        for head in (self.mean, self.log_std, *([self.odds] if self.odds is not None else ())):
            nn.init.uniform_(head.weight, -1e-3, 1e-3)
            nn.init.zeros_(head.bias)

    def forward(self, features: Tensor) -> TanhGaussian:
        hidden = self.trunk(features)
        with full_precision(hidden):
            hidden = widened(hidden)
            mean, log_std = self.mean(hidden), self.log_std(hidden)
            odds = None if self.odds is None else self.odds(hidden)
        return TanhGaussian(mean, log_std.clamp(*LOG_STD_RANGE), odds)


class Critic(nn.Module):
    """Twin Q functions: one encoder for both or one each, heads evaluated together as stacked weights.

    The first layer is split, W[f; a] = Wf f + Wa a, so that features are multiplied once per state however
    many actions are scored there.
    """

    def __init__(self, shape: ObservationShape, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        encoders = 1 if config.sharing == "shared" else CRITICS
        self.encoders = nn.ModuleList(Encoder(shape, config) for _ in range(encoders))
        features = self.encoders[0].features
        assert isinstance(features, int)
        first, *others = config.critic_widths
        bound = config.critic_init
        self.norm = config.layer_norm
        # Two parameters rather than slices of one, whose gradients would each be padded to the full size.
        fan_in = features + actions
        self.of_state = StackedLinear(features, first, bound or 1 / math.sqrt(fan_in))
        self.of_action = StackedLinear(actions, first, bound or 1 / math.sqrt(fan_in), bias=False)
        self.hidden = nn.ModuleList(
            StackedLinear(width_in, width_out, bound or 1 / math.sqrt(width_in))
            for width_in, width_out in itertools.pairwise((first, *others))
        )
        width = config.critic_widths[-1]
        self.last = StackedLinear(width, 1, bound or 1 / math.sqrt(width))

    def encode(self, images: Tensor | None, proprio: Tensor | None) -> Tensor:
        """Features (E, B, F) of each state."""
        return torch.stack([encoder(images, proprio) for encoder in self.encoders])

    def project(self, features: Tensor) -> Tensor:
        """The states' part of the first layer, (2, B, H), from features (E, B, F)."""
        projected: Tensor = self.of_state(features)
        return projected

    def q(self, states: Tensor, actions: Tensor) -> Tensor:
        """Q of actions (B, N, A) -> (2, B, N) at projected states (2, B, H)."""
        batch, number, dimensions = actions.shape
        hidden = self.of_action(actions.reshape(1, batch * number, dimensions))
        hidden = hidden.view(CRITICS, batch, number, -1) + states[:, :, None]
        hidden = self._activate(hidden.view(CRITICS, batch * number, -1))
        for layer in self.hidden:
            hidden = self._activate(layer(hidden))
        with full_precision(hidden):
            q: Tensor = self.last(widened(hidden))
        return q.view(CRITICS, batch, number)

    def _activate(self, hidden: Tensor) -> Tensor:
        """Normalise, if so built, and apply the ReLU."""
        if not self.norm:
            return F.relu(hidden)
        # No gain and offset, which the layers on both sides can express: two passes over memory less.
        return F.relu_(F.layer_norm(hidden, hidden.shape[-1:]))


class StackedLinear(nn.Module):
    """The critics' linear layers side by side: (2, B, I), or (1, B, I) for both, -> (2, B, O)."""

    def __init__(self, width_in: int, width_out: int, bound: float, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(CRITICS, width_in, width_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(CRITICS, 1, width_out).uniform_(-bound, bound)) if bias else None

    def forward(self, rows: Tensor) -> Tensor:
        rows = rows.expand(CRITICS, -1, -1)
        if self.bias is None:
            return torch.bmm(rows, self.weight)
        return torch.baddbmm(self.bias, rows, self.weight)


class PolicyNetwork(nn.Module):
    """What acts: an encoder and an actor, and nothing that only training needs."""

    def __init__(self, shape: ObservationShape, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.encoder = Encoder(shape, config)
        self.actor = Actor(self.encoder.features, actions, config)

    def forward(self, images: Tensor | None, proprio: Tensor | None) -> TanhGaussian:
        policy: TanhGaussian = self.actor(self.encoder(images, proprio))
        return policy


def full_precision(tensor: Tensor) -> torch.autocast:
    """Turn reduced precision off for a network's last layer: Q values and densities need their mantissa."""
    return torch.autocast(tensor.device.type, enabled=False)


def widened(tensor: Tensor) -> Tensor:
    """bfloat16 as float32; anything else as it is."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _convolutions(kind: str, channels: int) -> nn.Sequential:
    """48x48 images end as 16x12x12, by overlapping patches ("patch") or as in the reference ("paper")."""
    if kind == "patch":
        return nn.Sequential(
            nn.Conv2d(channels, 32, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 16, 3, padding=1),
            nn.ReLU(),
        )
    layers = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
    )
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return layers


def _squash(width_in: int, width_out: int) -> nn.Sequential:
    """A linear layer whose output is normalised and bounded."""
    return nn.Sequential(nn.Linear(width_in, width_out), nn.LayerNorm(width_out), nn.Tanh())


def _centred(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes or [0, 1] floats as floats in [-0.5, 0.5]."""
    if images.dtype == torch.uint8:
        return images.to(dtype).mul_(1 / 255).sub_(0.5)
    return images - 0.5
