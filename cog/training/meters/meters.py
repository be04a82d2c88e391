"""All failure meters of a run, read from an agent at some updates and logged with its metrics.

They are built once, from the data and the seed of the run, with a generator of their own: nothing that the
run computes depends on them, and a resumed run reads the same as one that was never interrupted.

Shapes: B probe states, A action dimensions, D numbers that describe a state.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cog.algorithms.shared.base import Algorithm
from cog.networks.actor import PolicyNetwork
from cog.networks.distribution import ClippedGaussian, TanhGaussian, snap_switches
from cog.networks.encoder import Images, each
from cog.networks.flow import OneStep
from cog.replay.buffer import Batch, Buffer
from cog.training.config import TrainConfig
from cog.training.meters.behaviour import Behaviour, cloned
from cog.training.meters.rollout import Model, Stretches
from cog.training.meters.support import Describer, Support

PROBES = 256  # states at which the policy is looked at
REFERENCE = 4096  # steps that its actions are compared with
SIZE = "meter/q_size"
_STREAM = 1_000_003  # other streams of the same seed: batches and sampled actions


class Probes(NamedTuple):
    """Fixed transitions at which everything is read, and what never changes there."""

    batch: Batch
    actions: Tensor  # (B, A) of the data, switches at -1 or 1
    states: Tensor  # (B, D)
    goes_on: Tensor  # (b,) numbers of the transitions whose next state has a value
    next_states: Tensor | None  # (b, D) of these; none if there are none


class _Built(NamedTuple):
    """What the first reading builds."""

    probes: Probes
    support: Support
    behaviour: Behaviour
    stretches: Stretches | None
    constant: dict[str, float]


class Meters:
    """The meters of one run."""

    def __init__(self, config: TrainConfig, buffer: Buffer, size_before: float | None = None) -> None:
        """Nothing is built yet; `size_before` is the last `meter/q_size` that the run has logged."""
        self.config = config
        self.buffer = buffer.twin()  # whose count of draws is its own
        self.size_before = size_before
        self._built: _Built | None = None

    @torch.no_grad()
    def read(self, agent: Algorithm[Any]) -> dict[str, float]:
        """Every meter that this algorithm has, by the name under which it is logged.

        The averaged policy is read, which acts in evaluation, and the target critics, which also choose with
        `--acting critic`.
        """
        if self._built is None:
            self._built = self._build(agent)
        built = self._built
        probes = built.probes
        actions = agent.average(probes.batch.images, probes.batch.proprio).mode()
        found = {
            "meter/action_distance": float(built.support.distance(probes.states, actions).mean()),
            "meter/log_likelihood": float(built.behaviour.log_likelihood(probes.states, actions).mean()),
            **built.constant,
        }
        if agent.bootstraps_from == "policy" and probes.next_states is not None:
            next_actions = self._next_actions(agent, probes)
            outside = built.support.outside(probes.next_states, next_actions)
            found["meter/outside_share"] = float(outside.float().mean())
        if agent.choosing_critics is not None:
            found |= self._values(getattr(agent, agent.choosing_critics), actions, probes)
        if built.stretches is not None and isinstance(agent, Model):
            errors = built.stretches.errors(agent)
            found |= {f"meter/model_error_{horizon}": error for horizon, error in errors.items()}
        return found

    def _build(self, agent: Algorithm[Any]) -> _Built:
        """Draw probes and reference as batches are drawn, and clone the data's behaviour."""
        buffer, switches = self.buffer, self.config.network.switches
        generator = torch.Generator(device=buffer.device).manual_seed(self.config.seed ^ _STREAM)
        probed = buffer.draw(generator, PROBES).unique()
        every = buffer.drawable()
        if len(every) > REFERENCE:
            every = torch.cat([probed, buffer.draw(generator, REFERENCE - len(probed))]).unique()
        describe = Describer(buffer, every)
        actions = snap_switches(buffer.actions, switches)
        support = Support(describe(buffer.frame_index[every]), actions[every])
        goes_on = buffer.bootstrap[probed].nonzero()[:, 0]
        probes = Probes(
            buffer.gather(probed),
            actions[probed],
            describe(buffer.frame_index[probed]),
            goes_on,
            describe(buffer.after[probed[goes_on]]) if len(goes_on) else None,
        )
        with torch.enable_grad():
            behaviour = cloned(buffer, describe, self.config.network, self.config.seed, generator)
        likelihood = behaviour.log_likelihood(probes.states, probes.actions)
        constant = {
            "meter/data_distance": support.band,
            "meter/data_log_likelihood": float(likelihood.mean()),
        }
        stretches = Stretches(buffer, generator) if isinstance(agent, Model) else None
        return _Built(probes, support, behaviour, stretches, constant)

    def _next_actions(self, agent: Algorithm[Any], probes: Probes) -> Tensor:
        """The actions (b, A) of the current policy at the next states that have a value."""
        images, poses = probes.batch.next_images, probes.batch.next_proprio[probes.goes_on]
        images = None if images is None else each(images, lambda one: one[probes.goes_on])
        return bootstrapped(agent.policy(), images, poses, self.config.seed)

    def _values(self, critic: Any, actions: Tensor, probes: Probes) -> dict[str, float]:
        """What the critics expect of the policy's and the data's actions, and how large that has grown."""
        states = critic.project(critic.encode(probes.batch.images, probes.batch.proprio))
        q = critic.q(states, torch.stack([actions, probes.actions], 1))  # (K, B, 2)
        policy, data = q.amin(0).mean(0).tolist()
        size = float(q.abs().max())
        found = {"meter/q_policy": policy, "meter/q_data": data, SIZE: size}
        if self.size_before and size:
            found["meter/q_growth"] = math.log10(size / self.size_before)
        self.size_before = size
        return found


def bootstrapped(policy: PolicyNetwork, images: Images | None, poses: Tensor, seed: int) -> Tensor:
    """The actions (B, A) at these states that a target would look at: always the same draw, or the mode.

    A Gaussian policy and one of one step (FQL) bootstrap from their draws; every other kind from the action
    that it would take.
    """
    found = policy(images, poses)
    if not isinstance(found, (TanhGaussian, ClippedGaussian, OneStep)):
        return found.mode()
    generator = torch.Generator(device=poses.device).manual_seed(seed ^ _STREAM)
    shape = (len(poses), 1, policy.noise_dimensions)
    return found.drawn(torch.randn(shape, generator=generator, device=poses.device))[:, 0]
