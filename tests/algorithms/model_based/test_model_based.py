"""What MOPO and MOReL share: two phases, rollouts in the model, and soft critics on both kinds of rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cog.algorithms.model_based.base import MODEL, POLICY, ModelBased
from cog.algorithms.model_based.losses import chosen, poisson_counts, terminal_loss
from cog.algorithms.model_based.rollouts import FURTHEST, Imagined, RolloutDraws, Rows, branch, joined
from cog.algorithms.sac import SAC
from cog.networks.distribution import Noise, TanhGaussian
from cog.replay.buffer import Batch, Buffer
from cog.training import checkpoint
from cog.training.setup import create
from cog.training.train import train
from tests.helpers.learner_data import config, noise, steps_of

BOTH = pytest.mark.parametrize("name", ["mopo", "morel"])


def made(name: str, data: Any = None, **changes: Any) -> tuple[ModelBased[Any], Buffer]:
    """A small agent and its buffer of poses."""
    settings = config(algorithm=name, **changes)
    data = noise(images=False) if data is None else data
    buffer = Buffer(data, torch.device("cpu"), settings.batch_size, "uniform", *settings.algorithm.returns())
    agent = create(settings, buffer)
    assert isinstance(agent, ModelBased)
    return agent, buffer


def weights(agent: ModelBased[Any]) -> dict[str, Tensor]:
    """Copies of all weights."""
    return {name: value.detach().clone() for name, value in agent.named_parameters()}


@BOTH
def test_the_model_learns_first_and_alone_and_its_weights_then_stay_as_they_are(name: str) -> None:
    agent, buffer = made(name, model_updates=3)
    for update in range(6):
        before = weights(agent)
        agent.update(buffer.sample(agent.generator))
        changed = {key for key, value in weights(agent).items() if not torch.equal(value, before[key])}
        of_model = {key for key in changed if key.startswith("model.")}
        assert bool(of_model) == (update < 3) and bool(changed - of_model) == (update >= 3)
    assert agent.phases() == (POLICY,)


@BOTH
@pytest.mark.parametrize("stop", [5, 19, 21])  # in the model's phase, between two that measure, after it
def test_a_run_interrupted_in_either_phase_resumes_to_the_bit(name: str, stop: int, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"algorithm": name, "model_updates": 20, "log_every": 50}
    changes["checkpoint_every"] = 50
    data = noise(images=False)
    train(config(tmp_path / "whole", updates=23, **changes), data)
    train(config(tmp_path / "parts", updates=stop, **changes), data)
    train(config(tmp_path / "parts", updates=23, **changes), data, resume=True)
    whole, parts = (checkpoint.load(tmp_path / run) for run in ("whole", "parts"))
    for kind in ("model", "optimizer"):
        second = parts.tensors(kind)
        assert all(torch.equal(value, second[key]) for key, value in whole.tensors(kind).items())


def linear_system(rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    """States, actions, rewards and next states of s' = s + 0.3 M s + N a, r = 1 + s_1 - a_1."""
    states = rng.normal(size=(count, 2)) * [2.0, 5.0] + [1.0, -3.0]
    actions = rng.uniform(-1, 1, (count, 1))
    step = 0.3 * states @ np.array([[-1.0, 0.5], [0.2, -0.5]]) + actions @ np.array([[1.0, -2.0]])
    return states, actions, 1 + states[:, 0] - actions[:, 0], states + step


@BOTH
def test_the_model_of_a_linear_system_predicts_new_steps_in_the_data_s_units(name: str) -> None:
    rng = np.random.default_rng(0)
    data = steps_of(*linear_system(rng, 1000))
    settings = {"model_updates": 200, "model_widths": (32,), "model_lr": 1e-2, "batch_size": 64}
    agent, buffer = made(name, data, **settings)
    for _ in range(200):
        agent.update(buffer.sample(agent.generator))
    assert agent.phases() == (POLICY,)
    states, actions, rewards, following = (torch.from_numpy(one).float() for one in linear_system(rng, 100))
    predicted, predicted_rewards = agent.predict(states, actions)
    members = agent.config.members
    assert predicted.shape == (members, 100, 2) and predicted_rewards.shape == (members, 100)
    change = (following - states).std(0)
    assert float(((predicted - following).square().mean((0, 1)).sqrt() / change).max()) < 0.25
    assert float((predicted_rewards - rewards).square().mean().sqrt() / rewards.std()) < 0.25


