"""A plain environment that observes several pictures is recorded with all of them, each by its name."""

from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.envs.make import Scene, make_environment, shown_by_default
from cog.errors import CogError, UsageError

HERE = "tests.cameras.test_plain_cameras"
SIZES = {"image": (6, 4, 3), "hand": (8, 8, 3), "depth-grey": (12, 10, 1), "left": (5, 7, 3)}
PLACE = spaces.Box(-3, 3, (2,), np.float32)


class Seeing(gymnasium.Env):
    """A point that goes right, seen by several cameras; it knows nothing of the toolkit."""

    def __init__(self, cameras: str = "hand+image", misnamed: str = "", grows: str = "") -> None:
        self.sizes = {name: SIZES[name] for name in cameras.split("+")}
        if misnamed:
            self.sizes[misnamed] = SIZES["left"]
        self.grows = grows
        boxes = {name: spaces.Box(0, 255, size, np.uint8) for name, size in self.sizes.items()}
        self.observation_space = spaces.Dict({**boxes, "place": PLACE})
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self._see(), {}

    def step(self, action: np.ndarray) -> Any:
        self.count += 1
        return self._see(), 0.0, False, False, {}

    def _see(self) -> dict[str, np.ndarray]:
        return {
            **{name: picture(name, self.count, size) for name, size in self._now().items()},
            "place": np.full(2, self.count, np.float32),
        }

    def _now(self) -> dict[str, tuple[int, ...]]:
        """Sizes of this frame's pictures."""
        if self.grows and self.count == 2:
            return {**self.sizes, self.grows: (9, 9, self.sizes[self.grows][2])}
        return self.sizes


def picture(name: str, frame: int, size: tuple[int, ...]) -> np.ndarray:
    """What the environment shows by this name in this frame."""
    return np.random.default_rng([*name.encode(), frame]).integers(0, 256, size, np.uint8)


def forward(seen: Any) -> np.ndarray:
    return np.array([0.5, 0.5])


if "toy/Seeing-v0" not in gymnasium.registry:
    gymnasium.register("toy/Seeing-v0", entry_point=Seeing, max_episode_steps=4)

ENV = f"{HERE}:toy/Seeing-v0"


def asked(observation: Any = "image", **options: Any) -> CollectionSpec:
    return CollectionSpec(
        episodes=2,
        behaviours=(BehaviourChoice(f"{HERE}:forward"),),
        starts=("reset",),
        env=ENV,
        env_options=options,
        observation=observation,
        image_size=8,
        max_episode_steps=4,
        noise=0.0,
    )


@pytest.mark.parametrize(
    ("cameras", "image", "further"),
    [
        ("hand+image", "image", ["hand"]),
        ("left+hand", "hand", ["left"]),  # a space sorts its entries
        ("image+depth-grey+left", "image", ["depth-grey", "left"]),
        ("depth-grey+left", "left", ["depth-grey"]),
        ("hand", "hand", []),
    ],
)
def test_the_picture_called_image_or_else_the_first_is_the_image_and_others_keep_their_names(
    cameras: str, image: str, further: list[str], tmp_path: Path
) -> None:
    assert shown_by_default(ENV, {"cameras": cameras}) == "image"
    dataset = collect(asked(cameras=cameras), tmp_path / "data", workers=1)
    shapes = {name: tuple(shape) for name, shape in dataset.environment["observations"].items()}
    colours = {name: (8, 8, SIZES[name][2]) for name in further}
    assert shapes == {"image": (8, 8, 3), "proprio": (2,), **colours}
    for episode in dataset.episodes():
        assert list(episode.cameras) == further
        for name, recorded in zip((image, *further), episode.pictures().values(), strict=True):
            for frame, found in enumerate(recorded):
                shown = picture(name, frame, SIZES[name])
                stretched = cv2.resize(shown, (8, 8), interpolation=cv2.INTER_AREA).reshape(found.shape)
                np.testing.assert_array_equal(found, stretched)


def test_where_the_state_is_recorded_no_picture_is(tmp_path: Path) -> None:
    dataset = collect(asked("state", misnamed="a/b"), tmp_path / "data", workers=1)
    assert dataset.environment["observations"] == {"state": [2]}
    assert not next(dataset.episodes()).pictures()


@pytest.mark.parametrize("name", ["proprio", "state", "über", "top view", "a/b", ".hidden"])
def test_a_further_picture_of_another_name_is_refused_with_a_remedy(name: str) -> None:
    said = rf"Seeing-v0 observes a further picture called '{name}'\. Register .* names it by letters, digits"
    with pytest.raises(UsageError, match=said):
        make_environment(asked(misnamed=name).scene())


def test_a_picture_of_grey_alone_is_no_image() -> None:
    with pytest.raises(UsageError, match=r"'depth-grey' of .* neither a picture \(H, W, 3\) uint8"):
        make_environment(asked(cameras="depth-grey").scene())


def nested(**options: Any) -> Any:
    env = Seeing()
    env.observation_space = spaces.Dict({"cameras": env.observation_space})
    return env


def test_nested_pictures_are_refused_with_a_remedy() -> None:
    if "toy/Deep-v0" not in gymnasium.registry:
        gymnasium.register("toy/Deep-v0", entry_point=nested, max_episode_steps=4)
    with pytest.raises(UsageError, match=r"'cameras' of .*TransformObservation that puts its entries beside"):
        make_environment(Scene("toy/Deep-v0", (8, 8, 3), 4))


@pytest.mark.parametrize("name", ["image", "hand", "depth-grey"])
def test_a_picture_of_any_camera_that_changes_its_size_ends_the_collection(name: str, tmp_path: Path) -> None:
    spec = asked(cameras="image+hand+depth-grey", grows=name)
    size = ", ".join(map(str, SIZES[name]))
    with pytest.raises(CogError, match=rf"frame 2 of .* {name} must be uint8 \({size}\), found uint8 \(9, 9"):
        collect(spec, tmp_path / "data", workers=1)
