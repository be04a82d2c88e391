"""With `hold` a behaviour that has succeeded goes on for so many steps, as long as its success stands."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cog.envs
from cog.datasets.collection.rollout import roll_out
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec, Plan
from cog.datasets.episode import Episode
from cog.envs.behaviours import behaviour_options, make_behaviour
from cog.envs.behaviours.base import Behaviour
from cog.envs.behaviours.chains import Chain
from cog.envs.behaviours.grasp import Grasp
from cog.envs.behaviours.open_drawer import OpenDrawer
from cog.envs.double_drawer import DoubleDrawer
from cog.envs.make import make_environment, scene_class
from cog.errors import UsageError
from cog.signals.predicates import GRASP_DISTANCE, PREDICATES

ONE, TWO, TABLE = cog.envs.DRAWER_GRASP, cog.envs.DOUBLE_DRAWER, cog.envs.PICK_PLACE
CASES = (
    (ONE, "open", "grasp"),
    (ONE, "closed", "open_drawer"),
    (ONE, "open", "close_drawer"),
    (TWO, "open", "grasp"),
    (TWO, "blocked_drawer", "close_top_drawer"),
    (TWO, "blocked_drawer", "close_then_open"),
    (TWO, "blocked_object", "move_blocker"),
    (TWO, "blocked_object", "move_blocker_then_open"),
    (TABLE, "table", "grasp"),
    (TABLE, "held", "place"),
    (TABLE, "table", "pick_and_place"),
)
"""Scene, start and behaviour."""
Case = tuple[str, str, str]
Signals = Mapping[str, np.ndarray]
AIMS: Mapping[str, tuple[Callable[[Signals], np.ndarray], Callable[[Signals], np.ndarray]]] = {
    "grasp": (lambda s: s["object_gripper_distance"] < 0.045, PREDICATES["grasp_success"]),
    "open": (lambda s: s["drawer_opening"] > 0.93, PREDICATES["drawer_opened"]),
    "close_drawer": (lambda s: s["drawer_opening"] < 0.03, lambda s: s["drawer_opening"] < 0.08),
    "top_drawer": (lambda s: s["top_drawer_opening"] < 0.03, PREDICATES["top_drawer_closed"]),
    "blocker": (  # set down: a clumsy grasp may also push it away, give up, and so have nothing to hold
        lambda s: (s["blocker_gap_distance"] > 0.09) & (s["gripper_opening"] > 0.5),
        PREDICATES["blocker_moved"],
    ),
    "place": (
        lambda s: (s["object_tray_distance"] < 0.04) & (s["object_height"] < 0.045),
        PREDICATES["placed"],
    ),
}
"""What is certainly a success of a behaviour whose name holds the word, and what is at least nearly one."""


class OpenThenGrasp(Chain):
    """Open the drawer and take the object out."""

    links: ClassVar[tuple[type[Behaviour], ...]] = (OpenDrawer, Grasp)


@cache
def scene(env: str) -> Any:
    return make_environment(spec(env).scene())


def spec(env: str, steps: int = 150, **changes: Any) -> CollectionSpec:
    chosen = {"terminate_on_success": False, "noise": 0.1, **changes}
    return CollectionSpec(1, env=env, observation="state", max_episode_steps=steps, **chosen)


def play(case: Case, seed: int, **options: Any) -> Episode:
    env, start, name = case
    return roll_out(scene(env), spec(env), Plan(start, BehaviourChoice(name, 1.0, options)), seed)[0]


def succeeds(case: Case, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
    """Whether the behaviour has certainly, and at least nearly, succeeded after each step, by the signals."""
    word = next(word for word in AIMS if word in case[2])
    surely, nearly = (np.asarray(aim(episode.outcome_signals())) for aim in AIMS[word])
    return surely, nearly


def check(case: Case, plain: Episode, held: Episode, hold: int) -> None:
    """Whether the second is the first and then what `hold` promises."""
    steps = len(plain)
    stays = "grasp" in case[2] and len(held) > steps  # a grasp holds where it is, and does not return
    same = steps - stays
    np.testing.assert_array_equal(held.actions[:same], plain.actions[:same])
    np.testing.assert_array_equal(held.state[: same + 1], plain.state[: same + 1])  # type: ignore[index]
    if held.truncated:  # a clumsy one may try until its time is up
        return
    surely, nearly = succeeds(case, held)
    if surely[steps - 2 :].all():
        assert len(held) == steps + hold
    if len(held) == steps + hold:
        assert nearly[steps - 2 : -1].all()
    else:
        assert not surely[steps - 2 :].all()


def test_every_behaviour_that_ends_by_itself_is_tried_here() -> None:
    every = {env: scene_class(env).behaviours for env in cog.envs.SCENES}
    scenes = {env: behaviours for env, behaviours in every.items() if env.endswith("-v0")}
    assert all(every[env.replace("-v1", "-v0")] is behaviours for env, behaviours in every.items())
    known = {(env, name) for env, behaviours in scenes.items() for name in behaviours if name != "wander"}
    twice = {(TWO, "open_drawer"), (TWO, "close_drawer")}  # as in the scene with one drawer
    assert known - twice == {(env, name) for env, _, name in CASES}
    for env, name in known:
        assert behaviour_options(name, scenes[env])["hold"] == 0
    assert "hold" not in behaviour_options("wander", scenes[ONE])


@settings(max_examples=24, deadline=None)
@given(case=st.sampled_from(CASES), seed=st.integers(0, 2**32 - 1), hold=st.integers(1, 14))
def test_an_episode_that_holds_is_the_one_without_and_then_so_many_steps_in_success(
    case: Case, seed: int, hold: int
) -> None:
    check(case, play(case, seed), play(case, seed, hold=hold), hold)


@settings(max_examples=12, deadline=None)
@given(case=st.sampled_from(CASES), seed=st.integers(0, 2**32 - 1))
@example(case=CASES[6], seed=4_186_395_799)  # pushes the blocker away with closed fingers
def test_a_clumsy_behaviour_holds_only_what_it_has_achieved(case: Case, seed: int) -> None:
    check(case, play(case, seed, suboptimal=True), play(case, seed, suboptimal=True, hold=9), 9)


def test_what_holds_is_as_noisy_as_all_else_and_stays_in_place() -> None:
    case = CASES[0]
    plain, held = play(case, 5), play(case, 5, hold=40)
    resting = held.actions[len(plain) :]
    assert len(resting) == 40 and np.allclose(resting.std(axis=0)[3:6], 0.1, atol=0.05)
    assert np.ptp(held.state[len(plain) + 1 :, :3], axis=0).max() < 0.06  # type: ignore[index]


def test_a_rule_for_six_held_steps_sees_grasps_that_hold_and_hardly_any_other() -> None:
    def longest(seed: int, hold: int) -> int:
        _, nearly = succeeds(CASES[0], play(CASES[0], seed, hold=hold))
        runs = "".join("1" if one else "0" for one in nearly).split("0")
        return max(map(len, runs))

    assert all(longest(seed, 0) < 6 for seed in range(6))
    assert all(longest(seed, 12) >= 12 for seed in range(6))


def test_a_chain_that_ends_in_a_grasp_holds_the_object_and_not_the_drawer() -> None:
    env = scene(TWO)
    rng = np.random.default_rng(0)
    lengths = {}
    for hold in (0, 7):
        env.reset(seed=3, options={"start": "closed"})
        chain = OpenThenGrasp(env.unwrapped, rng, hold=hold)
        infos = []
        while not chain.done:
            infos.append(env.step(np.clip(chain.act(), -1, 1).astype(np.float32))[-1])
        lengths[hold] = len(infos)
        assert all(info["success"] for info in infos[len(infos) - hold :])
    assert lengths[7] == lengths[0] + 7


def test_a_held_grasp_never_asks_for_the_return_that_may_throw_the_object() -> None:
    for case in (CASES[0], CASES[3], CASES[8]):
        episode = play(case, 11, hold=12)
        assert (episode.actions[:, 7] < 0).all() and succeeds(case, episode)[1][-13:].all()


def test_an_object_that_slips_away_while_it_is_held_is_taken_again() -> None:
    env = scene(TABLE)
    env.reset(seed=1, options={"start": "table"})
    bare: Any = env.unwrapped
    grasp = make_behaviour("grasp", bare, np.random.default_rng(1), {"hold": 8})
    place, dropped = bare.object_position(), False
    steps = 0
    while not grasp.done and steps < 100:
        if grasp.phase == 4 and grasp.steps == 4 and not dropped:  # in the middle of holding
            bare._client.api.resetBasePositionAndOrientation(bare.object, place.tolist(), [0, 0, 0, 1])
            dropped = True
        env.step(np.clip(grasp.act(), -1, 1).astype(np.float32))
        steps += 1
    assert dropped and grasp.done and grasp.recoveries >= 1
    assert np.linalg.norm(bare.object_position() - bare.gripper_position()) < GRASP_DISTANCE


def test_a_placed_object_that_is_taken_away_leaves_nothing_to_hold() -> None:
    env = scene(TABLE)
    env.reset(seed=1, options={"start": "held"})
    bare: Any = env.unwrapped
    behaviour = make_behaviour("place", bare, np.random.default_rng(1), {"hold": 20})
    held = 0
    while not behaviour.done:
        if behaviour.phase == 4:
            held += 1
            if held == 5:
                bare._client.api.resetBasePositionAndOrientation(bare.object, [0.4, 0.2, 0.02], [0, 0, 0, 1])
        env.step(np.clip(behaviour.act(), -1, 1).astype(np.float32))
    assert held < 8


@pytest.mark.parametrize("hold", [-1, 2.5, "long", True, None])
def test_what_is_no_number_of_steps_is_refused(hold: Any) -> None:
    env = scene(ONE)
    env.reset(seed=0)
    with pytest.raises(UsageError, match=r"hold is .*whole number of steps, at least 0"):
        make_behaviour("grasp", env.unwrapped, np.random.default_rng(0), {"hold": hold})


def test_links_of_ones_own_that_do_not_know_of_holding_still_make_a_chain() -> None:
    class Own(Behaviour):
        """Stays where it is."""

        phases = ("stay",)

        def __init__(self, env: Any, rng: np.random.Generator, suboptimal: bool = False) -> None:
            super().__init__(env, rng)

        def act(self) -> np.ndarray:
            self.done = True
            return np.zeros(8, np.float32)

    class Alone(Chain):
        links = (Own,)

    env = scene(TWO)
    env.reset(seed=0)
    assert isinstance(env.unwrapped, DoubleDrawer)
    chain = Alone(env.unwrapped, np.random.default_rng(0))
    chain.act()
    assert chain.done
    with pytest.raises(TypeError, match="hold"):
        Alone(env.unwrapped, np.random.default_rng(0), hold=3)
