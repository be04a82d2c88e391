"""A CQL step as the reference writes it, for comparison: every action set takes its images through again.

Same networks, losses and hyper-parameters as `cog.algorithms.cql.CQL`; what differs is the plan of the
computation. It follows github.com/avisingh599/cog at 98252e1 (rlkit/torch/sac/cql.py): images are repeated
once for each sampled action, the policy runs anew for each set, every pass draws its own crops, Q losses
backpropagate into the policy and the policy's loss into the critics (both then dropped). Kept out are plain
mistakes: a policy pass whose result is unused, a graph for the target, a BxB broadcast. The reference's order
of optimiser steps does not run on current PyTorch; all gradients are computed first here.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from cog.algorithms.cql import CQL, FULL
from cog.algorithms.shared.base import Gradients, Metrics, Phase
from cog.errors import UsageError
from cog.networks.critic import Critic
from cog.networks.distribution import Noise, TanhGaussian
from cog.networks.encoder import Encoder
from cog.networks.images.augment import random_shift, shifted
from cog.replay.buffer import Batch

Plan = Literal["reference", "repeated", "encoded once"]
"""How the same losses are computed: as the reference does; with one crop an update, as `CQL` has it; and with
each image encoded once besides, its features repeated for every action and the first layer not split."""


class NaivePlan:
    """Stands in for `CQL.gradients` of CQL(H), without switches, warm-up, Lagrange form, backup actions."""

    def __init__(self, agent: CQL, plan: Plan) -> None:
        cql, network = agent.config, agent.settings.network
        unknown = (cql.lagrange_gap, cql.bc_margin)
        if network.switches or cql.backup_actions > 1 or unknown != (None, None):
            raise UsageError("the naive plan knows no switches, lagrange_gap, backup_actions or bc_margin")
        if cql.variant != "cql_h":
            raise UsageError(f"cql.variant is {cql.variant}; the naive plan knows cql_h alone")
        self.agent, self.plan = agent, plan
        self.encoded: dict[tuple[int, int, bool], Tensor] = {}

    def __call__(self, batch: Batch, draws: CQL.Draws, phase: Phase) -> tuple[dict[str, Gradients], Metrics]:
        """Gradients of every loss for its optimiser's parameters, and metrics."""
        assert phase == FULL
        losses, metrics = self.losses(batch, draws)
        gradients = {name: self._gradients_of(name, loss) for name, loss in losses.items()}
        self.encoded.clear()
        return gradients, metrics

    def losses(self, batch: Batch, draws: CQL.Draws) -> tuple[dict[str, Tensor], Metrics]:
        """The losses of one update, by the plan."""
        agent, cql = self.agent, self.agent.config
        assert isinstance(batch.images, Tensor) and isinstance(batch.next_images, Tensor)
        images, next_images, number = batch.images, batch.next_images, cql.sampled_actions
        if self.plan != "reference":
            images = shifted(images, agent.settings.shift, draws.shifts.before)
            next_images = shifted(next_images, agent.settings.shift, draws.shifts.after)
        state, following = (images, batch.proprio), (next_images, batch.next_proprio)

        policy, pi_actions, log_pi = self._sample(*state, draws.policy)
        temperature_loss, _ = agent.temperature_loss(log_pi)
        q_policy = self._q(agent.critic, *state, pi_actions).amin(0)
        actor_loss = (agent.log_temperature.exp().detach() * log_pi - q_policy).mean()
        if cql.bc_weight:
            likelihood = policy.log_prob(batch.actions, agent.settings.network.action_limit)
            actor_loss = actor_loss - cql.bc_weight * likelihood.mean()

        q_data = self._q(agent.critic, *state, batch.actions)
        with torch.no_grad():
            _, next_actions, _ = self._sample(*following, draws.backup.normal)
            next_q = self._q(agent.target, *following, next_actions).amin(0)
            target = batch.rewards + batch.bootstrap * next_q
            if agent.return_bounds is not None:
                target = target.clamp(*agent.return_bounds)
        td_loss = (q_data - target).square().mean(1).sum()

        random_actions = 2 * draws.uniform.flatten(0, 1) - 1
        _, sampled, pi_density = self._sample(*state, draws.sampled.normal)
        _, next_sampled, next_density = self._sample(*following, draws.next_sampled.normal)
        density = torch.full_like(pi_density, -random_actions.shape[1] * math.log(2))
        size = (2, len(images), number)
        q_sampled = [
            self._q(agent.critic, *state, one).view(size) for one in (random_actions, sampled, next_sampled)
        ]
        scored = [
            q - one.detach().view(size[1:])
            for q, one in zip(q_sampled, (density, pi_density, next_density), strict=True)
        ]
        gap = (torch.logsumexp(torch.cat(scored, -1), -1) - q_data).mean(1)
        losses = {
            "critic": td_loss + cql.conservative_weight * gap.sum(),
            "actor": actor_loss,
            "temperature": temperature_loss,
        }
        return losses, {
            "td_loss": td_loss.detach() / 2,
            "q_data": q_data.detach().mean(),
            "q_sampled": torch.cat(q_sampled, -1).detach().mean(),
            "conservative_gap": gap.detach().mean(),
            "q_policy": q_policy.detach().mean(),
            "actor_loss": actor_loss.detach(),
        }

    def _sample(self, images: Tensor, pose: Tensor, normal: Tensor) -> tuple[TanhGaussian, Tensor, Tensor]:
        """What `normal` (B, N, A) picks, a pass a row: the policy, actions (BN, A), log-densities (BN,)."""
        features = self._features(self.agent.policy_encoder(), images, pose, normal.shape[1])
        if self.agent.actor_encoder is None:
            features = features.detach()  # the encoder is the critics' to train
        policy: TanhGaussian = self.agent.actor(features)
        actions, log_prob = policy.sample(Noise(normal.flatten(0, 1)[:, None]))
        return policy, actions[:, 0], log_prob[:, 0]

    def _q(self, critic: Critic, images: Tensor, pose: Tensor, actions: Tensor) -> Tensor:
        """Q (2, BN) of one action a row by a full pass of each critic, the image included."""
        repeats = len(actions) // len(images)
        encoders = [encoder for encoder in critic.encoders if isinstance(encoder, Encoder)]
        features = torch.stack([self._features(encoder, images, pose, repeats) for encoder in encoders])
        return critic.q(critic.project(features), actions[:, None])[..., 0]

    def _features(self, encoder: Encoder, images: Tensor, pose: Tensor, repeats: int) -> Tensor:
        """Features (B * repeats, F): of every repeated image, or of each image once, repeated."""
        agent = self.agent
        if self.plan != "encoded once":
            many = images.repeat_interleave(repeats, 0)
            if self.plan == "reference":
                many = random_shift(many, agent.settings.shift, agent.generator)
            found: Tensor = encoder(many, pose.repeat_interleave(repeats, 0))
            return found
        key = (id(encoder), id(images), torch.is_grad_enabled())
        if key not in self.encoded:
            self.encoded[key] = encoder(images, pose)
        return self.encoded[key].repeat_interleave(repeats, 0)

    def _gradients_of(self, name: str, loss: Tensor) -> Gradients:
        """Backpropagate wherever the loss reaches, as `loss.backward()` does; keep one optimiser's part."""
        agent = self.agent
        everything = [parameter for parameter in agent.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, everything, retain_graph=True, allow_unused=True)
        found = {id(parameter): gradient for parameter, gradient in zip(everything, gradients, strict=True)}
        return [found[id(parameter)] for parameter in agent.optimizers[name].param_groups[0]["params"]]
