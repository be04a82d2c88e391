"""What every learner shares: one generator, optimisers with a schedule, and an averaged policy."""

import contextlib
import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from cog.augment import random_shift
from cog.buffer import Batch
from cog.config import TrainConfig
from cog.networks import Actor, Encoder, ObservationShape, PolicyNetwork
from cog.parallel import averaged

Metrics = dict[str, Tensor]


class Agent(nn.Module, ABC):
    """Base of `CQL` and `BC`: an agent turns batches into updates of its networks.

    Initial weights come from PyTorch's own generator (see `create` in `cog.train`, which seeds a copy of it);
    everything drawn later comes from `generator`.
    """

    actor: Actor
    average: PolicyNetwork

    def __init__(self, config: TrainConfig, shape: ObservationShape, actions: int) -> None:
        super().__init__()
        self.config = config
        self.shape = shape
        self.action_dimensions = actions
        self.updates_done = 0
        self.optimizers: dict[str, torch.optim.Adam] = {}
        self.generator = torch.Generator(device=config.device)
        self.generator.manual_seed(config.seed)

    @abstractmethod
    def update(self, batch: Batch) -> Metrics:
        """Learn from one batch; the metrics stay on the device."""

    @abstractmethod
    def policy_encoder(self) -> Encoder:
        """The encoder whose features the actor sees."""

    def ready(self) -> None:
        """Call once the networks exist and are where they belong: start the average from the policy."""
        self.average = PolicyNetwork(self.shape, self.action_dimensions, self.config.network)
        self.average.encoder = copy.deepcopy(self.policy_encoder())
        self.average.actor = copy.deepcopy(self.actor)
        self.average.requires_grad_(False)

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give every encoder, averaged and target ones included, the data's pose statistics."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.standardise(mean, scale)

    def add_optimizer(self, name: str, parameters: Iterable[nn.Parameter], lr: float) -> None:
        """Create the Adam optimiser called `name`; `lr` is its step size before any schedule."""
        self.optimizers[name] = torch.optim.Adam(list(parameters), lr=lr, fused=True)
        self.optimizers[name].param_groups[0]["base_lr"] = lr

    def minimise(self, loss: Tensor, name: str) -> None:
        """One optimiser step on `loss` for that optimiser's parameters only; no other gradient is filled."""
        optimizer = self.optimizers[name]
        group = optimizer.param_groups[0]
        parameters: Sequence[nn.Parameter] = group["params"]
        gradients = averaged(torch.autograd.grad(loss, parameters))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            # The fused step walks both side by side in memory: unequal strides would be silent nonsense.
            fits = gradient.stride() == parameter.stride()
            parameter.grad = gradient if fits else torch.empty_like(parameter).copy_(gradient)
        if self.config.clip_gradient:
            nn.utils.clip_grad_norm_(parameters, self.config.clip_gradient)
        group["lr"] = group["base_lr"] * self.schedule()
        optimizer.step()
        for parameter in parameters:
            parameter.grad = None

    def schedule(self) -> float:
        """Factor on all step sizes at this update."""
        if self.config.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * self.updates_done / self.config.updates))

    def augmented(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Images before and after, shifted once for the whole update."""
        if batch.images is None or batch.next_images is None:
            return None, None
        images = random_shift(batch.images, self.config.shift, self.generator)
        return images, random_shift(batch.next_images, self.config.shift, self.generator)

    @torch.no_grad()
    def average_policy(self) -> None:
        """Move the averaged policy towards the current one; early on it follows faster."""
        decay = min(self.config.average_decay, (1 + self.updates_done) / (10 + self.updates_done))
        decay = decay if self.config.average_decay else 0.0
        current = [*self.policy_encoder().parameters(), *self.actor.parameters()]
        lerp(list(self.average.parameters()), current, 1 - decay)

    def autocast(self) -> AbstractContextManager[object]:
        """The arithmetic that the configuration asks for."""
        if self.config.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.config.device).type, torch.bfloat16)


@torch.no_grad()
def lerp(targets: Sequence[Tensor], sources: Sequence[Tensor], rate: float) -> None:
    """targets += rate * (sources - targets), in place."""
    torch._foreach_lerp_(list(targets), [source.detach() for source in sources], rate)
