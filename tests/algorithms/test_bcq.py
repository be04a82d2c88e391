"""BCQ against its equations: how far actions are moved, targets that mix critics, the VAE, switches."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cog.algorithms.bcq import BCQ
from cog.algorithms.shared.losses import kl_to_standard_normal, soft_clipped, vae_loss
from cog.errors import UsageError
from cog.networks.trunk import ConditionedTrunk
from cog.replay.buffer import Batch, Buffer
from cog.training.setup import create
from tests.helpers.bandit import HIGH, LOW, bandit, drawn
from tests.helpers.learner_data import config, noise


def made(images: bool = False, **changes: Any) -> tuple[BCQ, Batch]:
    """A small agent that sees poses, and a batch."""
    settings = config(algorithm="bcq", **changes)
    buffer = Buffer(noise(images=images), torch.device("cpu"), 8, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, BCQ)
    return agent, buffer.sample(agent.generator)


def seen(agent: BCQ, proprio: Tensor) -> Tensor:
    """The features that the policy sees: standardised poses."""
    features: Tensor = agent.policy_encoder()(None, proprio)
    return features


def push(agent: BCQ, by: float) -> None:
    """Make the perturbation model push every component as far as it can, up or down."""
    with torch.no_grad():
        agent.actor.last.bias.fill_(by)


@torch.no_grad()
@pytest.mark.parametrize("by", [1e3, -1e3])
def test_actions_are_moved_by_phi_at_most_and_stay_within_the_bounds(by: float) -> None:
    agent, batch = made(perturbation=0.05)
    with torch.no_grad():
        agent.vae.decoder.last.weight.mul_(30)  # some decoded actions lie at the bounds
    push(agent, by)
    normal = 3 * torch.randn(8, 20, 6, generator=torch.Generator().manual_seed(0))
    perturbed = agent.perturbed(seen(agent, batch.proprio), agent.actor)
    decoded, moved = perturbed.decoded(normal), perturbed.drawn(normal)
    assert float(decoded.abs().max()) <= 1 and float(moved.abs().max()) <= 1
    assert float(decoded.abs().max()) > 0.98
    change = (moved - decoded) * (1 if by > 0 else -1)
    assert float(change.max()) == pytest.approx(0.05, abs=1e-6) and float(change.min()) >= 0
    inside = decoded.abs() < 0.95
    torch.testing.assert_close(change[inside], torch.full_like(change[inside], 0.05))


@torch.no_grad()
def test_latents_are_clamped_when_actions_are_drawn_and_not_in_the_loss() -> None:
    agent, batch = made(latent_limit=0.5, perturbation=0.0)
    features = seen(agent, batch.proprio)
    far, bound = torch.full((8, 1, 6), 9.0), torch.full((8, 1, 6), 0.5)
    drawn_far = agent.perturbed(features, agent.actor).drawn(far)
    torch.testing.assert_close(drawn_far, agent.vae.decoder(features, bound))
    posterior = agent.vae.posterior(features, batch.actions)
    decoded = agent.vae.reconstructed(features, posterior, far[:, 0])
    latents = posterior.mean + posterior.log_std.exp() * 9.0
    assert float(latents.abs().max()) > 0.5
    torch.testing.assert_close(decoded, agent.vae.decoder(features, latents[:, None])[:, 0])


def test_the_vae_s_loss_is_the_mean_error_and_half_the_mean_kl_of_each_latent() -> None:
    mean, log_std = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.3, -0.2]])
    posterior = torch.distributions.Normal(mean, log_std.exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_std), expected)
    loss, metrics = vae_loss(torch.tensor([[1.0]]), torch.tensor([[0.4]]), mean, log_std, 0.5)
    assert float(metrics["reconstruction_error"]) == pytest.approx(0.36)
    assert float(loss) == pytest.approx(0.36 + 0.5 * float(expected.mean()), rel=1e-6)


def test_critics_are_mixed_for_each_action_before_the_best_counts() -> None:
    q = torch.tensor([[[1.0, 4.0]], [[3.0, -2.0]]])  # two critics, two actions
    mixed = soft_clipped(q, 0.75)
    assert mixed.tolist() == [[0.75 * 1 + 0.25 * 3, 0.75 * -2 + 0.25 * 4]]
    assert float(mixed.amax(1)) == 1.5  # not 0.75 * max min + 0.25 * max max = 0.75 + 1
    torch.testing.assert_close(soft_clipped(q, 1.0), q.amin(0))
    torch.testing.assert_close(soft_clipped(q, 0.0), q.amax(0))


def target(agent: BCQ, batch: Batch, next_actions: Tensor) -> float:
    """Mean target of the critics' loss."""
    _, metrics = agent.critic_loss(agent.encode(None, None, batch), batch.actions, batch, next_actions)
    return float(metrics["q_target"])


def test_the_target_is_the_best_mixed_value_of_the_target_critics() -> None:
    agent, batch = made(min_weight=0.75, discount=0.9)
    next_actions = agent.target_actions(seen(agent, batch.next_proprio), agent.draws(8).target)
    assert next_actions.shape == (8, 10, 3)
    with torch.no_grad():
        q = agent.target.q(agent.target.project(seen(agent, batch.next_proprio)[None]), next_actions)
    lowest, highest = torch.minimum(q[0], q[1]), torch.maximum(q[0], q[1])
    best = torch.stack([(0.75 * lowest + 0.25 * highest)[:, i] for i in range(10)]).amax(0)
    expected = (batch.rewards + batch.bootstrap * best).mean()
    assert target(agent, batch, next_actions) == pytest.approx(float(expected), rel=1e-5)