@BOTH
def test_predicted_states_are_the_state_plus_the_change_times_the_data_s_deviation(name: str) -> None:
    agent, _ = made(name)
    agent.standardise(torch.full((4,), 1.0), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    with torch.no_grad():
        agent.model.mean.weight.zero_()
        agent.model.mean.bias.copy_(torch.tensor([1.0, 1.0, 1.0, 0.5, 7.0]).expand(4, 1, 5))
    states, rewards = agent.predict(torch.full((2, 4), 10.0), torch.zeros(2, 3))
    torch.testing.assert_close(states, torch.tensor([11.0, 12.0, 13.0, 12.0]).expand(4, 2, 4))
    torch.testing.assert_close(rewards, torch.full((4, 2), 7.0))


def test_only_the_sign_of_a_switch_reaches_the_model() -> None:
    agent, _ = made("mopo", switches=1)
    actions = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 1.0], [0.1, 0.2, -0.3]])
    states, _ = agent.predict(torch.ones(3, 4), actions)
    assert torch.equal(states[:, 0], states[:, 1]) and not torch.equal(states[:, 0], states[:, 2])


def test_poisson_counts_have_mean_and_variance_one_and_follow_the_inverse_distribution() -> None:
    hand = poisson_counts(torch.tensor([0.0, 0.36, 0.37, 0.73, 0.74, 0.92, 0.99999]))
    assert hand.tolist() == [0, 0, 1, 1, 2, 3, 7]
    counts = poisson_counts((torch.arange(100_000) + 0.5) / 100_000)
    assert float(counts.mean()) == pytest.approx(1, abs=1e-3)
    assert float(counts.var()) == pytest.approx(1, abs=3e-3)


def test_the_terminals_loss_is_the_cross_entropy_of_the_rows_that_a_member_sees() -> None:
    odds = torch.tensor([[0.0, 2.0], [-1.0, 0.5]])
    counts = torch.tensor([[1.0, 0.0], [2.0, 3.0]])  # of two rows, for each of two members
    p = odds.sigmoid()
    expected = (-p[0, 0].log() - 2 * (1 - p[0, 1]).log()) / 2 - 3 * (1 - p[1, 1]).log() / 2
    torch.testing.assert_close(terminal_loss(odds, torch.tensor([1.0, 0.0]), counts), expected)


def test_each_row_is_predicted_by_the_member_drawn_for_it() -> None:
    predictions = torch.arange(12.0).view(3, 2, 2)
    assert chosen(predictions, torch.tensor([2, 0])).tolist() == [[8, 9], [2, 3]]
    assert chosen(predictions[..., 0], torch.tensor([1, 1])).tolist() == [4, 6]


def rollout(continues: float, far: float = 1.0) -> tuple[list[Rows], dict[str, Tensor]]:
    """Three steps from two states of one component that grows by `far`, with discount 0.9."""

    def policy(states: Tensor) -> TanhGaussian:
        return TanhGaussian(states, torch.full_like(states, -20.0))

    def imagine(states: Tensor, actions: Tensor, members: Tensor, normal: Tensor) -> Imagined:
        end = torch.full_like(states[:, 0], continues)
        return Imagined(states + far, members + actions[:, 0], end, {"seen": states[:, 0]})

    draws = RolloutDraws(
        Noise(torch.zeros(2, 3, 1)), torch.tensor([[0, 1, 2], [2, 1, 0]]), torch.zeros(2, 3, 0)
    )
    return branch(torch.tensor([[0.0], [0.5]]), policy, imagine, draws, 0.9)


