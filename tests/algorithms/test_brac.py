"""BRAC against its equations: the divergence, where it counts, and the behaviour policy, cloned first."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from cog.algorithms.brac import BRAC, CLONE, FULL, WARM_UP
from cog.algorithms.shared.divergences import kl_estimate, log_ratio, switch_kl
from cog.networks.distribution import TanhGaussian
from cog.replay.buffer import Batch, Buffer
from cog.training import checkpoint
from cog.training.setup import create
from cog.training.train import train
from tests.helpers.learner_data import config, noise


def made(images: bool = False, **changes: Any) -> tuple[BRAC, Batch]:
    """A small agent and a batch."""
    settings = config(algorithm="brac", **changes)
    buffer = Buffer(noise(images=images), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, BRAC)
    return agent, buffer.sample(agent.generator)


def policies(moves: int, switches: int = 0) -> tuple[TanhGaussian, TanhGaussian]:
    """Two policies at three states."""
    generator = torch.Generator().manual_seed(moves)

    def one() -> TanhGaussian:
        mean, log_std = (torch.randn(3, moves, generator=generator, dtype=torch.float64) for _ in range(2))
        odds = torch.randn(3, switches, generator=generator, dtype=torch.float64) if switches else None
        return TanhGaussian(mean, 0.5 * log_std, odds)

    return one(), one()


def gaussian(policy: TanhGaussian) -> Independent:
    """The policy before tanh."""
    return Independent(Normal(policy.mean, policy.log_std.exp()), 1)


def normal(*shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def behaviour_of(agent: BRAC) -> list[Tensor]:
    """Copies of the behaviour policy's weights."""
    weights = [*agent.behaviour.parameters(), *agent.behaviour_encoder.parameters()]
    return [one.detach().clone() for one in weights]


@pytest.mark.parametrize("switches", [0, 2])
def test_a_policy_that_is_the_behaviour_has_no_divergence_in_any_sample(switches: int) -> None:
    policy, _ = policies(2, switches)
    torch.testing.assert_close(kl_estimate(policy, policy, normal(3, 5, 2)), torch.zeros(3).double())


@pytest.mark.parametrize("moves", [1, 3])
def test_the_estimate_converges_to_the_closed_form_of_gaussians_and_so_does_its_gradient(moves: int) -> None:
    policy, behaviour = policies(moves)
    for part in policy[:2]:
        part.requires_grad_()  # type: ignore[union-attr]
    found = kl_estimate(policy, behaviour, normal(3, 200_000, moves))
    exact = kl_divergence(gaussian(policy), gaussian(behaviour))
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.02)
    if moves == 1:
        (mp, sp), (mb, sb) = ((p.mean[:, 0], p.log_std[:, 0].exp()) for p in (policy, behaviour))
        by_hand = torch.log(sb / sp) + (sp**2 + (mp - mb) ** 2) / (2 * sb**2) - 0.5
        torch.testing.assert_close(exact, by_hand)
    parts = [policy.mean, policy.log_std]
    gradients = (torch.autograd.grad(one.sum(), parts) for one in (found, exact))
    for ours, other in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, other, rtol=0.02, atol=0.05)


def test_each_sample_is_the_difference_of_log_densities_after_tanh() -> None:
    policy, behaviour = policies(2)
    noise_of = normal(3, 4, 2)
    pre_tanh = policy.mean[:, None] + policy.log_std.exp()[:, None] * noise_of
    found = log_ratio(policy, behaviour, noise_of)
    for i in range(4):
        densities = [
            Normal(p.mean, p.log_std.exp()).log_prob(pre_tanh[:, i])
            - torch.log(1 - pre_tanh[:, i].tanh().square())
            for p in (policy, behaviour)
        ]
        torch.testing.assert_close(found[:, i], (densities[0] - densities[1]).sum(1))
        asked = behaviour.log_prob(pre_tanh[:, i].tanh(), 1 - 1e-12)
        torch.testing.assert_close(asked, densities[1].sum(1), rtol=1e-6, atol=1e-6)


