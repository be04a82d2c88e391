"""A scene of one's own, complete: a point on a line that reaches the right end."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from cog.signals.predicates import Signals
from cog.signals.stages import always


class Reach:
    """A behaviour: go right."""

    done = False

    def __init__(self, env: "Line", rng: np.random.Generator, speed: float = 0.5) -> None:
        self.speed = speed

    def act(self) -> np.ndarray:
        """The next action (8,)."""
        return np.full(8, self.speed, np.float32)


def past_the_middle(signals: Signals) -> np.ndarray:
    """The point is in the right half, (T,) bool."""
    return np.asarray(signals["place"] > 0.5)


class Line(gymnasium.Env):
    """The point starts at the left or in the middle; a picture shows it as a bright column."""

    starts = ("left", "middle")
    signal_names = ("place",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    behaviours = {"reach": Reach}  # noqa: RUF012
    stages = (
        ("never passed the middle", always),
        ("passed the middle, never reached the end", past_the_middle),
    )

    def __init__(
        self,
        start: str = "left",
        observation: str = "image",
        image_size: int = 16,
        terminate_on_success: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self.size = image_size
        self.start = start
        self.terminate_on_success = terminate_on_success
        self.action_space = spaces.Box(-1, 1, (8,), np.float32)
        image = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = spaces.Dict(image=image, proprio=spaces.Box(-1, 1, (1,), np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        start = (options or {}).get("start", self.start)
        self.place = (0.1 if start == "left" else 0.5) + 0.1 * self.np_random.random()
        return self._see()

    def step(self, action: np.ndarray) -> Any:
        self.place = float(np.clip(self.place + 0.2 * action[0], 0, 1))
        observation, info = self._see()
        success = info["success"]
        return observation, float(success), success and self.terminate_on_success, False, info

    def render(self) -> np.ndarray:
        return self._see()[0]["image"]

    def _see(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        image = np.zeros((self.size, self.size, 3), np.uint8)
        image[:, int(self.place * (self.size - 1))] = 255
        info = {"signals": {"place": self.place}, "success": self.place > 0.9}
        return {"image": image, "proprio": np.array([self.place], np.float32)}, info


if "toy/Line-v0" not in gymnasium.registry:
    gymnasium.register("toy/Line-v0", entry_point=Line, max_episode_steps=20)
