"""Draws: every random number of one update, drawn before it, so that the update is one function of tensors.

Shapes: B states, N sampled actions, A action dimensions of which the last S are switches. Each rank of a run
draws for the whole batch and keeps its own part.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cog.core.parallel import joint, own
from cog.networks.augment import random_offsets
from cog.networks.distribution import Noise
from cog.networks.encoder import ObservationShape
from cog.training.config import TrainConfig


class Shifts(NamedTuple):
    """How far the images before and after a step move, (2, B, 1) each; none where they stay."""

    before: Tensor | None
    after: Tensor | None


class Draws(NamedTuple):
    """The numbers of one CQL update, in the order in which they are drawn."""

    shifts: Shifts
    mine: Tensor  # (B, 1, A - S) for the actor's action
    uniform: Tensor  # (B, N, A) in [0, 1)
    here: Noise  # N actions of pi(.|s)
    there: Noise  # N actions of pi(.|s')
    backup: Noise  # actions of pi(.|s') to bootstrap from


def draw_shifts(
    generator: torch.Generator, size: int, config: TrainConfig, shape: ObservationShape
) -> Shifts:
    """Shifts for `size` states, if they have images and these are to move."""
    if shape.image is None or config.shift == 0:
        return Shifts(None, None)
    both = [own(random_offsets(joint((size,))[0], config.shift, generator), dimension=1) for _ in range(2)]
    return Shifts(*both)


def draw(
    generator: torch.Generator,
    size: int,
    actions: int,
    config: TrainConfig,
    shape: ObservationShape,
    dtype: torch.dtype,
) -> Draws:
    """The numbers of one update of `size` states with `actions` action dimensions."""
    cql, switches = config.cql, config.network.switches
    device = generator.device
    moves, number = actions - switches, cql.sampled_actions

    def normal(count: int) -> Tensor:
        shape = joint((size, count, moves))
        return own(torch.randn(shape, generator=generator, device=device, dtype=dtype))

    def uniform(count: int, components: int) -> Tensor:
        shape = joint((size, count, components))
        return own(torch.rand(shape, generator=generator, device=device, dtype=dtype))

    def noise(count: int) -> Noise:
        return Noise(normal(count), uniform(count, switches) if switches else None)

    return Draws(
        shifts=draw_shifts(generator, size, config, shape),
        mine=normal(1),
        uniform=uniform(number, actions),
        here=noise(number),
        there=noise(number),
        backup=noise(cql.backup_actions),
    )
