"""The cross-entropy method: the best action by a critic, found without an actor.

Kalashnikov et al., "QT-Opt: Scalable Deep Reinforcement Learning for Vision-Based Robotic Manipulation"
(2018): actions are drawn from a Gaussian, which is fitted to the best of them, and drawn again.

Shapes: K critics, B states, H hidden units, I iterations, N samples, A action dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cog.networks.actor import PolicyNetwork
from cog.networks.critic import Critic
from cog.networks.distribution import Deterministic, snap_switches
from cog.networks.encoder import Encoder, Images


class Search(NamedTuple):
    """How far the cross-entropy method looks."""

    samples: int
    """N: actions per iteration."""
    elites: int
    """The best of them, to which the Gaussian is fitted."""
    iterations: int
    """I: times that actions are drawn."""
    switches: int = 0
    """Last action components that are -1 or 1."""


@torch.no_grad()
def best_action(critic: Critic, states: Tensor, noise: Tensor, search: Search) -> tuple[Tensor, Tensor]:
    """argmax_a Q_1(s, a) over all samples of all iterations, (B, A), and its Q_1, (B,).

    `states` are projected, (K, B, H); standard normal `noise` (B, I, N, A) determines the samples. The first
    Gaussian has mean 0 and standard deviation 1, each next one those of the elites (dividing by their
    number). Samples are pulled into the box [-1, 1], and switches set to -1 or 1, before they are scored.
    """
    mean = torch.zeros_like(noise[:, 0, :1])  # (B, 1, A)
    std = torch.ones_like(mean)
    best, best_q = mean[:, 0], torch.full_like(mean[:, 0, 0], -torch.inf)
    for normal in noise.unbind(1):
        actions = snap_switches((mean + std * normal).clamp(-1, 1), search.switches)  # (B, N, A)
        q, index = critic.q(states, actions, first=1)[0].topk(search.elites)  # best first
        elites = actions.gather(1, index[..., None].expand(-1, -1, actions.shape[-1]))
        better = q[:, 0] > best_q
        best = torch.where(better[:, None], elites[:, 0], best)
        best_q = torch.where(better, q[:, 0], best_q)
        mean, std = elites.mean(1, keepdim=True), elites.std(1, correction=0, keepdim=True)
    return best, best_q


class CrossEntropyPolicy(PolicyNetwork):
    """A policy without an actor: it takes the action that the cross-entropy method finds by its critic.

    The numbers that determine the samples are fixed and the same at every state, so that evaluation, resume
    and export are exact.
    """

    noise: Tensor

    def __init__(self, critic: Critic, actions: int, search: Search) -> None:
        nn.Module.__init__(self)
        self.critic = critic
        self.search = search
        self.noise_dimensions = actions
        size = (search.iterations, search.samples, actions)
        fixed = torch.randn(size, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", fixed.to(next(critic.parameters()).device))

    @property
    def uses_proprio(self) -> bool:
        """Whether it looks at poses."""
        first = self.critic.encoders[0]
        assert isinstance(first, Encoder)
        return first.uses_proprio

    def forward(self, images: Images | None, proprio: Tensor | None) -> Deterministic:
        states = self.critic.project(self.critic.encode(images, proprio))
        noise = self.noise.to(states.dtype).expand(states.shape[1], -1, -1, -1)
        return Deterministic(best_action(self.critic, states, noise, self.search)[0])
