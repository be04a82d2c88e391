"""What every learner shares: one generator, optimisers with a schedule, and an averaged policy."""

import contextlib
import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from cog.algorithms.draws import Shifts
from cog.core.parallel import averaged
from cog.networks.actor import Actor, PolicyNetwork
from cog.networks.augment import shifted
from cog.networks.encoder import Encoder, ObservationShape
from cog.replay.buffer import Batch
from cog.training.config import TrainConfig

Metrics = dict[str, Tensor]
Gradients = Sequence[Tensor]
Differentiate = Callable[[Batch, Any, bool], tuple[dict[str, Gradients], Metrics]]


class Agent(nn.Module, ABC):
    """Base of `CQL` and `BC`: an agent turns batches into updates of its networks.

    Initial weights come from PyTorch's own generator (`create` in `cog.training.train` seeds a copy of it);
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
        self.stand_in: Differentiate | None = None  # for `gradients`: compiled, or by another plan
        self.optimizers: dict[str, torch.optim.Adam] = {}
        self.generator = torch.Generator(device=config.device)
        self.generator.manual_seed(config.seed)

    @abstractmethod
    def learn(self, batch: Batch) -> Metrics:
        """Learn from one batch on the device alone; the metrics stay there."""

    @abstractmethod
    def losses(self, batch: Batch, draws: Any, warm_up: bool) -> tuple[dict[str, Tensor], Metrics]:
        """The loss of each optimiser, by name, and metrics: a function of tensors, without side effects."""

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
        graphed = self.config.graphed
        rate = torch.tensor(lr, device=self.config.device) if graphed else lr
        self.optimizers[name] = torch.optim.Adam(list(parameters), lr=rate, fused=True, capturable=graphed)
        self.optimizers[name].param_groups[0]["base_lr"] = lr

    def update(self, batch: Batch) -> Metrics:
        """One update: learn from the batch, count it, and let the average of the policy follow."""
        self.set_rates()
        metrics = self.learn(batch)
        self.updates_done += 1
        self.average_policy()
        return metrics

    def warming_up(self) -> bool:
        """Whether the next update has the losses of a warm-up."""
        return False

    def gradients(self, batch: Batch, draws: Any, warm_up: bool) -> tuple[dict[str, Gradients], Metrics]:
        """The gradient of each loss with respect to its optimiser's parameters alone, and metrics."""
        losses, metrics = self.losses(batch, draws, warm_up)
        return {
            name: torch.autograd.grad(loss, self.optimizers[name].param_groups[0]["params"])
            for name, loss in losses.items()
        }, metrics

    def differentiate(self, batch: Batch, draws: Any, warm_up: bool) -> tuple[dict[str, Gradients], Metrics]:
        """`gradients`, or what stands in for them."""
        return (self.stand_in or self.gradients)(batch, draws, warm_up)

    def step(self, name: str, gradients: Gradients) -> None:
        """One step of the optimiser called `name`; over several processes, on their mean gradients."""
        optimizer = self.optimizers[name]
        parameters: Sequence[nn.Parameter] = optimizer.param_groups[0]["params"]
        for parameter, gradient in zip(parameters, averaged(gradients), strict=True):
            # The fused step walks both side by side in memory: unequal strides would be silent nonsense.
            fits = gradient.stride() == parameter.stride()
            parameter.grad = gradient if fits else torch.empty_like(parameter).copy_(gradient)
        if self.config.clip_gradient:
            nn.utils.clip_grad_norm_(parameters, self.config.clip_gradient)
        optimizer.step()
        for parameter in parameters:
            parameter.grad = None

    def set_rates(self) -> None:
        """Set the step sizes of the next update."""
        for optimizer in self.optimizers.values():
            group = optimizer.param_groups[0]
            rate = group["base_lr"] * self.schedule()
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a graph reads it where it lies
            else:
                group["lr"] = rate

    def schedule(self) -> float:
        """Factor on all step sizes at this update."""
        if self.config.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * self.updates_done / self.config.updates))

    def augmented(self, batch: Batch, shifts: Shifts) -> tuple[Tensor | None, Tensor | None]:
        """Images before and after, shifted once for the whole update."""
        if batch.images is None or batch.next_images is None:
            return None, None
        images = shifted(batch.images, self.config.shift, shifts.before)
        return images, shifted(batch.next_images, self.config.shift, shifts.after)

    @torch.no_grad()
    def average_policy(self) -> None:
        """Move the averaged policy towards the current one; early on it follows faster."""
        decay = min(self.config.average_decay, (1 + self.updates_done) / (10 + self.updates_done))
        decay = decay if self.config.average_decay else 0.0
        current = [*self.policy_encoder().parameters(), *self.actor.parameters()]
        lerp(list(self.average.parameters()), current, 1 - decay)

    def autocast(self) -> AbstractContextManager[object]:
        """The arithmetic that the configuration asks for."""
        if self.config.precision != "bfloat16":
            return contextlib.nullcontext()
        # Weights cast once for two losses would be one node of two graphs, which the compiler refuses.
        cached = not self.config.compiled
        return torch.autocast(torch.device(self.config.device).type, torch.bfloat16, cache_enabled=cached)


@torch.no_grad()
def lerp(targets: Sequence[Tensor], sources: Sequence[Tensor], rate: float) -> None:
    """targets += rate * (sources - targets), in place."""
    torch._foreach_lerp_(list(targets), [source.detach() for source in sources], rate)