def test_a_rollout_goes_on_from_what_was_imagined_and_weighs_as_much_as_it_may_have_gone_on() -> None:
    rows, means = rollout(continues=0.5)
    assert [one.states[:, 0].tolist() for one in rows] == [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]
    assert [one.weight.tolist() for one in rows] == [[1, 1], [0.5, 0.5], [0.25, 0.25]]
    assert all(one.bootstrap.tolist() == pytest.approx([0.45, 0.45]) for one in rows)
    assert rows[1].rewards.tolist() == pytest.approx([1 + np.tanh(1), 1 + np.tanh(1.5)])
    assert rows[1].actions.tolist() == pytest.approx(np.tanh([[1.0], [1.5]]))
    assert float(means["seen"]) == pytest.approx(1.25)


def test_after_a_certain_end_rows_weigh_nothing_and_states_are_held_where_they_are_finite() -> None:
    rows, _ = rollout(continues=0.0, far=1e6)
    assert [one.weight.tolist() for one in rows] == [[1, 1], [0, 0], [0, 0]]
    assert rows[0].next_states.tolist() == [[FURTHEST], [FURTHEST]]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_recorded_and_imagined_rows_count_by_their_share_in_a_mean(share: float) -> None:
    def rows(values: list[float]) -> Rows:
        one = torch.tensor(values)
        return Rows(one[:, None], one[:, None], one, one, one[:, None], torch.ones(2))

    mixed = joined(rows([1.0, 2.0]), [rows([10.0, 20.0]), rows([30.0, 40.0])], share)
    assert mixed.rewards.tolist() == [1, 10, 30, 2, 20, 40]
    mean = float((mixed.weight * mixed.rewards).mean())
    assert mean == pytest.approx(share * 1.5 + (1 - share) * 25)


def test_from_recorded_rows_alone_critics_actor_and_temperature_learn_as_soft_actor_critic_does() -> None:
    agent, buffer = made("mopo", real_share=1.0, rollout_steps=1, model_updates=1)
    settings = config(algorithm="sac")
    base = create(settings, buffer)
    assert isinstance(base, SAC)
    for part in ("critic", "target", "actor"):
        getattr(base, part).load_state_dict(getattr(agent, part).state_dict())
    batch = buffer.sample(agent.generator)
    draws = agent.draws(8)
    losses, metrics = agent.losses(batch, draws, POLICY)
    normals = base.Draws(base.draw_shifts(8), draws.policy[:, :1], draws.backup[:, :1])
    expected, known = base.losses(batch, normals, "all")
    for part in ("critic", "actor", "temperature"):
        torch.testing.assert_close(losses[part], expected[part], rtol=1e-4, atol=1e-5, msg=part)
    for metric in ("td_loss", "q_data", "q_target", "q_policy", "entropy"):
        torch.testing.assert_close(metrics[metric], known[metric], rtol=1e-4, atol=1e-5, msg=metric)


@BOTH
def test_the_model_is_to_predict_the_standardised_change_the_reward_and_where_bootstrapping_ends(
    name: str,
) -> None:
    agent, buffer = made(name, switches=1)
    agent.standardise(torch.tensor([1.0, -1.0, 0.0, 2.0]), torch.tensor([1.0, 2.0, 4.0, 0.5]))
    batch = buffer.sample(agent.generator)
    bootstrap = torch.tensor([0.97, 0.0, 0.97, 0.5, 0.0, 0.0, 1.0, 1e-6])
    state, change = torch.tensor([3.0, 3.0, 3.0, 3.0]), torch.tensor([3.0, -2.0, 1.0, 4.0])
    batch = batch._replace(
        proprio=state.expand(8, 4),
        next_proprio=(state + change).expand(8, 4),
        rewards=torch.arange(8.0),
        bootstrap=bootstrap,
        actions=torch.tensor([0.25, -0.5, 0.1]).expand(8, 3),
    )
    recorded = agent.recorded(batch)
    torch.testing.assert_close(recorded.states, torch.tensor([2.0, 2.0, 0.75, 2.0]).expand(8, 4))
    assert torch.equal(recorded.actions, torch.tensor([0.25, -0.5, 1.0]).expand(8, 3))
    torch.testing.assert_close(recorded.targets[:, :4], torch.tensor([3.0, -1.0, 0.25, 8.0]).expand(8, 4))
    assert recorded.targets[:, 4].tolist() == list(range(8))
    assert recorded.terminals.tolist() == [0, 1, 0, 0, 1, 1, 0, 0]


