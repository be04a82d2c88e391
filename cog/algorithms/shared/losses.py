"""Equations that several algorithms share, as pure functions.

Shapes: K critics, B states, N actions per state.
"""

import torch
from torch import Tensor


def td_target(
    rewards: Tensor, bootstrap: Tensor, next_q: Tensor, bounds: tuple[float, float] | None = None
) -> Tensor:
    """r + gamma * Q(s', a'), (B,): `bootstrap` (B,) is gamma, or 0 where the episode has ended.

    With `bounds` the target is held between the lowest and the highest return possible.
    """
    target = rewards + bootstrap * next_q
    return target if bounds is None else target.clamp(*bounds)


def td_loss(q: Tensor, target: Tensor) -> Tensor:
    """sum_k mean_b (Q_k(s, a) - y)^2 for Q (K, B) and targets y (B,), which carry no gradient."""
    return (q - target).square().mean(1).sum()


def log_integral_exp(q: Tensor, log_density: Tensor) -> Tensor:
    """log sum_i exp(Q(s, a_i) - log p(a_i)), (K, B), for Q (K, B, N) of actions a_i drawn from p.

    N times the importance-sampled estimate of the integral of exp Q over actions (CQL, appendix F).
    """
    return torch.logsumexp(q - log_density, -1)


def temperature_loss(log_temperature: Tensor, log_pi: Tensor, target_entropy: float) -> Tensor:
    """-log alpha * mean(log pi(a|s) + target entropy): alpha rises while the entropy is below its target.

    As in SAC (2018); `log_pi` (B,) is taken without gradient.
    """
    return -log_temperature * (log_pi.detach() + target_entropy).mean()


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """mean |tau - 1(u < 0)| u^2 of u = `difference`, tau = `expectile`: above 1/2, positive u count more.

    Kostrikov et al., "Offline Reinforcement Learning with Implicit Q-Learning" (2021), equation 4.
    """
    weight = (expectile - (difference < 0).to(difference.dtype)).abs()
    return (weight * difference.square()).mean()