def test_identical_critics_make_lambda_irrelevant_and_different_ones_do_not() -> None:
    found = {}
    for weight in (0.0, 0.75):
        for alike in (True, False):
            agent, batch = made(min_weight=weight)
            if alike:
                with torch.no_grad():
                    for value in agent.target.parameters():
                        if len(value) == 2:
                            value[1] = value[0]
            next_actions = agent.target_actions(seen(agent, batch.next_proprio), agent.draws(8).target)
            found[weight, alike] = target(agent, batch, next_actions)
    assert found[0.0, True] == found[0.75, True]
    assert found[0.0, False] > found[0.75, False]


def test_terminal_steps_bootstrap_nothing_and_the_target_actor_perturbs_the_target_s_actions() -> None:
    agent, batch = made()
    push(agent, 1e3)  # not the target
    normal = agent.draws(8).target
    here = agent.perturbed(seen(agent, batch.next_proprio), agent.target_actor).drawn(normal)
    torch.testing.assert_close(agent.target_actions(seen(agent, batch.next_proprio), normal), here)
    ended = batch._replace(bootstrap=torch.zeros(8))
    assert target(agent, ended, here) == pytest.approx(float(batch.rewards.mean()), rel=1e-6)


def test_targets_move_by_exactly_their_rate() -> None:
    agent, batch = made(target_rate=0.25)
    pairs = [(agent.target.last.weight, agent.critic.last.weight)]
    pairs += [(agent.target_actor.last.weight, agent.actor.last.weight)]
    before = [slow.clone() for slow, _ in pairs]
    agent.update(batch)
    for (slow, fast), old in zip(pairs, before, strict=True):
        torch.testing.assert_close(slow, old + 0.25 * (fast.detach() - old))


def test_it_acts_by_the_critics_choice_among_as_many_draws_as_asked_for() -> None:
    agent, batch = made(acting_draws=7)
    policy = agent.policy()
    assert policy.noise.shape == (7, 6) and policy.noise_dimensions == 6
    actions = agent.perturbed(seen(agent, batch.proprio), agent.actor).drawn(policy.noise.expand(8, -1, -1))
    with torch.no_grad():
        q = agent.critic.q(agent.critic.project(seen(agent, batch.proprio)[None]), actions).amin(0)
    torch.testing.assert_close(policy(None, batch.proprio).mode(), actions[torch.arange(8), q.argmax(1)])


def test_switches_are_one_or_minus_one_before_a_critic_sees_them_and_are_not_perturbed() -> None:
    agent, batch = made(switches=1)
    push(agent, 1e3)
    moved = agent.perturbed(seen(agent, batch.proprio), agent.actor).drawn(torch.randn(8, 50, 6))
    assert set(moved[..., 2].unique().tolist()) <= {-1.0, 1.0}
    assert agent.actor.last.out_features == 2
    snapped = batch.actions.clone()
    snapped[:, 2] = snapped[:, 2].sign()
    draws = agent.draws(8)
    expected, _ = agent.vae_loss(seen(agent, batch.proprio), snapped, draws.posterior)
    found, _ = agent.losses(batch, draws, "all")
    assert float(found["vae"]) == pytest.approx(float(expected), rel=1e-6)


def test_an_encoder_of_its_own_is_trained_by_the_vae_alone() -> None:
    agent, batch = made(images=True, sharing="separate")
    assert agent.actor_encoder is not None
    ids = {id(weight) for weight in agent.actor_encoder.parameters()}
    trained = {
        name: ids <= {id(weight) for weight in optimizer.param_groups[0]["params"]}
        for name, optimizer in agent.optimizers.items()
    }
    assert trained == {"vae": True, "critic": False, "actor": False}
    losses, _ = agent.losses(batch, agent.draws(8), "all")
    weights = list(agent.actor_encoder.parameters())
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        assert any(one is not None for one in gradients) == (name == "vae")


def test_a_split_first_layer_computes_what_a_joint_one_does() -> None:
    trunk = ConditionedTrunk(4, 3, (16, 8), layer_norm=False)
    features, inputs = torch.randn(5, 4), torch.randn(5, 6, 3)
    joint = torch.nn.Linear(7, 16)
    with torch.no_grad():
        joint.weight.copy_(torch.cat([trunk.of_features.weight, trunk.of_inputs.weight], 1))
        joint.bias.copy_(trunk.of_features.bias)
    both = torch.cat([features[:, None].expand(-1, 6, -1), inputs], -1)
    expected = trunk.others(joint(both).relu())
    torch.testing.assert_close(trunk(features, inputs), expected)
    with pytest.raises(UsageError, match="at least one hidden layer"):
        ConditionedTrunk(4, 3, (), layer_norm=False)


def test_on_a_bandit_it_stays_within_phi_of_the_data_where_an_unconstrained_learner_does_not() -> None:
    naive, _ = bandit("td3_bc", 100, weight=100.0)
    assert float(drawn(naive).max()) > HIGH + 0.1
    agent, _ = bandit("bcq", 100, steps=1, perturbation=0.05)
    actions = drawn(agent)
    assert float(actions.min()) >= LOW - 0.05 and float(actions.max()) <= HIGH + 0.05
    assert float(actions[-1]) == pytest.approx(float(actions.max()), abs=0.02)  # the best-paid draw


def test_one_draw_and_one_action_component_are_enough() -> None:
    agent, buffer = bandit("bcq", 1, target_actions=1, acting_draws=1, latents=1)
    assert all(bool(value.isfinite()) for value in agent.update(buffer.sample(agent.generator)).values())
