"""Policies that turn noise into actions: a flow that is integrated, and one network that does it at once.

A flow carries a normal z at time 0 to an action at time 1 along straight lines x_t = (1 - t) z + t a, and a
network learns their mean velocity (Lipman et al., "Flow Matching for Generative Modeling", 2023; Park et al.,
"Flow Q-Learning", 2025). It can have as many modes as the data. One Euler step would give the mean of the
data's actions whatever z is; ten keep the modes apart.

The network has no normalisation, so that the product of its matrices' largest singular values bounds how fast
its output changes.

Shapes: B states, F features, H hidden units, A action dimensions of which the last S are switches, n draws
per state, I inputs.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cog.errors import UsageError
from cog.networks.config import NetworkConfig
from cog.networks.distribution import snap_switches
from cog.networks.precision import full_precision, widened

COSINES = 8  # of the time, which the vector field sees
SQUARINGS = 12  # 4096 steps of power iteration: sigma is right to 1e-4 even without a spectral gap


class ActionNetwork(nn.Module):
    """A states' vector and n others per state -> A numbers for each of these, with the actor's widths.

    The first layer is split, W[f; x] = Wf f + Wx x, so that features are multiplied once per state.
    """

    def __init__(self, features: int, inputs: int, actions: int, config: NetworkConfig) -> None:
        """Build the layers.

        Raises:
            UsageError: the actor has no hidden layer.
        """
        super().__init__()
        if not config.actor_widths:
            raise UsageError(
                "a policy that draws needs at least one hidden layer", where="network.actor_widths"
            )
        first, *others = config.actor_widths
        self.of_state = nn.Linear(features, first)
        self.of_input = nn.Linear(inputs, first, bias=False)
        bound = 1 / math.sqrt(features + inputs)
        for weight in self.of_state.weight, self.of_state.bias, self.of_input.weight:
            nn.init.uniform_(weight, -bound, bound)
        self.hidden = nn.ModuleList(nn.Linear(*widths) for widths in itertools.pairwise((first, *others)))
        self.last = nn.Linear(config.actor_widths[-1], actions)

    def project(self, features: Tensor) -> Tensor:
        """The states' part of the first layer, (B, H), from features (B, F)."""
        projected: Tensor = self.of_state(features)
        return projected

    def forward(self, states: Tensor, inputs: Tensor) -> Tensor:
        """Outputs (B, n, A) for inputs (B, n, I) at projected states (B, H)."""
        hidden = F.relu(self.of_input(inputs) + states[:, None])
        for layer in self.hidden:
            hidden = F.relu(layer(hidden))
        with full_precision(hidden):
            output: Tensor = self.last(widened(hidden))
        return output

    def matrices(self) -> Iterator[Tensor]:
        """The matrix of each layer, first to last."""
        yield torch.cat([self.of_state.weight, self.of_input.weight], 1)
        for layer in (*self.hidden, self.last):
            assert isinstance(layer, nn.Linear)
            yield layer.weight


