"""The cross-entropy method against computations by hand, and the policy that it is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cog.networks.config import NetworkConfig
from cog.networks.critic import Critic
from cog.networks.cross_entropy import CrossEntropyPolicy, Search, best_action
from cog.networks.encoder import ObservationShape

STATES = torch.zeros(1, 1, 1)


class Parabola:
    """A stand-in critic, Q(s, a) = -sum (a - `top`)^2, that keeps what it has scored."""

    def __init__(self, *top: float) -> None:
        self.top = torch.tensor(top)
        self.scored: list[Tensor] = []

    def q(self, states: Tensor, actions: Tensor, first: int | None = None) -> Tensor:
        assert first == 1
        self.scored.append(actions)
        return -(actions - self.top).square().sum(-1)[None]


def found(critic: Any, noise: Any, search: Search) -> tuple[Tensor, float]:
    """The best action (A,) at one state, and its Q, for `noise` (I, N, A)."""
    action, q = best_action(critic, STATES, torch.as_tensor(noise)[None], search)
    return action[0], float(q)


def test_the_second_gaussian_has_mean_and_population_deviation_of_the_elites() -> None:
    critic = Parabola(0.4)
    # -2 is pulled to -1. The elites 0.5 and 0.2 have mean 0.35 and deviation 0.15; 0.35 + 0.15 / 3 is 0.4.
    noise = [[[-2.0], [0.5], [0.2]], [[1 / 3], [-1.0], [0.0]]]
    action, q = found(critic, noise, Search(3, 2, 2))
    torch.testing.assert_close(critic.scored[0][0, :, 0], torch.tensor([-1.0, 0.5, 0.2]))
    torch.testing.assert_close(critic.scored[1][0, :, 0], torch.tensor([0.4, 0.2, 0.35]))
    torch.testing.assert_close(action, torch.tensor([0.4]))
    assert q == pytest.approx(0.0, abs=1e-12)


def test_the_best_of_all_iterations_counts_not_of_the_last_alone() -> None:
    noise = [[[-2.0], [0.5], [0.2]], [[9.0], [9.0], [9.0]]]
    action, q = found(Parabola(0.4), noise, Search(3, 2, 2))
    assert float(action) == 0.5 and q == pytest.approx(-0.01, rel=1e-5)


def test_nothing_outside_the_box_is_scored_and_switches_are_snapped_before() -> None:
    critic = Parabola(3.0, -0.4, 0.3)
    noise = 5 * torch.randn(3, 40, 3, generator=torch.Generator().manual_seed(0))
    action, _ = found(critic, noise, Search(40, 5, 3, switches=1))
    scored = torch.cat(critic.scored)
    assert float(scored.abs().max()) == 1.0
    assert set(scored[..., -1].unique().tolist()) == {-1.0, 1.0}
    assert float(action[0]) == 1.0 and float(action[2]) == 1.0  # the switch at 1 is nearer to 0.3 than at -1


def test_the_defaults_of_qt_opt_come_near_the_top_and_further_iterations_never_find_less() -> None:
    noise = torch.randn(6, 64, 2, generator=torch.Generator().manual_seed(1))
    values = [found(Parabola(0.3, -0.6), noise[:count], Search(64, 6, count))[1] for count in range(1, 7)]
    assert values == sorted(values)
    assert values[1] > -0.02 and values[5] > -1e-3


def test_each_state_has_its_own_search() -> None:
    class ByState:
        def q(self, states: Tensor, actions: Tensor, first: int | None = None) -> Tensor:
            return -(actions[..., 0] - states[0, :, :1]).square()[None]

    tops = torch.tensor([[[-0.7], [0.0], [0.5]]])
    noise = torch.randn(3, 4, 64, 1, generator=torch.Generator().manual_seed(0))
    together, _ = best_action(ByState(), tops, noise, Search(64, 6, 4))  # type: ignore[arg-type]
    alone = [
        best_action(ByState(), tops[:, [i]], noise[[i]], Search(64, 6, 4))[0]  # type: ignore[arg-type]
        for i in range(3)
    ]
    assert torch.equal(together, torch.cat(alone))
    torch.testing.assert_close(together, tops[0], atol=0.02, rtol=0)


def test_the_policy_is_the_search_by_the_first_critic_the_same_for_every_draw_and_batch() -> None:
    torch.manual_seed(0)
    critic = Critic(ObservationShape(None, 4), 3, NetworkConfig(critics=2, critic_widths=(16,)))
    policy = CrossEntropyPolicy(critic, 3, Search(64, 6, 2, switches=1))
    poses = torch.randn(5, 4)
    with torch.no_grad():
        pi = policy(None, poses)
        draws = pi.drawn(torch.randn(5, 7, policy.noise_dimensions))
        assert draws.shape == (5, 7, 3) and torch.equal(draws, pi.mode()[:, None].expand(-1, 7, -1))
        torch.testing.assert_close(policy(None, poses[:1]).mode(), pi.mode()[:1])
        states = critic.project(critic.encode(None, poses))
        random = 2 * torch.rand(5, 64, 3) - 1
        random[..., -1].sign_()
        assert bool(
            (critic.q(states, pi.mode()[:, None])[0] > critic.q(states, random)[0].mean(1, True)).all()
        )
        critic.last.weight[1].mul_(-5)
        assert torch.equal(policy(None, poses).mode(), pi.mode())
    assert set(pi.mode()[:, -1].tolist()) <= {-1.0, 1.0}
