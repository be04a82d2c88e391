"""A plain Gymnasium environment is collected from with a policy function, trained on and evaluated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cog import cli
from cog.datasets.action_scale import FACT, ActionScale
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.load import load
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.robot_interface import KEY, RobotInterface
from cog.datasets.storage.dataset import open_dataset
from cog.envs.make import Scene, make_environment, shown_by_default, starts_of
from cog.envs.plain import Plain
from cog.errors import CogError, UsageError
from cog.evaluation.check import check_scene
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.networks.encoder import ObservationShape
from cog.training.presets import preset
from cog.training.train import train

HERE = "tests.envs.test_plain"
PIXELS = spaces.Box(0, 255, (6, 4, 3), np.uint8)
PLACE = spaces.Box(-3, 3, (2,), np.float64)
SPEED = spaces.Box(-3, 3, (), np.float32)
SEEN: list[Any] = []  # what the policy function was shown


class Cart(gymnasium.Env):
    """A cart that is pushed by -3 to 5 units and has arrived beyond 2; it knows nothing of the toolkit."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, shown: str = "place") -> None:
        self.render_mode, self.shown = render_mode, shown
        self.action_space = spaces.Box(np.float32([-3, -1]), np.float32([5, 1]), dtype=np.float32)
        parts = {"pixels": PIXELS, "place": PLACE, "speed": SPEED}
        chosen = {name: parts[name] for name in shown.split("+")}
        self.observation_space = spaces.Dict(chosen) if len(chosen) > 1 else chosen[shown]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        assert options is None
        super().reset(seed=seed)
        self.place, self.pushed = float(self.np_random.random()), np.zeros(2)
        return self._see(), {}

    def step(self, action: np.ndarray) -> Any:
        assert action.dtype == np.float32 and self.action_space.contains(action)
        self.pushed = action
        self.place += 0.1 * float(action[0])
        info = {"is_success": self.place > 2}
        return self._see(), -abs(2 - self.place), False, self.place > 2.9, info

    def render(self) -> np.ndarray:
        return np.full((10, 20, 3), 7, np.uint8)

    def _see(self) -> Any:
        values = {
            "pixels": np.full((6, 4, 3), int(20 * self.place) % 256, np.uint8),
            "place": np.array([self.place, 1.0]),
            "speed": np.float32(self.pushed[0]),
        }
        chosen = {name: values[name] for name in self.shown.split("+")}
        return chosen if len(chosen) > 1 else chosen[self.shown]


def push(seen: Any) -> np.ndarray:
    """The policy function: 4 units forward, in the cart's own."""
    SEEN.append(seen)
    return np.array([4.0, 0.5])


def plain(**options: Any) -> Any:
    return gymnasium.make("toy/Cart-v0", disable_env_checker=True, **options)


if "toy/Cart-v0" not in gymnasium.registry:
    gymnasium.register("toy/Cart-v0", entry_point=Cart, max_episode_steps=9)
    gymnasium.register("toy/Made-v0", entry_point=plain, max_episode_steps=9)

CART = f"{HERE}:toy/Cart-v0"
SPEC = CollectionSpec(
    episodes=3,
    behaviours=(BehaviourChoice(f"{HERE}:push"),),
    starts=("reset",),
    env=CART,
    observation="state",
    image_size=8,
    max_episode_steps=9,
    noise=0.0,
)


def shown(what: str, observation: str = "image", **changes: Any) -> CollectionSpec:
    return replace(SPEC, observation=observation, env_options={"shown": what}, **changes)


def test_a_policy_function_acts_in_the_environments_own_units_and_success_and_reward_are_recorded(
    tmp_path: Path,
) -> None:
    SEEN.clear()
    dataset = collect(SPEC, tmp_path / "data", workers=1)
    assert ActionScale.of(dataset.environment) == ActionScale((-3.0, -1.0), (5.0, 1.0))
    assert all(isinstance(seen, np.ndarray) and seen.dtype == np.float64 for seen in SEEN)
    for episode in dataset.episodes():
        np.testing.assert_allclose(episode.actions, np.tile([0.75, 0.5], (len(episode), 1)), atol=1e-6)
        places = episode.state[:, 0]
        np.testing.assert_allclose(np.diff(places), 0.4, atol=1e-5)
        np.testing.assert_allclose(episode.signals["reward"][1:], -np.abs(2 - places[1:]), atol=1e-5)
        assert episode.signals["reward"][0] == 0 and episode.start == "reset"
        np.testing.assert_array_equal(episode.signals["success"], places > 2)
        assert episode.success and episode.terminated and not episode.signals["success"][:-1].any()