def test_far_out_where_tanh_is_1_the_divergence_is_still_exact() -> None:
    policy = TanhGaussian(torch.tensor([[30.0]]), torch.tensor([[0.0]]))
    behaviour = TanhGaussian(torch.tensor([[28.0]]), torch.tensor([[0.0]]))
    assert float(log_ratio(policy, behaviour, torch.zeros(1, 1, 1))) == pytest.approx(2.0)


def test_the_divergence_of_switches_is_the_sum_over_all_their_settings() -> None:
    policy, behaviour = policies(1, switches=2)
    drawn = normal(3, 1, 1)
    actions, log_pi, probability = policy.enumerate_switches(drawn)
    limit = 1 - 1e-12
    log_b = torch.stack([behaviour.log_prob(actions[:, m], limit) for m in range(4)], 1)
    found = kl_estimate(policy, behaviour, drawn)
    torch.testing.assert_close(found, (probability * (log_pi - log_b)).sum(1), rtol=1e-6, atol=1e-6)
    assert policy.odds is not None and behaviour.odds is not None
    coins = [torch.distributions.Bernoulli(logits=p.odds) for p in (policy, behaviour)]
    torch.testing.assert_close(switch_kl(policy.odds, behaviour.odds), kl_divergence(*coins).sum(1))


