"""Equations that several algorithms share, as pure functions.

Shapes: K critics, B states, N actions per state.
"""

import math

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


def measured_td_loss(q: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """`td_loss` of Q (K, B) at the data's actions for targets y (B,), and the metrics that go with it."""
    loss = td_loss(q, target)
    return loss, {
        "td_loss": loss.detach() / len(q),
        "q_data": q.detach().mean(),
        "q_target": target.mean(),
        "q_size": q.detach().abs().amax(),
    }


def smoothed(actions: Tensor, normal: Tensor, std: float, limit: float) -> Tensor:
    """clip(a + clip(std * epsilon, -limit, limit), -1, 1), (B, A): the target policy smoothing of TD3.

    Actions (B, A) lie in [-1, 1], epsilon is standard normal (B, A).
    """
    noise = (std * normal).clamp(-limit, limit)
    return (actions + noise).clamp(-1, 1)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """mean |tau - 1(u < 0)| u^2 for differences u (B,) of targets and values, and the expectile tau (IQL).

    Its minimum is the expectile of the targets: their mean at tau = 0.5, near their maximum at tau near 1.
    """
    weight = (expectile - (difference < 0).to(difference.dtype)).abs()
    return (weight * difference.square()).mean()


def log_integral_exp(q: Tensor, log_density: Tensor) -> Tensor:
    """log sum_i exp(Q(s, a_i) - log p(a_i)), (K, B), for Q (K, B, N) of actions a_i drawn from p.

    N times the importance-sampled estimate of the integral of exp Q over actions (CQL, appendix F).
    """
    return torch.logsumexp(q - log_density, -1)


def log_mean_exp(q: Tensor) -> Tensor:
    """log mean_i exp Q(s, a_i), (K, B), for Q (K, B, N) of actions a_i drawn from a policy rho.

    The largest E_mu[Q] - KL(mu, rho) over all mu, which rho * exp(Q), normalised, attains (CQL, appendix A).
    """
    return torch.logsumexp(q, -1) - math.log(q.shape[-1])


def temperature_loss(log_temperature: Tensor, log_pi: Tensor, target_entropy: float) -> Tensor:
    """-log alpha * mean(log pi(a|s) + target entropy): alpha rises while the entropy is below its target.

    As in SAC (2018); `log_pi` (B,) is taken without gradient.
    """
    return -log_temperature * (log_pi.detach() + target_entropy).mean()


def soft_clipped(q: Tensor, min_weight: float) -> Tensor:
    """lambda * min_k Q_k + (1 - lambda) * max_k Q_k over the first dimension of Q (K, ...).

    Soft clipped double Q-learning (BCQ, equation 13); `min_weight` is lambda.
    """
    return min_weight * q.amin(0) + (1 - min_weight) * q.amax(0)


def kl_to_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(Normal(mean, exp(log_std)) || Normal(0, 1)) of each dimension, in nats."""
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std


def vae_loss(
    actions: Tensor, decoded: Tensor, mean: Tensor, log_std: Tensor, kl_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """mean (decoded - a)^2 + `kl_weight` * mean KL(q(z|s, a) || N(0, 1)), and its metrics (BCQ's code).

    For actions (B, A) and q(z|s, a) = Normal(mean, exp(log_std)), both (B, L). The first mean is over states
    and components, the second over states and latents.
    """
    error = (decoded - actions).square().mean()
    kl = kl_to_standard_normal(mean, log_std).mean()
    loss = error + kl_weight * kl
    metrics = {"vae_loss": loss, "reconstruction_error": error, "latent_kl": kl}
    return loss, {name: value.detach() for name, value in metrics.items()}