def test_without_an_end_at_success_the_environment_alone_says_when_an_episode_ends(tmp_path: Path) -> None:
    dataset = collect(replace(SPEC, terminate_on_success=False), tmp_path / "data", workers=1)
    for episode in dataset.episodes():
        assert episode.success and not episode.terminated and episode.truncated
        assert episode.signals["success"].sum() > 1


@pytest.mark.parametrize(
    ("what", "observation", "image", "pose"),
    [
        ("place", "state", None, [0, 1]),
        ("place+speed", "state", None, [0, 1, 0]),
        ("pixels+place+speed", "state", None, [0, 1, 0]),
        ("pixels+place+speed", "image", "pixels", [0, 1, 0]),
        ("pixels", "image", "pixels", [0]),
        ("place", "image", "render", [0, 1]),
    ],
)
def test_an_observation_space_says_what_is_recorded(
    what: str, observation: str, image: str | None, pose: list[float], tmp_path: Path
) -> None:
    dataset = collect(shown(what, observation), tmp_path / "data", workers=1)
    episode = next(dataset.episodes())
    found = episode.state if image is None else episode.proprio
    assert found is not None and found.shape[1] == len(pose)
    assert dataset.environment.get("proprio_absent", False) == (what == "pixels")
    if len(pose) > 1:
        assert np.all(found[:, 1] == 1) and np.all(np.diff(found[:, 0]) > 0)
    if len(pose) > 2:
        assert found[0, 2] == 0 and np.all(found[1:, 2] == 4)
    if image is None:
        assert episode.images is None
        return
    assert episode.images is not None and episode.images.shape[1:] == (8, 8, 3)
    if image == "render":
        assert np.all(episode.images == 7)
    else:
        assert len(np.unique(episode.images)) == len(episode.images)


def test_what_is_recorded_unless_told_otherwise_is_the_picture_if_there_is_one() -> None:
    assert shown_by_default(CART, {"shown": "pixels+place"}) == "image"
    assert shown_by_default(CART, {"shown": "place"}) == "state"
    assert shown_by_default("cog/PickPlace-v0", {}) == "image"
    assert starts_of(CART) == ("reset",) and starts_of("cog/PickPlace-v0")[0] == "held"


@pytest.mark.parametrize("env", [CART, f"{HERE}:toy/Made-v0"])
def test_commands_collect_train_and_evaluate_a_plain_environment(
    env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    collecting = ["collect", "--env", env, "--policy", f"{HERE}:push", "--episodes", "4", "--workers", "1"]
    assert cli.run([*collecting, "--out", "data", "--noise", "0"]) == 0
    dataset = open_dataset(tmp_path / "data")
    assert dataset.success_count == 4 and list(dataset.environment["observations"]) == ["state"]
    relabel(tmp_path / "data", "recorded_success", "arrived")
    transitions = load(open_merge(tmp_path / "data@arrived"))
    assert transitions.rewards.sum() == 4
    config = replace(preset("cpu", tmp_path / "data@arrived", tmp_path / "run"), updates=3, batch_size=4)
    train(config)
    asked = EvaluateConfig(tmp_path / "run", tmp_path / "eval", episodes=2, workers=1, videos=1)
    assert [(result.start, result.rate.episodes) for result in evaluate(asked).results] == [("reset", 2)]
    assert list((tmp_path / "eval").glob("sheet_reset.png"))


@given(
    st.lists(
        st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(0.125, 1e3, width=32)), min_size=1, max_size=4
    ),
    st.data(),
)
def test_actions_are_scaled_as_every_dataset_with_an_action_scale_says(
    bounds: list[tuple[float, float]], data: st.DataObject
) -> None:
    low = np.float32([start for start, _ in bounds])
    high = np.float32(low + np.float32([width for _, width in bounds]))
    env = plain()
    env.unwrapped.action_space = spaces.Box(low, high, dtype=np.float32)
    scene, scale = Plain(env, "a cart"), ActionScale(tuple(map(float, low)), tuple(map(float, high)))
    unit = np.float32([data.draw(st.floats(-1, 1, width=32)) for _ in bounds])
    own = scene.to_own(unit)
    assert own.dtype == np.float32 and np.all((low <= own) & (own <= high))
    np.testing.assert_array_equal(own, np.clip(scale.to_robot(unit), low, high).astype(np.float32))
    np.testing.assert_array_equal(np.float32(scene.to_unit(own)), scale.to_unit(own))


