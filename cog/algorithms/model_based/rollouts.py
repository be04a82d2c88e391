"""Short rollouts of the policy in the model, branched from each state of a batch (MBPO, Janner et al. 2019).

Nothing is stored: the rows are imagined for one update and dropped, so a checkpoint holds no synthetic data,
a resumed run takes exactly the same steps, and no row is from an older policy than its update's.

Shapes: B states, R rows, h steps, P pose components, A action dimensions. States are standardised.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cog.networks.distribution import Noise, TanhGaussian

FURTHEST = 100.0  # standard deviations; an imagined state beyond them is held there


class Rows(NamedTuple):
    """R one-step transitions, recorded or imagined."""

    states: Tensor  # (R, P)
    actions: Tensor  # (R, A)
    rewards: Tensor  # (R,)
    bootstrap: Tensor  # (R,) discount of the next state's value, 0 after a terminal step
    next_states: Tensor  # (R, P)
    weight: Tensor  # (R,) of the row in every loss


class Imagined(NamedTuple):
    """One step of the model from each of B states."""

    next_states: Tensor  # (B, P)
    rewards: Tensor  # (B,) as the algorithm wants them learned from, penalties included
    continues: Tensor  # (B,) probability that the episode continues
    measures: dict[str, Tensor]  # (B,) each, to be logged


class RolloutDraws(NamedTuple):
    """The random numbers of h steps from each of B states."""

    policy: Noise  # h actions of pi
    members: Tensor  # (B, h) int64, the member that predicts each step
    model: Tensor  # (B, h, D) standard normal, the member's sample; D is 0 for deterministic members


def branch(
    states: Tensor,
    policy: Callable[[Tensor], TanhGaussian],
    imagine: Callable[[Tensor, Tensor, Tensor, Tensor], Imagined],
    draws: RolloutDraws,
    discount: float,
) -> tuple[list[Rows], dict[str, Tensor]]:
    """The rows of each step, B a step, and means of what `imagine` measures over all of them.

    Where a rollout may have ended, its later rows weigh as much as it is likely that it has not. The means
    (`penalty` of MOPO, `unknown_share` of MOReL) are plain ones, over all steps of all rollouts, also those
    after an end.
    """
    weight = torch.ones_like(states[:, 0])
    steps = draws.members.shape[1]
    rows: list[Rows] = []
    means: dict[str, Tensor] = {}
    for step in range(steps):
        normal, uniform = draws.policy
        noise = Noise(normal[:, [step]], None if uniform is None else uniform[:, [step]])
        actions = policy(states).sample(noise)[0][:, 0]
        found = imagine(states, actions, draws.members[:, step], draws.model[:, step])
        following = found.next_states.clamp(-FURTHEST, FURTHEST)
        bootstrap = discount * found.continues
        rows.append(Rows(states, actions, found.rewards, bootstrap, following, weight))
        for name, values in found.measures.items():
            means[name] = means.get(name, 0) + values.mean() / steps
        weight = weight * found.continues
        states = following
    return rows, means


def joined(real: Rows, imagined: Sequence[Rows], real_share: float) -> Rows:
    """B recorded rows and h times B imagined ones as B (1 + h), those of one state next to each other.

    Weights make a mean over all rows `real_share` times the mean over the recorded ones plus the rest times
    the mean over the imagined ones: what drawing the rows in these shares would give on average.
    """
    number = 1 + len(imagined)
    factors = [real_share * number] + len(imagined) * [(1 - real_share) * number / max(number - 1, 1)]
    blocks = [
        rows._replace(weight=factor * rows.weight)
        for rows, factor in zip((real, *imagined), factors, strict=True)
    ]
    return Rows(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*blocks, strict=True)))
