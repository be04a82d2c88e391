"""What every algorithm shares: one update, one generator, optimisers with a schedule, an averaged policy.

An algorithm defines, in one file: its `Config`, its `Draws` (all random numbers of an update), `losses` (the
algorithm, in the paper's order) and `policy` (what acts). `update` is written once, here.
"""

import contextlib
import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from cog.algorithms.shared.config import AlgorithmConfig, Settings
from cog.core.parallel import averaged, joint, own
from cog.errors import UsageError
from cog.networks.actor import PolicyNetwork
from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.distribution import Noise
from cog.networks.encoder import Encoder, Images, ObservationShape
from cog.networks.images.augment import random_offsets, shifted
from cog.replay.buffer import Batch

Metrics = dict[str, Tensor]
Losses = dict[str, Tensor]
Gradients = Sequence[Tensor]
Phase = str
C = TypeVar("C", bound=AlgorithmConfig)


class Shifts(NamedTuple):
    """How far the images before and after a step move, (2, B, 1) each; none where they stay."""

    before: Tensor | None
    after: Tensor | None


class Algorithm(nn.Module, ABC, Generic[C]):
    """Turns batches into updates of its networks.

    Initial weights come from PyTorch's own generator (`create` in `cog.training.setup` seeds a copy of it);
    everything drawn later comes from `generator`. Shapes: B states, A action dimensions.
    """

    Config: ClassVar[type[AlgorithmConfig]]
    """Its hyper-parameters."""
    presets: ClassVar[Mapping[str, AlgorithmConfig]]
    """The hyper-parameters of each preset of `cog.training.presets`."""
    progress: ClassVar[tuple[str, ...]]
    """Metrics that are shown while it trains."""
    choosing_critics: ClassVar[str | None] = None
    """Name of the critics that choose among draws of the policy in evaluation; none if it has no critics."""
    finetunes: ClassVar[bool] = False
    """Whether it can go on learning online."""
    sees_images: ClassVar[bool] = True
    """Whether it learns from images; if not, from states alone."""
    remembers: ClassVar[bool] = True
    """Whether it learns from several frames at once; if not, from the current one alone."""
    bootstraps_from: ClassVar[str | None] = "policy"
    """Whose value at s' the targets hold: that of actions of the "policy", a "value" function's, or none."""
    stitches: ClassVar[bool]
    """Whether it leads from A to C on the chain of `cog.tabular`, where no trajectory of the data does."""

    average: PolicyNetwork

    def __init__(
        self,
        settings: Settings,
        shape: ObservationShape,
        actions: int,
        return_bounds: tuple[float, float] | None = None,
    ) -> None:
        """Begin without networks; `return_bounds` are the lowest and highest return possible, if known."""
        super().__init__()
        self.settings = settings
        self.shape = shape
        self.action_dimensions = actions
        self.return_bounds = return_bounds
        self.updates_done = 0
        self.optimizers: dict[str, torch.optim.Adam] = {}
        self.generator = torch.Generator(device=settings.device)
        self.generator.manual_seed(settings.seed)

    @property
    def config(self) -> C:
        """The hyper-parameters."""
        return cast(C, self.settings.algorithm)

    # What an algorithm defines.

    @abstractmethod
    def draws(self, size: int) -> Any:
        """The random numbers of an update of `size` states."""

    @abstractmethod
    def losses(self, batch: Batch, draws: Any, phase: Phase) -> tuple[Losses, Metrics]:
        """The loss of each optimiser that steps in this phase, by name, and metrics.

        A function of tensors without side effects, all losses taken at the same weights.
        """

    @abstractmethod
    def policy(self) -> PolicyNetwork:
        """The current policy: the weights that learn, not a copy."""

    @classmethod
    @abstractmethod
    def build_policy(
        cls, shape: ObservationShape, actions: int, network: NetworkConfig, config: C
    ) -> PolicyNetwork:
        """A policy of this kind with fresh weights, to be loaded from a checkpoint."""

    @classmethod
    def build_critics(cls, shape: ObservationShape, actions: int, network: NetworkConfig) -> Critic:
        """Critics of this kind with fresh weights, to be loaded from a checkpoint."""
        return Critic(shape, actions, network)

    @classmethod
    def check(cls, settings: Settings, shape: ObservationShape, actions: int) -> None:
        """Refuse settings and data that this algorithm cannot use, before anything is built.

        Raises:
            UsageError: no component of the actions is left that moves, or it does not learn from images, or
                from more than the current frame.
        """
        name = settings.algorithm.name
        if shape.image is not None and not cls.sees_images:
            raise UsageError(
                f"{name} learns from states alone, and these data hold images: its model would have to "
                "predict pictures. Collect with --observation state, or choose --algorithm cql"
            )
        if shape.history is not None and not cls.remembers:
            raise UsageError(
                f"network.history is {settings.network.history}, but the model of {name} predicts from one "
                "state alone. Leave network.history out, or choose --algorithm cql"
            )
        if (switches := settings.network.switches) >= actions:
            raise UsageError(
                f"network.switches is {switches}, but at least one of the {actions} components of an action "
                "has to move. Lower network.switches"
            )

    def phases(self) -> Sequence[Phase]:
        """The phases of the next update, each at the weights that the one before has left."""
        return ("all",)

    def update_targets(self) -> None:
        """Move the target networks at the end of an update."""

    # One update.

    def update(self, batch: Batch) -> Metrics:
        """One update: learn from the batch, count it, and let the average of the policy follow."""
        self.set_rates()
        metrics = self.learn(batch)
        self.updates_done += 1
        self.average_policy()
        return metrics

    def learn(self, batch: Batch) -> Metrics:
        """Learn from one batch, on the device alone; the metrics stay there."""
        draws = self.draws(len(batch.actions))
        metrics: Metrics = {}
        for phase in self.phases():
            gradients, found = self.gradients(batch, draws, phase)
            for name, gradient in gradients.items():
                self.step(name, gradient)
            metrics |= found
        self.update_targets()
        return metrics

    def gradients(self, batch: Batch, draws: Any, phase: Phase) -> tuple[dict[str, Gradients], Metrics]:
        """The gradient of each loss with respect to its optimiser's parameters alone, and metrics.

        `cog.training.execution` may put a compiled version of this method in its place.
        """
        losses, metrics = self.losses(batch, draws, phase)
        return {
            name: torch.autograd.grad(loss, self.optimizers[name].param_groups[0]["params"])
            for name, loss in losses.items()
        }, metrics

    def step(self, name: str, gradients: Gradients) -> None:
        """One step of the optimiser called `name`; over several processes, on their mean gradients."""
        optimizer = self.optimizers[name]
        parameters: Sequence[nn.Parameter] = optimizer.param_groups[0]["params"]
        for parameter, gradient in zip(parameters, averaged(gradients), strict=True):
            # The fused step walks both side by side in memory: unequal strides would be silent nonsense.
            fits = gradient.stride() == parameter.stride()
            parameter.grad = gradient if fits else torch.empty_like(parameter).copy_(gradient)
        if self.settings.clip_gradient:
            nn.utils.clip_grad_norm_(parameters, self.settings.clip_gradient)
        optimizer.step()
        for parameter in parameters:
            parameter.grad = None

    # Optimisers and averages.

    def ready(self) -> None:
        """Call once the networks exist and are where they belong: start the average from the policy."""
        self.average = copy.deepcopy(self.policy()).requires_grad_(False)

    def add_optimizer(self, name: str, parameters: Iterable[nn.Parameter], lr: float) -> None:
        """Create the Adam optimiser called `name`; `lr` is its step size before any schedule."""
        graphed = self.settings.graphed
        rate = torch.tensor(lr, device=self.settings.device) if graphed else lr
        self.optimizers[name] = torch.optim.Adam(list(parameters), lr=rate, fused=True, capturable=graphed)
        self.optimizers[name].param_groups[0]["base_lr"] = lr

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give every encoder, averaged and target ones included, mean and scale of its poses, (P,) each."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.standardise(mean, scale)

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
        if self.settings.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * self.updates_done / self.settings.updates))

    @torch.no_grad()
    def average_policy(self) -> None:
        """Move the averaged policy towards the current one; early on it follows faster."""
        most = self.settings.average_decay
        decay = min(most, (1 + self.updates_done) / (10 + self.updates_done)) if most else 0.0
        move_towards(list(self.average.parameters()), list(self.policy().parameters()), 1 - decay)

    # Random numbers, drawn for the whole batch by every rank, which keeps its own part.

    def draw_shifts(self, size: int) -> Shifts:
        """Shifts for `size` states, if they have images and these are to move."""
        if self.shape.image is None or self.settings.shift == 0:
            return Shifts(None, None)
        batch = joint((size,))[0]
        pixels, cameras = self.settings.shift, len(self.shape.pictures())
        both = [
            own(random_offsets(batch, pixels, self.generator, cameras=cameras), dimension=1) for _ in range(2)
        ]
        return Shifts(*both)

    def draw_normal(self, *shape: int) -> Tensor:
        """Standard normal numbers of this shape, of which the first dimension counts the states."""
        return own(
            torch.randn(
                joint(shape), generator=self.generator, device=self.generator.device, dtype=self._dtype()
            )
        )

    def draw_uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1) of this shape, of which the first dimension counts the states."""
        return own(
            torch.rand(
                joint(shape), generator=self.generator, device=self.generator.device, dtype=self._dtype()
            )
        )

    def draw_noise(self, size: int, count: int) -> Noise:
        """What picks `count` actions of a stochastic policy at each of `size` states."""
        switches = self.settings.network.switches
        normal = self.draw_normal(size, count, self.action_dimensions - switches)
        return Noise(normal, self.draw_uniform(size, count, switches) if switches else None)

    # Helpers of losses.

    def augmented(self, batch: Batch, shifts: Shifts) -> tuple[Images | None, Images | None]:
        """Images before and after, shifted once for the whole update."""
        if batch.images is None or batch.next_images is None:
            return None, None
        images = shifted(batch.images, self.settings.shift, shifts.before)
        return images, shifted(batch.next_images, self.settings.shift, shifts.after)

    def autocast(self) -> AbstractContextManager[object]:
        """The arithmetic that the settings ask for."""
        if self.settings.precision != "bfloat16":
            return contextlib.nullcontext()
        # Weights cast once for two losses would be one node of two graphs, which the compiler refuses.
        cached = not self.settings.compiled
        return torch.autocast(torch.device(self.settings.device).type, torch.bfloat16, cache_enabled=cached)

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


@torch.no_grad()
def move_towards(targets: Sequence[Tensor], sources: Sequence[Tensor], rate: float) -> None:
    """targets += rate * (sources - targets), in place."""
    torch._foreach_lerp_(list(targets), [source.detach() for source in sources], rate)