def alone(change: Callable[[Any], None]) -> Callable[..., Any]:
    """A plain environment with something else in it."""

    def made(**options: Any) -> Any:
        env = Cart(**options)
        change(env)
        return env

    return made


def another(name: str, value: Any) -> Callable[..., Any]:
    return alone(lambda cart: setattr(cart, name, value))


MISFITS = {
    "Discrete": (another("action_space", spaces.Discrete(3)), r"takes actions from Discrete\(3\)"),
    "Whole": (another("action_space", spaces.Box(0, 3, (2,), np.int64)), "of floats"),
    "Endless": (another("action_space", spaces.Box(-np.inf, np.inf, (2,))), "without finite bounds"),
    "Still": (
        another("action_space", spaces.Box(np.float32([0, 1]), np.float32([3, 1]))),
        "whose component 1 has equal bounds 1 and 1; it has no range",
    ),
    "Huge": (another("_see", lambda: np.array([0, 1e300])), r"state\[1\] is inf"),
    "Several": (
        another("step", lambda a: (np.zeros(2), 0.0, False, False, {"is_success": np.array([False, True])})),
        r"frame 1 of .* success is array\(\[False,  True\]\)\. Make it true or false",
    ),
    "Unsaid": (another("metadata", None), "metadata of .*Unsaid-v0 is NoneType. Make it a dict"),
    "Blind": (another("observation_space", spaces.Box(0, 1, (0,))), "Blind-v0 observes no numbers. Record"),
    "Text": (another("observation_space", spaces.Text(4)), "neither a picture .* nor a row of numbers"),
    "Grey": (another("observation_space", spaces.Box(0, 255, (9, 9), np.uint8)), "neither a picture"),
    "Float": (another("observation_space", spaces.Box(0, 1, (9, 9, 3))), "neither a picture"),
    "Other": (
        another("_see", lambda: np.zeros(3)),
        r"the observation has shape \(3,\), but its space has \(2,\)",
    ),
    "Nested": (another("_see", lambda: np.zeros((1, 2))), r"shape \(1, 2\), but its space has \(2,\)"),
    "Infinite": (another("_see", lambda: np.array([0, np.inf])), r"state\[1\] is inf"),
    "Old": (another("reset", lambda: np.zeros(2)), r"reset\(\) of .*Old-v0 takes no seed and no options"),
    "Lone": (another("reset", lambda seed, options: np.zeros(2)), "it returns ndarray .*, not 2"),
    "Four": (another("step", lambda action: (np.zeros(2), 0.0, False, {})), "it returns 4 values, not 5"),
    "Unpaid": (another("step", lambda a: (np.zeros(2), None, False, False, {})), "'reward' must be a finite"),
    "Unsure": (
        another("step", lambda a: (np.zeros(2), 0.0, False, False, {"success": "so"})),
        "success is 'so'",
    ),
    "Undecided": (
        another("step", lambda a: (np.zeros(2), 0.0, False, False, {"success": False, "is_success": True})),
        "success and is_success, and they differ",
    ),
    "Leaving": (another("step", lambda action: exec("raise SystemExit(2)")), r"sys\.exit\(2\)"),
}


@pytest.mark.filterwarnings("error:.*overflow:RuntimeWarning")
@pytest.mark.parametrize("name", MISFITS)
def test_an_environment_that_does_not_fit_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    made, said = MISFITS[name]
    env = f"toy/{name}-v0"
    if env not in gymnasium.registry:
        gymnasium.register(env, entry_point=made, max_episode_steps=9)
    with pytest.raises(CogError, match=said) as refused:
        collect(replace(SPEC, env=env), tmp_path / "data", workers=1)
    assert env in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "data").exists()


class Growing(Cart):
    """The cart, whose pictures grow once it has come far."""

    def render(self) -> np.ndarray:
        return np.zeros((6 if self.place < 1.2 else 8, 4, 3), np.uint8)

    def _see(self) -> Any:
        return self.render() if self.shown == "pixels" else super()._see()