def plain_value(agent: BRAC, batch: Batch, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """min_k Q'_k(s', a') alone, and the divergence at s'."""
    features = agent.encode(None, None, batch)
    policy = agent.actor(features.next_actor)
    actions = policy.enumerate_switches(drawn[:, :1])[0]
    q = agent.target.q(agent.target.project(features.next_target), actions)[..., 0].amin(0)
    return q, kl_estimate(policy, agent.behaviour_at(None, batch.next_proprio), drawn)


@torch.no_grad()
def found_value(agent: BRAC, batch: Batch, drawn: Tensor) -> Tensor:
    """The value of the next states as the agent has it."""
    return agent.next_value(agent.encode(None, None, batch), None, batch, drawn)[0]


@torch.no_grad()
def test_targets_hold_the_divergence_by_its_weight_and_none_of_it_where_they_should_not() -> None:
    for changes, weight in (
        ({"divergence_weight": 0.7}, 0.7),
        ({"divergence_weight": 0.0}, 0.0),
        ({"divergence_weight": 0.7, "penalty": "policy"}, 0.0),
    ):
        agent, batch = made(**changes)
        for head in (agent.behaviour.mean, agent.actor.mean):
            head.weight.normal_(generator=torch.Generator().manual_seed(1))
        agent.behaviour.mean.bias.fill_(2.0)
        drawn = agent.draws(8).next_policy
        q, divergence = plain_value(agent, batch, drawn)
        assert float(divergence.abs().min()) > 0.1
        found = found_value(agent, batch, drawn)
        if weight:
            torch.testing.assert_close(found, q - weight * divergence)
        else:
            assert torch.equal(found, q)


def test_the_critics_regress_on_the_penalised_value_and_end_at_terminals() -> None:
    agent, batch = made()
    batch = batch._replace(bootstrap=torch.tensor([0.5] * 7 + [0.0]))
    states = agent.critic.project(agent.critic.encode(None, batch.proprio))
    loss, metrics = agent.critic_loss(states, torch.full((8,), 4.0), batch)
    target = batch.rewards + torch.tensor([2.0] * 7 + [0.0])
    q = agent.critic.q(states, batch.actions[:, None])[..., 0].detach()
    assert float(metrics["q_target"]) == pytest.approx(float(target.mean()))
    assert float(loss.detach()) == pytest.approx(float((q - target).square().mean(1).sum()), rel=1e-5)


def test_the_actor_climbs_the_lower_critic_less_the_divergence() -> None:
    agent, batch = made(divergence_weight=0.7, entropy_weight=0.2)
    with torch.no_grad():
        agent.critic.last.weight.zero_()
        agent.critic.last.bias.copy_(torch.tensor([[[3.0]], [[1.0]]]))
    features = agent.encode(None, None, batch)
    states, policy = agent.critic.project(features.critic), agent.actor(features.actor)
    behaviour, drawn = agent.behaviour_at(None, batch.proprio), agent.draws(8).policy
    _, metrics = agent.actor_loss(states, policy, behaviour, drawn, FULL)
    divergence = kl_estimate(policy, behaviour, drawn).mean()
    log_pi = policy.enumerate_switches(drawn[:, :1])[1].mean()
    expected = (0.7 * divergence + 0.2 * log_pi - 1).detach()
    assert float(metrics["q_policy"]) == 1.0
    assert float(metrics["actor_loss"]) == pytest.approx(float(expected), rel=1e-4)
    _, warm = agent.actor_loss(states, policy, behaviour, drawn, WARM_UP)
    assert float(warm["actor_loss"] - metrics["actor_loss"]) == pytest.approx(1.0, rel=1e-5)


def test_behaviour_is_cloned_first_then_frozen_while_the_others_learn() -> None:
    agent, batch = made(behaviour_updates=2, warm_up_updates=1)
    parts, moved = [], []
    for _ in range(4):
        watched = [agent.critic.last.weight, agent.target.last.weight, agent.actor.mean.weight]
        before, behaviour = [one.detach().clone() for one in watched], behaviour_of(agent)
        parts += agent.phases()
        agent.update(batch)
        same = all(torch.equal(a, b) for a, b in zip(behaviour, behaviour_of(agent), strict=True))
        moved.append([not same, *(not torch.equal(a, b) for a, b in zip(watched, before, strict=True))])
    assert parts == [CLONE, CLONE, WARM_UP, FULL]
    assert moved == [[True, False, False, False]] * 2 + [[False, True, True, True]] * 2


def test_cloning_makes_the_data_likely_and_takes_an_encoder_of_its_own_where_the_rest_share_one() -> None:
    agent, batch = made(images=True, behaviour_updates=60, behaviour_lr=0.01)
    assert agent.actor_encoder is None
    first = agent.update(batch)["behaviour_likelihood"]
    own = {id(one) for one in agent.optimizers["behaviour"].param_groups[0]["params"]}
    assert {id(one) for one in agent.behaviour_encoder.parameters()} < own
    for _ in range(59):
        last = agent.update(batch)["behaviour_likelihood"]
    assert float(last - first) > 1
    again = agent.update(batch)["behaviour_likelihood"]
    assert agent.update(batch)["behaviour_likelihood"] == again  # critics have trained their encoder since


def test_a_run_that_was_interrupted_while_cloning_resumes_to_the_bit(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"algorithm": "brac", "behaviour_updates": 5, "warm_up_updates": 1}
    data = noise(images=False)
    train(config(tmp_path / "whole", updates=8, **changes), data)
    for updates in (3, 8):
        train(config(tmp_path / "parts", updates=updates, **changes), data, resume=updates == 8)
    whole, parts = (checkpoint.load(tmp_path / run) for run in ("whole", "parts"))
    for kind in ("model", "optimizer"):
        first, second = whole.tensors(kind), parts.tensors(kind)
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_dear_divergence_keeps_the_policy_at_the_behaviour_and_a_free_one_lets_it_go() -> None:
    distance = {}
    for weight in (0.0, 1.0):
        agent, batch = made(divergence_weight=weight, behaviour_updates=20, behaviour_lr=0.01, actor_lr=0.01)
        for _ in range(120):
            metrics = agent.update(batch)
        distance[weight] = float(metrics["divergence"])
    assert distance[1.0] < 1 < 10 < distance[0.0]
