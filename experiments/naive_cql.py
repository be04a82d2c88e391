"""A CQL step as the reference writes it, for timing: every action set takes its images through again.

Same networks, losses and hyper-parameters as `cog.cql.CQL`; what differs is the plan of the computation. It
follows github.com/avisingh599/cog at 98252e1 (rlkit/torch/sac/cql.py): images are repeated once for each
sampled action, the policy runs anew for each set of actions, every network pass draws its own crops, Q losses
backpropagate into the policy and the policy's loss into the critics (both then dropped). Kept out are plain
mistakes: a policy pass whose result is unused, a graph for the target, a BxB broadcast. The reference's order
of optimiser steps does not run on current PyTorch; all gradients are computed first here.
"""

import math

import torch
from torch import Tensor

from cog.augment import random_shift
from cog.buffer import Batch
from cog.cql import CQL
from cog.networks import Critic


def naive_update(agent: CQL, batch: Batch) -> dict[str, Tensor]:
    """One update of `agent`'s networks by the naive plan, with fixed conservative weight."""
    assert batch.images is not None and batch.next_images is not None
    cql, number = agent.config.cql, agent.config.cql.sampled_actions
    images, next_images, pose, next_pose = batch.images, batch.next_images, batch.proprio, batch.next_proprio
    temperature = agent.log_temperature.exp()

    mine, log_prob = sample(agent, images, pose)
    temperature_loss = -(agent.log_temperature * (log_prob.detach() + agent.target_entropy)).mean()
    actor_loss = (
        temperature.detach() * log_prob - evaluate(agent, agent.critic, images, pose, mine).amin(0)
    ).mean()

    q_data = evaluate(agent, agent.critic, images, pose, batch.actions)
    with torch.no_grad():
        next_actions, _ = sample(agent, next_images, next_pose)
        next_q = evaluate(agent, agent.target, next_images, next_pose, next_actions).amin(0)
        target = batch.rewards + batch.bootstrap * next_q
    td_loss = (q_data - target).square().mean(1).sum()

    many, many_pose = images.repeat_interleave(number, 0), pose.repeat_interleave(number, 0)
    next_many, next_many_pose = (
        next_images.repeat_interleave(number, 0),
        next_pose.repeat_interleave(number, 0),
    )
    shape = (len(many), batch.actions.shape[1])
    uniform = 2 * torch.rand(shape, generator=agent.generator, device=many.device) - 1
    here, here_density = sample(agent, many, many_pose)
    there, there_density = sample(agent, next_many, next_many_pose)
    size = (2, len(images), number)
    scored = [
        evaluate(agent, agent.critic, many, many_pose, uniform).view(size) + uniform.shape[1] * math.log(2),
        evaluate(agent, agent.critic, many, many_pose, there).view(size)
        - there_density.detach().view(size[1:]),
        evaluate(agent, agent.critic, many, many_pose, here).view(size)
        - here_density.detach().view(size[1:]),
    ]
    gap = (torch.logsumexp(torch.cat(scored, -1), -1) - q_data).mean(1).sum()

    losses = {
        "temperature": temperature_loss,
        "actor": actor_loss,
        "critic": td_loss + cql.conservative_weight * gap,
    }
    gradients = {name: gradients_of(agent, name, loss) for name, loss in losses.items()}
    for name, values in gradients.items():
        for parameter, value in zip(agent.optimizers[name].param_groups[0]["params"], values, strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(value)
        agent.optimizers[name].step()
    agent.update_targets()
    agent.updates_done += 1
    return {"td_loss": td_loss.detach() / 2, "conservative_gap": gap.detach() / 2}


def sample(agent: CQL, images: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """One action a state by a full pass of the policy: (B, A) and log-density (B,)."""
    images = random_shift(images, agent.config.shift, agent.generator)
    actions, log_prob = agent.actor(agent.policy_encoder()(images, pose)).sample(1, agent.generator)
    return actions[:, 0], log_prob[:, 0]


def evaluate(agent: CQL, critic: Critic, images: Tensor, pose: Tensor, actions: Tensor) -> Tensor:
    """Q (2, B) of one action a row by a full pass of each critic, the image included."""
    features = critic.encode(random_shift(images, agent.config.shift, agent.generator), pose)
    return critic.q(critic.project(features), actions[:, None])[..., 0]


def gradients_of(agent: CQL, name: str, loss: Tensor) -> list[Tensor]:
    """Backpropagate wherever the loss reaches, as `loss.backward()` does; keep one optimiser's part."""
    everything = [parameter for parameter in agent.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, everything, retain_graph=True, allow_unused=True)
    found = {id(parameter): gradient for parameter, gradient in zip(everything, gradients, strict=True)}
    return [found[id(parameter)] for parameter in agent.optimizers[name].param_groups[0]["params"]]