@pytest.mark.parametrize("shown", ["pixels", "place"])
def test_a_picture_that_changes_its_size_later_ends_the_collection(shown: str, tmp_path: Path) -> None:
    if (env := "toy/Growing-v0") not in gymnasium.registry:
        gymnasium.register(env, entry_point=Growing, max_episode_steps=9)
    asked = replace(SPEC, env=env, observation="image", env_options={"shown": shown})
    with pytest.raises(CogError, match=r"must be uint8 \(6, 4, 3\), found uint8 \(8, 4, 3\)"):
        collect(asked, tmp_path / "data", workers=1)


def crooked(seen: Any) -> np.ndarray:
    return np.zeros(3)


def endless(seen: Any) -> np.ndarray:
    return np.array([np.inf, 0.0])


def wordy(seen: Any) -> list[str]:
    return ["left", "right"]


def hurried(seen: Any, speed: float) -> np.ndarray:
    return np.zeros(2)


def turning(seen: Any) -> np.ndarray:
    return np.array([1j, 0])


def deciding(seen: Any) -> list[bool]:
    return [True, False]


def leaving(seen: Any) -> None:
    raise SystemExit(5)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            "crooked",
            r"Cart-v0, frame 0 of the episode with seed 0: policy .*:crooked' gives an action of shape \(3,\)"
            r", but the scene takes \(2,",
        ),
        ("endless", r"endless' gives an action that is not finite: \[inf, 0\.0\]"),
        ("wordy", "wordy' gives an action of type <U5, not of real numbers"),
        ("hurried", r"hurried' must take one argument, the observation, but it takes \(seen.*speed"),
        ("turning", "turning' .* type complex128, not of real numbers"),
        ("deciding", "deciding' .* type bool, not of real numbers"),
        ("leaving", r"leaving' ends the program: sys\.exit\(5\)"),
        ("nowhere", "has nothing of that name"),
        ("SEEN", "has a list, no function"),
    ],
)
def test_a_policy_function_that_does_not_fit_is_named_in_one_line(
    policy: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        collect(
            replace(SPEC, behaviours=(BehaviourChoice(f"{HERE}:{policy}"),)), tmp_path / "data", workers=1
        )
    assert not (tmp_path / "data").exists()


def test_a_policy_function_acts_in_the_toolkits_own_scenes_too(tmp_path: Path) -> None:
    spec = CollectionSpec(
        2,
        (BehaviourChoice(f"{HERE}:look"),),
        ("left",),
        "tests.helpers.toy_scene:toy/Line-v0",
        image_size=16,
        max_episode_steps=5,
        noise=0.0,
    )
    dataset = collect(spec, tmp_path / "data", workers=1)
    assert FACT not in dataset.environment
    for episode in dataset.episodes():
        np.testing.assert_array_equal(episode.actions[:, 0], episode.proprio[:-1, 0])


def look(seen: Any) -> np.ndarray:
    """Go as far right as the point is already."""
    return np.full(8, seen["proprio"][0])


def test_an_episode_is_the_same_in_every_process_and_a_scene_says_where_it_has_no_pictures() -> None:
    env = make_environment(Scene(CART, None, 9))
    first, again = (env.reset(seed=3)[0]["state"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert env.render() is None
    env.close()


@pytest.mark.parametrize(
    "scale", [ActionScale((-3.0, -1.0), (5.0, 1.0)), ActionScale((-3, -1), (4, 1)), None]
)
def test_a_policy_acts_only_where_actions_have_the_bounds_of_its_data(scale: ActionScale | None) -> None:
    space = plain().action_space
    assert (space.low.tolist(), space.high.tolist()) == ([-3.0, -1.0], [5.0, 1.0])
    asked = (Scene(CART, None, 9), ObservationShape(None, 2), 2, ("reset",))
    facts = {KEY: RobotInterface(scale=scale).to_json()}
    check_scene(*asked, {})  # data from before do not say
    if scale is not None and scale.high[0] == 5:
        check_scene(*asked, facts)
        return
    with pytest.raises(CogError, match="takes actions from -3, -1 to 5, 1, but in the policy's data"):
        check_scene(*asked, facts)