class VectorField(nn.Module):
    """v(s, x, t): the velocity at time t of the flow that is at x; it sees t as cos(pi k t), k = 1, 2, ..."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.network = ActionNetwork(features, actions + COSINES, actions, config)

    def project(self, features: Tensor) -> Tensor:
        """The states' part of the first layer, (B, H), from features (B, F)."""
        return self.network.project(features)

    def forward(self, states: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Velocities (B, n, A) at x (B, n, A) and times (B, n, 1) in [0, 1], at projected states (B, H)."""
        number = torch.arange(1, COSINES + 1, device=time.device, dtype=time.dtype)
        velocity: Tensor = self.network(states, torch.cat([x, (math.pi * number * time).cos()], -1))
        return velocity

    def matching_error(self, features: Tensor, actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """mean over components of (v(s, x_t, t) - (a - z))^2, (B,), x_t = (1 - t) z + t a.

        For actions a (B, A), standard normal noise z (B, A) and times t (B, 1) uniform in [0, 1).
        """
        x = (1 - time) * noise + time * actions
        velocity = self(self.project(features), x[:, None], time[:, None])[:, 0]
        return (velocity - (actions - noise)).square().mean(1)


class FlowActor(nn.Module):
    """Features (B, F) -> the policy whose draws are a flow's ends, reached in `steps` Euler steps."""

    def __init__(self, features: int, actions: int, config: NetworkConfig, steps: int) -> None:
        super().__init__()
        self.field = VectorField(features, actions, config)
        self.actions, self.switches, self.steps = actions, config.switches, steps

    def forward(self, features: Tensor) -> "Flow":
        return Flow(self.field, self.field.project(features), self.actions, self.switches, self.steps)


class Flow(NamedTuple):
    """The policy at B states whose draws are the ends of a flow."""

    field: VectorField
    states: Tensor  # (B, H), projected
    actions: int
    switches: int
    steps: int

    def ends(self, noise: Tensor) -> Tensor:
        """Where the flow carries `noise` (B, n, A), (B, n, A), not yet made actions."""
        return euler(lambda x, time: self.field(self.states, x, time), noise, self.steps)

    def drawn(self, noise: Tensor) -> Tensor:
        """The actions (B, n, A) that standard normal `noise` (B, n, A) determines."""
        return as_actions(self.ends(noise), self.switches)

    def mode(self) -> Tensor:
        """The draw of z = 0, (B, A): likely where there is one mode, and between two equal ones where not."""
        return self.drawn(_zeros(self.states, self.actions))[:, 0]


class OneStepActor(nn.Module):
    """Features (B, F) -> the policy mu(s, z), which turns noise into actions at once."""

    def __init__(self, features: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.network = ActionNetwork(features, actions, actions, config)
        self.actions, self.switches = actions, config.switches

    def forward(self, features: Tensor) -> "OneStep":
        return OneStep(self.network, self.network.project(features), self.actions, self.switches)


class OneStep(NamedTuple):
    """The policy mu(s, z) at B states."""

    network: ActionNetwork
    states: Tensor  # (B, H), projected
    actions: int
    switches: int

    def ends(self, noise: Tensor) -> Tensor:
        """mu(s, z), (B, n, A), for `noise` z (B, n, A), not yet made actions."""
        ends: Tensor = self.network(self.states, noise)
        return ends

    def drawn(self, noise: Tensor) -> Tensor:
        """The actions (B, n, A) that standard normal `noise` (B, n, A) determines."""
        return as_actions(self.ends(noise), self.switches)

    def mode(self) -> Tensor:
        """The draw of z = 0, (B, A); the paper acts by random draws."""
        return self.drawn(_zeros(self.states, self.actions))[:, 0]


def euler(velocity: Callable[[Tensor, Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    """x_1 from x_0 = `start` (..., A) by `steps` steps x += v(x, t) / steps; t is (..., 1)."""
    x = start
    for step in range(steps):
        x = x + velocity(x, torch.full_like(x[..., :1], step / steps)) / steps
    return x


def as_actions(ends: Tensor, switches: int) -> Tensor:
    """Actions (..., A): what moves is clipped to [-1, 1], the last `switches` components are -1 or 1."""
    return snap_switches(ends.clamp(-1, 1), switches)


def _zeros(states: Tensor, actions: int) -> Tensor:
    """Noise (B, 1, A) that is 0."""
    return torch.zeros(len(states), 1, actions, dtype=widened(states).dtype, device=states.device)


def squared_spectral_norm(matrix: Tensor) -> Tensor:
    """sigma_max^2 of a matrix W, by power iteration, with its gradient 2 sigma_max u v^T.

    W^T W, or W W^T if smaller, is squared `SQUARINGS` times, which is 2 to that power steps of the iteration
    from every start at once: no start can be unlucky, and there is none to keep.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    with full_precision(matrix):
        with torch.no_grad():
            power = tall.T @ tall
            for _ in range(SQUARINGS):
                power = power / power.diagonal().sum().clamp(min=torch.finfo(power.dtype).tiny)
                power = power @ power
            largest = power.diagonal().argmax()
            vector = F.normalize(power.index_select(1, largest[None])[:, 0], dim=0)
        return (tall @ vector).square().sum()


def spectral_penalty(network: ActionNetwork) -> Tensor:
    """The sum over the network's matrices of sigma_max^2."""
    return torch.stack([squared_spectral_norm(one) for one in network.matrices()]).sum()
