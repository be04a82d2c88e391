"""A policy that draws several actions and takes the one that its critics score highest.

Shapes: B states, N draws per state, D numbers that pick a draw, A action dimensions, K critics.
"""

import torch
from torch import Tensor, nn

from cog.networks.actor import PolicyNetwork
from cog.networks.critic import Critic
from cog.networks.distribution import ActionDistribution
from cog.networks.encoder import Encoder, Images


class BestOf(PolicyNetwork):
    """An actor with critics: in evaluation, the best of N draws, which are the same for every state.

    That the draws are fixed makes evaluation, resume and export exact; N of them cover the distribution.
    """

    noise: Tensor

    def __init__(
        self, encoder: Encoder | None, actor: nn.Module, critic: Critic, draws: int, noise_dimensions: int
    ) -> None:
        """`actor` maps features to a distribution; without `encoder` it sees the critics' first encoder."""
        nn.Module.__init__(self)
        self.own_encoder = encoder
        self.actor = actor
        self.critic = critic
        self.noise_dimensions = noise_dimensions
        fixed = torch.randn(draws, noise_dimensions, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", fixed.to(next(critic.parameters()).device))

    @property
    def uses_proprio(self) -> bool:
        """Whether it looks at poses."""
        first = self.critic.encoders[0]
        assert isinstance(first, Encoder)
        return first.uses_proprio

    def forward(self, images: Images | None, proprio: Tensor | None) -> "Best":
        encoded = self.critic.encode(images, proprio)
        features = encoded[0] if self.own_encoder is None else self.own_encoder(images, proprio)
        return Best(self.actor(features), self.critic, self.critic.project(encoded), self.noise)


class Best:
    """The policy at B states: the best of N draws of `policy`, by the lowest of the critics."""

    def __init__(self, policy: ActionDistribution, critic: Critic, states: Tensor, noise: Tensor) -> None:
        self.policy, self.critic, self.states, self.noise = policy, critic, states, noise

    def mode(self) -> Tensor:
        """argmax over the N draws of min_k Q_k(s, a), (B, A)."""
        states = self.states.shape[1]
        actions = self.policy.drawn(self.noise.expand(states, -1, -1))
        best = self.critic.q(self.states, actions).amin(0).argmax(1)
        return actions[torch.arange(states, device=best.device), best]

    def drawn(self, noise: Tensor) -> Tensor:
        """The draws (B, n, A) that `noise` (B, n, D) picks, whatever the critics think of them."""
        return self.policy.drawn(noise)
