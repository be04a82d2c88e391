"""How far one policy is from another at the same states: estimates of KL(pi || b), as pure functions.

Both are tanh-Gaussians with switches. tanh is a bijection and leaves the divergence as it is, so that all is
computed before it: no density is infinite at an action of 1, and none has to be clipped there.

Shapes: B states, N actions per state, A action dimensions, S switches.
"""

import torch.nn.functional as F
from torch import Tensor

from cog.networks.distribution import TanhGaussian


def kl_estimate(policy: TanhGaussian, behaviour: TanhGaussian, normal: Tensor) -> Tensor:
    """The mean of log pi(a_i|s) - log b(a_i|s) over actions that `normal` (B, N, A - S) picks from pi, (B,).

    The expectation over switches is exact. Single estimates may be negative; KL(pi || b) is not.
    """
    estimate = log_ratio(policy, behaviour, normal).mean(1)
    if policy.odds is None or behaviour.odds is None:
        return estimate
    return estimate + switch_kl(policy.odds, behaviour.odds)


def log_ratio(policy: TanhGaussian, behaviour: TanhGaussian, normal: Tensor) -> Tensor:
    """log pi - log b of the components that move, (B, N), at u = mean + std * `normal` of the policy.

    The gradient flows through u as well as through pi's own density.
    """
    pre_tanh = policy.mean[:, None] + policy.log_std.exp()[:, None] * normal
    other = (pre_tanh - behaviour.mean[:, None]) * (-behaviour.log_std).exp()[:, None]
    # The terms in 2 pi and those of tanh are the same in both densities.
    difference = behaviour.log_std - policy.log_std
    return (0.5 * (other.square() - normal.square()) + difference[:, None]).sum(-1)


def switch_kl(odds: Tensor, other: Tensor) -> Tensor:
    """KL between independent switches with log-odds `odds` and `other`, (B, S) each: (B,), exactly."""
    on = odds.sigmoid() * (F.logsigmoid(odds) - F.logsigmoid(other))
    off = (-odds).sigmoid() * (F.logsigmoid(-odds) - F.logsigmoid(-other))
    return (on + off).sum(1)
