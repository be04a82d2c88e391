"""A scene may show further cameras by their names; each is held to its space at every frame."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from cog.datasets.collection.collect import collect
from cog.envs.contract import promised
from cog.envs.make import make_environment
from cog.errors import CogError, UsageError
from tests.envs.test_contract import SPEC as SCENE_SPEC
from tests.helpers.breaking_scene import Breaking

SIZES = {"wrist": (6, 10, 3), "top-2": (4, 4, 1)}
ENV = "tests.cameras.test_contract_cameras:toy/Watched-v0"


class Watched(Breaking):
    """The scene with two more cameras; from frame 2 on it shows what is `wrong` in their place."""

    wrong: ClassVar[dict[str, Any]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        further = {name: spaces.Box(0, 255, size, np.uint8) for name, size in SIZES.items()}
        self.observation_space = spaces.Dict({**self.observation_space.spaces, **further})

    def reset(self, **options: Any) -> Any:
        self.count = 0
        return super().reset(**options)

    def step(self, action: np.ndarray) -> Any:
        self.count += 1
        return super().step(action)

    def _frame(self) -> tuple[dict[str, Any], dict[str, Any]]:
        seen, info = super()._frame()
        further = {name: np.full(size, 10 * self.count + size[2], np.uint8) for name, size in SIZES.items()}
        return {**seen, **further, **(self.wrong if self.count >= 2 else {})}, info


if "toy/Watched-v0" not in gymnasium.registry:
    gymnasium.register("toy/Watched-v0", entry_point=Watched, max_episode_steps=4)

SPEC = replace(SCENE_SPEC, episodes=4, env=ENV)


@pytest.fixture(autouse=True)
def right() -> Iterator[None]:
    yield
    Watched.wrong = {}


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_of_every_camera_are_recorded_by_their_names(workers: int, tmp_path: Path) -> None:
    dataset = collect(SPEC, tmp_path / "data", workers=workers)
    shapes = {name: tuple(shape) for name, shape in dataset.environment["observations"].items()}
    assert shapes == {"image": (8, 8, 3), "proprio": (3,), **SIZES}
    for episode in dataset.episodes():
        assert set(episode.cameras) == set(SIZES)
        for name, size in SIZES.items():
            wanted = [np.full(size, 10 * frame + size[2], np.uint8) for frame in range(5)]
            np.testing.assert_array_equal(episode.cameras[name], wanted)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"wrist": np.zeros((6, 9, 3), np.uint8)},
            r"wrist must be uint8 \(6, 10, 3\), found uint8 \(6, 9, 3\)",
        ),
        ({"wrist": np.zeros((6, 10, 3), np.float32)}, r"wrist must be uint8 .* found float32"),
        ({"wrist": np.zeros((6, 10, 1), np.uint8)}, r"wrist must be uint8 \(6, 10, 3\)"),
        ({"wrist": None}, "wrist must be uint8 .* found object"),
        ({"top-2": np.zeros((4, 4), np.uint8)}, r"top-2 must be uint8 \(4, 4, 1\), found uint8 \(4, 4\)"),
        ({"top-2": np.zeros((4, 4, 3), np.uint8)}, r"top-2 must be uint8 \(4, 4, 1\)"),
        ({"side": np.zeros((4, 4, 3), np.uint8)}, "it observes image, proprio, side, top-2, wrist"),
    ],
)
def test_a_picture_that_breaks_its_promise_later_ends_the_collection_at_its_frame(
    wrong: dict[str, Any], said: str, tmp_path: Path
) -> None:
    Watched.wrong = wrong
    with pytest.raises(CogError, match=f"frame 2 of .*{said}") as refused:
        collect(SPEC, tmp_path / "data", workers=1)
    assert ENV in str(refused.value) and "\n" not in str(refused.value)


BYTES = spaces.Box(0, 255, (4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("further", "said"),
    [
        (
            {"proprio2": spaces.Box(-1, 1, (4,))},
            r"space of proprio2 of a scene is Box.*Leave it out, or make it",
        ),
        (
            {"mask": spaces.Box(0, 255, (4, 4), np.uint8)},
            r"space of mask of a scene is .*, or \(H, W, 1\) in grey",
        ),
        ({"depth": spaces.Box(0, 9, (4, 4, 1), np.float32)}, "space of depth"),
        ({"alpha": spaces.Box(0, 255, (4, 4, 4), np.uint8)}, "space of alpha"),
        ({"none": spaces.Box(0, 255, (0, 4, 3), np.uint8)}, "space of none"),
        ({"goal": spaces.Dict(a=BYTES)}, "space of goal"),
        ({"state": BYTES}, r"a scene observes a further picture called 'state'\. Name it by letters, digits"),
        ({"a/b": BYTES}, "further picture called 'a/b'"),
        ({"..": BYTES}, r"further picture called '\.\.'"),
        ({"x" * 64: BYTES}, "further picture called 'xxx"),
    ],
)
def test_what_is_no_further_camera_is_refused_by_its_key(further: dict[str, Any], said: str) -> None:
    env = Watched()
    env.observation_space = spaces.Dict({**env.observation_space.spaces, **further})
    with pytest.raises(UsageError, match=said) as refused:
        promised(env, "a scene", "image")
    assert "\n" not in str(refused.value)


def test_a_scene_that_shows_its_state_shows_no_cameras() -> None:
    env = Watched()
    env.observation_space = spaces.Dict(state=spaces.Box(-1, 1, (2,)), wrist=BYTES)
    with pytest.raises(
        UsageError, match=r"has state, wrist\. With observation='state', give it state and nothing"
    ):
        promised(env, "a scene", "state")
    env.observation_space = spaces.Dict(image=BYTES, wrist=BYTES)
    with pytest.raises(
        UsageError, match=r"has image, wrist\. .* give it image, proprio and beside them only"
    ):
        promised(env, "a scene", "image")


def test_a_scene_with_cameras_is_played_like_any_other() -> None:
    env = make_environment(replace(SPEC, max_episode_steps=2).scene())
    seen, _ = env.reset(seed=0)
    assert {name: value.shape for name, value in seen.items() if name in SIZES} == SIZES
    assert env.step(np.zeros(2, np.float32))[3] is False and env.step(np.zeros(2, np.float32))[3] is True
    env.close()
