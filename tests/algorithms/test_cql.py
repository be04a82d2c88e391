"""The CQL losses against closed forms, finite differences and the naive plan."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cog.algorithms.cql import CQL, FULL, States
from cog.algorithms.shared.base import Metrics, Shifts
from cog.networks.critic import Critic
from cog.networks.distribution import Noise, TanhGaussian
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.learner_data import config, noise, steps_of


def make(data: Any = None, dtype: torch.dtype = torch.float32, **changes: Any) -> tuple[CQL, Batch]:
    """A small agent and one batch for it."""
    settings = config(**changes)
    buffer = Buffer(
        noise() if data is None else data, torch.device("cpu"), settings.batch_size, "uniform", 0.9
    )
    agent = create(settings, buffer)
    assert isinstance(agent, CQL)
    batch = buffer.sample(agent.generator)
    fields = [
        value.to(dtype) if value is not None and value.is_floating_point() else value for value in batch
    ]
    return agent.to(dtype), Batch(*fields)


def critic_total(agent: CQL, batch: Batch, policies: States | None = None) -> tuple[Tensor, States, Tensor]:
    """The critics' whole loss with fixed noise, what was encoded, and the sampled actions.

    `policies` supplies the policies to draw actions from, which are constants to this loss.
    """
    agent.generator.manual_seed(1)
    draws = agent.draws(len(batch.actions))
    states = agent.states(batch, draws.shifts)
    if policies is not None:
        states = policies._replace(critic=states.critic)
    actions, density = agent.sampled_actions(states, draws)
    q = agent.critic.q(states.critic, torch.cat([batch.actions[:, None], actions], 1))
    td_loss, _ = agent.critic_loss(q[..., 0], batch, states, draws.backup)
    conservative, _ = agent.conservative_loss(q[..., 0], q[..., 1:], density)
    return td_loss + conservative, states, actions


@pytest.mark.parametrize("dimensions", [1, 2])
def test_conservative_loss_converges_to_the_integral_over_actions(dimensions: int) -> None:
    centre = torch.tensor([0.3, -0.5])[:dimensions]

    def q_of(actions: Tensor) -> Tensor:
        return 2.0 - 3.0 * (actions - centre).square().sum(-1)

    axis = (torch.arange(2000, dtype=torch.float64) + 0.5) / 1000 - 1  # cell centres of [-1, 1]
    grid = torch.cartesian_prod(*[axis] * dimensions).view(-1, dimensions)
    exact = float(torch.logsumexp(q_of(grid), 0)) + dimensions * math.log(1 / 1000)
    policy = TanhGaussian(torch.full((4, dimensions), 0.4), torch.full((4, dimensions), -0.5))
    following = TanhGaussian(torch.full((4, dimensions), -0.8), torch.full((4, dimensions), 0.0))
    empty = torch.zeros(1, 4, 1)
    errors = {}
    for number in (30, 30_000):
        agent, _ = make(noise(actions=dimensions), sampled_actions=number, conservative_weight=0.5)
        actions, density = agent.sampled_actions(States(empty, policy, following, empty), agent.draws(4))
        q_data = torch.tensor([[1.0, 0.0, -1.0, 2.0], [0.5, 0.5, 0.5, 0.5]])
        loss, _ = agent.conservative_loss(q_data, q_of(actions).expand(2, -1, -1), density)
        # The loss is weight * sum over critics of mean (log integral + log 3N - Q(data)).
        expected = 0.5 * (2 * (exact + math.log(3 * number)) - float(q_data.mean(1).sum()))
        errors[number] = abs(float(loss) - expected)
    assert errors[30_000] < 0.02
    assert errors[30_000] < errors[30]


@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_actions_of_the_policy_at_s_prime_are_scored_at_s_and_have_their_density_at_s_prime(
    sharing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, batch = make(dtype=torch.float64, sharing=sharing)
    draws = agent.draws(8)
    scored, densities = [], []
    healthy_q, healthy_loss = Critic.q, CQL.conservative_loss

    def q(self: Critic, states: Tensor, actions: Tensor) -> Tensor:
        if self is agent.critic and actions.shape[1] == 1 + 6:  # the data's action and 3N, N = 2
            scored.append((states, actions[:, 1:]))
        return healthy_q(self, states, actions)

    def loss(self: CQL, q_data: Tensor, q_sampled: Tensor, log_density: Tensor) -> tuple[Tensor, Metrics]:
        densities.append(log_density)
        return healthy_loss(self, q_data, q_sampled, log_density)

    monkeypatch.setattr(Critic, "q", q)
    monkeypatch.setattr(CQL, "conservative_loss", loss)
    agent.losses(batch, draws, FULL)
    ((states, actions),), (density,) = scored, densities

    now = agent.critic.project(agent.critic.encode(batch.images, batch.proprio))
    following = agent.critic.project(agent.critic.encode(batch.next_images, batch.next_proprio))
    assert float((now - following).detach().abs().amax(-1).min()) > 1e-3  # s and s' differ everywhere
    torch.testing.assert_close(states, now)

    encoder = agent.policy_encoder()
    present = agent.actor(encoder(batch.images, batch.proprio))
    next_policy = agent.actor(encoder(batch.next_images, batch.next_proprio))

    def drawn(policy: TanhGaussian, normal: Tensor) -> Tensor:
        return torch.tanh(policy.mean[:, None] + policy.log_std.exp()[:, None] * normal)

    def densities_at(policy: TanhGaussian, these: Tensor) -> Tensor:
        return torch.stack([policy.log_prob(these[:, i], 1 - 1e-12) for i in range(2)], 1)

    torch.testing.assert_close(actions[:, :2], 2 * draws.uniform - 1)
    torch.testing.assert_close(actions[:, 2:4], drawn(present, draws.sampled.normal))
    torch.testing.assert_close(actions[:, 4:], drawn(next_policy, draws.next_sampled.normal))
    torch.testing.assert_close(density[:, :2], torch.full((8, 2), -3 * math.log(2), dtype=torch.float64))
    torch.testing.assert_close(density[:, 2:4], densities_at(present, actions[:, 2:4]))
    torch.testing.assert_close(density[:, 4:], densities_at(next_policy, actions[:, 4:]))
    at_s = densities_at(present, actions[:, 4:])
    assert float((density[:, 4:] - at_s).detach().abs().min()) > 1e-6


@pytest.mark.parametrize("sharing", ["shared", "separate"])
@pytest.mark.parametrize("encoder", ["patch", "paper"])
def test_encode_once_gives_the_gradients_of_the_naive_plan(sharing: str, encoder: str) -> None:
    agent, batch = make(dtype=torch.float64, sharing=sharing, encoder=encoder, layer_norm=encoder == "patch")
    parameters = list(agent.critic.parameters())
    loss, encoded, actions = critic_total(agent, batch)
    ours = torch.autograd.grad(loss, parameters)

    def naive_q(one: Tensor) -> Tensor:  # (B, A) -> (2, B): the image goes through again, first layer unsplit
        features = agent.critic.encode(batch.images, batch.proprio).expand(2, -1, -1)
        hidden = torch.cat([features, one.expand(2, -1, -1)], -1)
        weight = torch.cat([agent.critic.of_state.weight, agent.critic.of_action.weight], 1)
        hidden = agent.critic._activate(hidden @ weight + agent.critic.of_state.bias)
        for layer in agent.critic.hidden:
            hidden = agent.critic._activate(layer(hidden))
        q: Tensor = agent.critic.last(hidden)[..., 0]
        return q

    agent.generator.manual_seed(1)
    draws = agent.draws(len(batch.actions))
    _, density = agent.sampled_actions(encoded, draws)
    q_data = naive_q(batch.actions)
    q_sampled = torch.stack([naive_q(actions[:, i]) for i in range(actions.shape[1])], -1)
    td_loss, _ = agent.critic_loss(q_data, batch, encoded, draws.backup)
    conservative, _ = agent.conservative_loss(q_data, q_sampled, density)
    naive = torch.autograd.grad(td_loss + conservative, parameters)
    for mine, other in zip(ours, naive, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("part", ["critic", "actor", "temperature"])
@pytest.mark.parametrize(("sharing", "switches"), [("shared", 0), ("separate", 0), ("shared", 2)])
def test_gradients_agree_with_finite_differences(part: str, sharing: str, switches: int) -> None:
    agent, batch = make(dtype=torch.float64, sharing=sharing, bc_weight=0.3)
    parameters = agent.optimizers[part].param_groups[0]["params"]
    policies = agent.states(batch, Shifts(None, None)) if part == "critic" else None

    def loss_of() -> Tensor:
        total, encoded, _ = critic_total(agent, batch, policies)
        if part == "critic":
            return total
        agent.generator.manual_seed(2)
        if part == "actor":
            return actor_loss(agent, batch, encoded)[0]
        pi = agent.policy_actions(encoded.policy, agent.draws(len(batch.actions)).policy)
        return agent.temperature_loss(pi.log_pi)[0]

    gradients = torch.autograd.grad(loss_of(), parameters)
    rng = torch.Generator().manual_seed(3)
    step = 1e-7  # small, so that no ReLU changes sides on the way
    for _ in range(3):
        ways = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
        values = []
        for sign in (1, -2):
            with torch.no_grad():
                for parameter, way in zip(parameters, ways, strict=True):
                    parameter += sign * step * way
            values.append(loss_of().item())
        with torch.no_grad():
            for parameter, way in zip(parameters, ways, strict=True):
                parameter += step * way

        slope = sum(float((g * w).sum()) for g, w in zip(gradients, ways, strict=True))
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-5)


def actor_loss(agent: CQL, batch: Batch, encoded: States) -> tuple[Tensor, Metrics]:
    """The agent's actor loss as the update computes it."""
    pi = agent.policy_actions(encoded.policy, agent.draws(len(batch.actions)).policy)
    q_data = agent.critic.q(encoded.critic, batch.actions[:, None])[..., 0].detach()
    return agent.actor_loss(pi, q_data, encoded, batch, FULL)