@BOTH
def test_the_critics_target_of_a_recorded_step_is_its_reward_and_the_value_after_it_but_at_terminals(
    name: str,
) -> None:
    agent, buffer = made(name, real_share=0.5)
    with torch.no_grad():
        agent.target.last.weight.zero_()
        agent.target.last.bias.fill_(100.0)
        agent.log_temperature.fill_(-100.0)  # no entropy in the value after a step
    batch = buffer.sample(agent.generator)._replace(
        rewards=torch.arange(8.0), bootstrap=torch.tensor([0.9, 0.0] * 4)
    )
    targets = []
    for row in range(8):
        alone = Batch(*(one if one is None else one[row : row + 1] for one in batch))
        metrics = agent.losses(alone, agent.draws(1), POLICY)[1]
        targets.append(float(metrics["q_target"]))  # of the recorded row, which is the only one
    assert targets == pytest.approx([90, 1, 92, 3, 94, 5, 96, 7], rel=1e-5)


@BOTH
def test_terminal_rows_bootstrap_nothing(name: str) -> None:
    agent, buffer = made(name)
    batch = buffer.sample(agent.generator)
    batch = batch._replace(bootstrap=torch.zeros(8))
    rows, _ = agent.rows(batch, agent.draws(8).rollout)
    rows = rows._replace(bootstrap=torch.zeros_like(rows.bootstrap))
    with torch.no_grad():
        agent.target.last.bias.add_(1e3)
    states = agent.critic.project(rows.states[None])
    loss, metrics = agent.critic_loss(states, rows, torch.zeros(len(rows.states), 1, 3))
    q = agent.critic.q(states, rows.actions[:, None])[..., 0]
    expected = (rows.weight * (q - rows.rewards).square()).mean(1).sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(metrics["q_target"], batch.rewards.mean())


@BOTH
def test_the_actor_s_gradient_is_the_finite_difference_of_its_loss_on_rows_that_stay(name: str) -> None:
    agent, buffer = made(name)
    agent.double()
    batch = Batch(*(one.double() if one is not None else None for one in buffer.sample(agent.generator)))  # type: ignore[arg-type]
    agent.updates_done = 2
    draws = agent.draws(8)
    found = agent.gradients(batch, draws, POLICY)[0]["actor"]
    rows, _ = agent.rows(batch, draws.rollout)
    normal = draws.policy.flatten(0, 1)[:, None]
    states = agent.critic.project(rows.states[None]).detach()
    trained = agent.optimizers["actor"].param_groups[0]["params"]
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in trained]
    slope = float(sum((a * b).sum() for a, b in zip(found, direction, strict=True)))
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            torch._foreach_add_(trained, direction, alpha=step)
            ends.append(float(agent.actor_loss(states, rows, normal)[0]))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


@BOTH
def test_the_order_of_members_changes_neither_loss_nor_what_is_imagined(name: str) -> None:
    agent, buffer = made(name)
    batch = buffer.sample(agent.generator)
    recorded, counts = agent.recorded(batch), agent.draws(8).counts
    normal = torch.ones(8, agent.model.noise_dimensions)
    members = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])

    def seen() -> tuple[Tensor, Imagined]:
        with torch.no_grad():
            loss = agent.model_loss(recorded, counts[:, order])[0]
            return loss, agent.imagine(recorded.states, recorded.actions, place[members], normal)

    order = place = torch.arange(4)
    loss, imagined = seen()
    order = torch.tensor([2, 0, 3, 1])
    place = order.argsort()
    with torch.no_grad():
        for key, value in agent.model.named_parameters():
            if value.dim() == 3:
                value.copy_(value[order].clone())
            else:
                assert key in ("highest", "lowest")
    again, the_same = seen()
    torch.testing.assert_close(again, loss)
    for one, other in zip(the_same[:3], imagined[:3], strict=True):
        torch.testing.assert_close(one, other)


def test_phases_are_named_for_what_learns() -> None:
    agent, _ = made("mopo", model_updates=1)
    assert agent.phases() == (MODEL,)
