"""The policy at a state: a tanh-Gaussian with Bernoulli switches, a Gaussian, or one deterministic action.

A gripper either opens or closes. The mode of one Gaussian between data that open and data that close does
neither; the mode of a Bernoulli switch is one of the two, and critics can score both.
"""

import math
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class ActionDistribution(Protocol):
    """A policy at B states, whatever it is made of."""

    def mode(self) -> Tensor:
        """The action that it takes in evaluation, (B, A)."""

    def drawn(self, noise: Tensor) -> Tensor:
        """The actions (B, n, A) that standard normal `noise` (B, n, D) determines."""


class Noise(NamedTuple):
    """The random numbers that determine n actions at each of B states."""

    normal: Tensor  # (B, n, A - S) standard normal
    uniform: Tensor | None = None  # (B, n, S) in [0, 1), for switches


class TanhGaussian(NamedTuple):
    """pi(.|s) at B states, for actions of A components of which the last S are switches, -1 or 1.

    The others are tanh(u), u ~ Normal(mean, exp(log_std)), both (B, A - S). A switch is 1 with log-odds
    `odds` (B, S), or there are none.
    """

    mean: Tensor
    log_std: Tensor
    odds: Tensor | None = None

    def noise(self, n: int, generator: torch.Generator | None) -> Noise:
        """Draw the random numbers of n actions per state."""
        batch, moves = self.mean.shape
        normal = torch.randn(
            (batch, n, moves), generator=generator, device=self.mean.device, dtype=self.mean.dtype
        )
        if self.odds is None:
            return Noise(normal)
        size = (batch, n, self.odds.shape[1])
        return Noise(normal, torch.rand(size, generator=generator, device=normal.device, dtype=normal.dtype))

    def sample(self, noise: Noise) -> tuple[Tensor, Tensor]:
        """The actions that `noise` determines, (B, n, A), and their log-densities (B, n).

        A gradient flows through the actions, but not into their switches.
        """
        switches = None if noise.uniform is None else self._drawn_switches(noise.uniform)
        return self._actions(noise.normal, switches)

    def enumerate_switches(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The actions that standard normal `noise` (B, 1, A - S) determines, for all M = 2^S switch settings.

        Returns actions (B, M, A), their log-densities (B, M), and the settings' probabilities (B, M): a sum
        over settings with these weights is an expectation that has a gradient.
        """
        if self.odds is None:
            actions, log_density = self._actions(noise, None)
            return actions, log_density, torch.ones_like(log_density)
        number = self.odds.shape[1]
        # The binary digits of 0 to M - 1: made on the device, since a copy from the host would synchronise.
        digits = torch.arange(number - 1, -1, -1, device=noise.device)
        every = torch.arange(2**number, device=noise.device)[:, None] >> digits & 1
        switches = (2 * every - 1).to(noise.dtype).expand(len(noise), -1, -1)
        actions, log_density = self._actions(noise.expand(-1, len(every), -1), switches)
        return actions, log_density, self._switch_log_prob(switches).exp()

    def log_prob(self, actions: Tensor, limit: float) -> Tensor:
        """Log-density (B,) of recorded actions (B, A), clamped to +-limit first.

        Only the sign of a switch counts.
        """
        moves = self.mean.shape[1]
        pre_tanh = actions[:, :moves].clamp(-limit, limit).atanh()
        noise = (pre_tanh - self.mean) * (-self.log_std).exp()
        density = self._log_density(noise, pre_tanh, self.log_std)
        if self.odds is None:
            return density
        return (
            density + self._switch_log_prob(snap_switches(actions, self.odds.shape[1])[:, None, moves:])[:, 0]
        )

    def mode(self) -> Tensor:
        """The deterministic action, (B, A)."""
        if self.odds is None:
            return self.mean.tanh()
        return torch.cat([self.mean.tanh(), _signs(self.odds)], 1)

    def drawn(self, noise: Tensor) -> Tensor:
        """The actions (B, n, A) that standard normal `noise` (B, n, A) determines."""
        moves = self.mean.shape[1]
        switches = None if self.odds is None else self._drawn_switches(torch.special.ndtr(noise[..., moves:]))
        return self._actions(noise[..., :moves], switches)[0]

    def _drawn_switches(self, uniform: Tensor) -> Tensor:
        """Switches (B, n, S) by uniform numbers in [0, 1)."""
        assert self.odds is not None
        return _signs(self.odds.sigmoid()[:, None] - uniform)

    def _actions(self, noise: Tensor, switches: Tensor | None) -> tuple[Tensor, Tensor]:
        pre_tanh = self.mean[:, None] + self.log_std.exp()[:, None] * noise
        moves = pre_tanh.tanh()
        log_density = self._log_density(noise, pre_tanh, self.log_std[:, None])
        if switches is None:
            return moves, log_density
        return torch.cat([moves, switches], -1), log_density + self._switch_log_prob(switches)

    def _switch_log_prob(self, switches: Tensor) -> Tensor:
        """Log-probability (B, n) of switches (B, n, S)."""
        assert self.odds is not None
        return F.logsigmoid(switches * self.odds[:, None]).sum(-1)

    @staticmethod
    def _log_density(noise: Tensor, pre_tanh: Tensor, log_std: Tensor) -> Tensor:
        """log Normal(u) - sum log(1 - tanh(u)^2), the latter in a form that is exact for large |u|."""
        normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        squash = 2 * (math.log(2) - pre_tanh - F.softplus(-2 * pre_tanh))
        return (normal - squash).sum(-1)


class ClippedGaussian(NamedTuple):
    """pi(.|s) at B states: Normal(mean, exp(log_std)), one deviation for all, draws clipped to [-1, 1].

    Unlike a tanh-Gaussian it can put its mode on a bound that many recorded actions lie on.
    """

    mean: Tensor  # (B, A) in [-1, 1]
    log_std: Tensor  # (A,)

    def log_prob(self, actions: Tensor, limit: float) -> Tensor:
        """Log-density (B,) of the Gaussian at recorded actions (B, A), clamped to +-limit first."""
        noise = (actions.clamp(-limit, limit) - self.mean) * (-self.log_std).exp()
        return (-0.5 * noise.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def mode(self) -> Tensor:
        """The mean, (B, A)."""
        return self.mean

    def drawn(self, noise: Tensor) -> Tensor:
        """The actions (B, n, A) that standard normal `noise` (B, n, A) determines."""
        return (self.mean[:, None] + self.log_std.exp() * noise).clamp(-1, 1)


class Deterministic(NamedTuple):
    """A policy that takes one action at each of B states."""

    actions: Tensor  # (B, A) in [-1, 1]

    def mode(self) -> Tensor:
        """The action, (B, A)."""
        return self.actions

    def drawn(self, noise: Tensor) -> Tensor:
        """The same action for each of n draws, (B, n, A); of `noise` (B, n, A) only the shape counts."""
        return self.actions[:, None].expand(noise.shape)


def snap_switches(actions: Tensor, switches: int) -> Tensor:
    """Actions (..., A) with each of the last `switches` components set to -1 or 1 by its sign."""
    if not switches:
        return actions
    return torch.cat([actions[..., :-switches], _signs(actions[..., -switches:])], -1)


def _signs(values: Tensor) -> Tensor:
    """-1 below zero, else 1."""
    return 1 - 2 * (values < 0).to(values.dtype)