def test_imitation_leaves_out_actions_that_the_critics_put_below_the_policy_by_more_than_the_margin() -> None:
    agent, batch = make(bc_weight=0.3, bc_margin=0.5)
    encoded = agent.states(batch, Shifts(None, None))
    pi = agent.policy_actions(encoded.policy, agent.draws(len(batch.actions)).policy)
    q_policy = agent.critic.q(encoded.critic, pi.actions)[..., 0].amin(0).detach()
    better = torch.tensor([True, False] * (len(q_policy) // 2))
    q_data = (q_policy + torch.where(better, -0.4, -0.6)).expand(2, -1)
    loss, metrics = agent.actor_loss(pi, q_data, encoded, batch, FULL)
    limit = agent.settings.network.action_limit
    likelihood = encoded.policy.log_prob(batch.actions, limit)[better].sum() / len(better)
    entropy_term = agent.log_temperature.exp() * pi.log_pi.mean()
    assert metrics["imitated"] == 0.5
    assert loss.item() == pytest.approx((entropy_term - q_policy.mean() - 0.3 * likelihood).item(), rel=1e-4)


def test_actor_loss_leaves_no_gradient_on_the_critics_and_conservative_actions_none_on_the_actor() -> None:
    agent, batch = make()
    total, encoded, _ = critic_total(agent, batch)
    actor = list(agent.actor.parameters())
    reached = torch.autograd.grad(total, actor, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in reached)
    before = {name: value.clone() for name, value in agent.critic.state_dict().items()}
    actor_parameters = agent.optimizers["actor"].param_groups[0]["params"]
    agent.step("actor", torch.autograd.grad(actor_loss(agent, batch, encoded)[0], actor_parameters))
    assert all(parameter.grad is None for parameter in agent.critic.parameters())
    assert all(torch.equal(value, before[name]) for name, value in agent.critic.state_dict().items())


@pytest.mark.parametrize("clip", [True, False])
def test_targets_stop_at_terminals_and_at_what_returns_can_be(clip: bool) -> None:
    agent, batch = make(clip_targets=clip, discount=0.5)
    batch = batch._replace(
        rewards=torch.tensor([0.0, 10.0] * 4), bootstrap=torch.tensor([0.5, 0.0] * 4), actions=batch.actions
    )
    agent.return_bounds = (0.0, 10.0) if clip else None
    with torch.no_grad():
        agent.target.last.weight.zero_()
        agent.target.last.bias.copy_(torch.tensor([[[100.0]], [[60.0]]]))  # two critics: the lower counts
    encoded = agent.states(batch, Shifts(None, None))
    _, metrics = agent.critic_loss(torch.zeros(2, 8), batch, encoded, agent.draws(8).backup)
    bootstrapped = 10.0 if clip else 30.0
    assert float(metrics["q_target"]) == pytest.approx((bootstrapped + 10.0) / 2)


def test_lagrange_weight_grows_while_the_gap_is_too_large_and_shrinks_otherwise() -> None:
    for wanted, grows in ((-50.0, True), (50.0, False)):
        agent, batch = make(lagrange_gap=wanted, temperature_lr=0.01)
        before = agent.log_weight.item()
        metrics = agent.update(batch)
        assert "conservative_weight" in metrics
        assert (agent.log_weight.item() > before) == grows


def test_a_weight_pushed_above_its_limit_comes_back_and_can_fall_again() -> None:
    limit = math.log(1e6)
    for wanted, falls in ((50.0, True), (-50.0, False)):  # the gap lies between: a lower or a higher weight
        agent, batch = make(lagrange_gap=wanted, temperature_lr=0.01)
        with torch.no_grad():
            agent.log_weight.fill_(limit + 1)
        seen = []
        for _ in range(3):
            agent.update(batch)
            seen.append(agent.log_weight.item())
        assert seen[0] == pytest.approx(limit, abs=1e-6)
        if falls:
            assert seen[1] < limit - 0.005 and seen[2] < seen[1] - 0.005
        else:
            assert seen[1:] == seen[:1] * 2


def test_a_weight_below_its_limit_is_left_as_it_is_to_the_bit() -> None:
    agent, _ = make(lagrange_gap=1.0)
    for value in (-3.0, 0.0, 2.5, 13.8):
        with torch.no_grad():
            agent.log_weight.fill_(value)
        agent.update_targets()
        assert torch.equal(agent.log_weight.detach(), torch.tensor(value))
        assert torch.equal(agent.alpha().detach(), torch.tensor(value).exp())


def test_warm_up_imitates_with_weight_1_and_without_q_and_the_actor_climbs_q_after_it() -> None:
    agent, batch = make(dtype=torch.float64, bc_updates=1, bc_weight=0.3, initial_temperature=0.2)
    draws = agent.draws(8)

    def gradient() -> Tensor:
        (phase,) = agent.phases()
        return flat(agent.gradients(batch, draws, phase)[0]["actor"])

    def flat(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.reshape(-1) for part in parts])

    def scale_q(factor: float) -> None:
        with torch.no_grad():
            agent.critic.last.weight.mul_(factor)
            agent.critic.last.bias.mul_(factor)

    policy = agent.actor(agent.policy_encoder()(batch.images, batch.proprio).detach())
    pi_actions, log_pi = policy.sample(Noise(draws.policy))
    likelihood = policy.log_prob(batch.actions, agent.settings.network.action_limit).mean()
    warm_up = 0.2 * log_pi.mean() - likelihood
    features = agent.critic.project(agent.critic.encode(batch.images, batch.proprio)).detach()
    q = agent.critic.q(features, pi_actions).amin(0).mean()
    full = 0.2 * log_pi.mean() - q - 0.3 * likelihood
    weights = agent.optimizers["actor"].param_groups[0]["params"]
    expected = {
        done: flat(torch.autograd.grad(loss, weights, retain_graph=True))
        for done, loss in ((0, warm_up), (1, full))
    }
    for done in (0, 1):
        agent.updates_done = done
        found = gradient()
        torch.testing.assert_close(found, expected[done])
        scale_q(7)
        change = float((gradient() - found).abs().max())
        scale_q(1 / 7)
        assert (change > 1e-4) if done else (change == 0)


def test_log_density_agrees_with_torch_distributions_also_far_out() -> None:
    mean, log_std = torch.tensor([[0.2, -4.0]], dtype=torch.float64), torch.tensor([[-1.0, 0.5]]).double()
    policy = TanhGaussian(mean, log_std)
    actions, density = policy.sample(policy.noise(50, torch.Generator().manual_seed(0)))
    normal = torch.distributions.Normal(mean, log_std.exp())
    tanh = torch.distributions.TransformedDistribution(normal, [torch.distributions.TanhTransform()])
    torch.testing.assert_close(density[0], tanh.log_prob(actions[0]).sum(-1), rtol=1e-6, atol=1e-6)
    again = torch.stack([policy.log_prob(actions[:, i], 1 - 1e-12) for i in range(50)], 1)
    torch.testing.assert_close(again, density, rtol=1e-5, atol=1e-5)
    far = TanhGaussian(torch.tensor([[20.0]]), torch.tensor([[-1.0]]))  # where 1 - tanh(u)^2 is 0 in float32
    drawn = torch.randn((1, 1, 1), generator=torch.Generator().manual_seed(5))
    _, density_far = far.sample(far.noise(1, torch.Generator().manual_seed(5)))
    u = 20 + math.exp(-1) * drawn.item()
    exact = -0.5 * drawn.item() ** 2 + 1 - 0.5 * math.log(2 * math.pi) - (math.log(4) - 2 * u)
    assert density_far.item() == pytest.approx(exact, rel=1e-5)
    saturated = policy.log_prob(torch.tensor([[1.0, -1.0]], dtype=torch.float64), 0.999)
    assert bool(saturated.isfinite())


def test_cql_chains_a_prior_step_with_a_task_step() -> None:
    # State 0: a > 0 leads to state 1, a < 0 leads nowhere; nothing is rewarded there (prior data).
    # State 1: a < 0 is rewarded (task data). Acting well in state 0 needs the value of state 1.
    rng = np.random.default_rng(0)
    size = 400
    actions = rng.uniform(-1, 1, (2 * size, 1))
    states = np.repeat([[-1.0], [1.0]], size, 0)
    following = np.where((states < 0) & (actions < 0), -1.0, 1.0)
    rewards = np.where((states[:, 0] > 0) & (actions[:, 0] < 0), 1.0, 0.0)
    data = steps_of(states, actions, rewards, following)
    settings = config(batch_size=64, discount=0.8, critic_lr=1e-3, actor_lr=1e-3, conservative_weight=0.1)
    buffer = Buffer(data, torch.device("cpu"), 64, "uniform", settings.algorithm.discount)
    agent = create(settings, buffer)
    for _ in range(600):
        agent.update(buffer.sample(agent.generator))
    with torch.no_grad():
        action = agent.average(None, torch.tensor([[-1.0], [1.0]])).mode()[:, 0]
    assert float(action[0]) > 0.2 and float(action[1]) < -0.2
