"""Equations of model-based algorithms, as pure functions.

Shapes: M members, B states, P pose components, O = P + 1 outputs (the reward is last). States are
standardised, rewards in the data's own unit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

POISSON = (
    0.36787944117144233,
    0.7357588823428847,
    0.9196986029286058,
    0.9810118431238462,
    0.9963401531726563,
    0.9994058151824183,
    0.9999167588507119,
)
"""P(count <= 0), P(count <= 1), ... of a Poisson variable of mean 1."""


def poisson_counts(uniform: Tensor) -> Tensor:
    """How often a resample with replacement holds each row, about: Poisson(1) counts, up to 7.

    `uniform` (B, M) in [0, 1) decides, by the inverse of the distribution function.
    """
    return torch.stack([(uniform >= bound).to(uniform.dtype) for bound in POISSON]).sum(0)


def gaussian_loss(mean: Tensor, log_variance: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """sum_m mean_{b,o} count * ((mean - target)^2 exp(-log variance) + log variance): twice the likelihood's.

    Predictions (M, B, O), targets (B, O), counts (B, M). Chua et al. 2018, section 4, as MOPO uses it.
    """
    errors = (mean - target).square() * (-log_variance).exp() + log_variance
    return (counts.T * errors.mean(-1)).mean(1).sum()


def squared_loss(mean: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """sum_m mean_{b,o} count * (mean - target)^2, for the same shapes (MOReL)."""
    return (counts.T * (mean - target).square().mean(-1)).mean(1).sum()


def terminal_loss(log_odds: Tensor, terminals: Tensor, counts: Tensor) -> Tensor:
    """sum_m mean_b count * cross-entropy of "the step ended the episode": log-odds (M, B), terminals (B,)."""
    targets = terminals.expand_as(log_odds)
    errors = F.binary_cross_entropy_with_logits(log_odds, targets, reduction="none")
    return (counts.T * errors).mean(1).sum()


def largest_deviation(log_variance: Tensor) -> Tensor:
    """max_m ||sigma_m||_2, (B,), over all O outputs, the reward among them: MOPO's u(s, a).

    The paper writes the Frobenius norm of the covariance; its code takes the norm of the vector of standard
    deviations, as here.
    """
    deviations: Tensor = (0.5 * log_variance).exp().norm(dim=-1).amax(0)
    return deviations


def disagreement(states: Tensor) -> Tensor:
    """max_{i,j} ||f_i - f_j||_2, (B,), of the states (M, B, P) that the members predict (MOReL)."""
    squares = (states[:, None] - states[None]).square().sum(-1)
    return squares.amax((0, 1)).sqrt()


def chosen(predictions: Tensor, members: Tensor) -> Tensor:
    """Row b of member `members[b]`: (M, B, ...) and (B,) -> (B, ...)."""
    index = members.view(1, -1, *(1 for _ in predictions.shape[2:])).expand(1, *predictions.shape[1:])
    return predictions.gather(0, index)[0]
