"""The toy scene seen as a state instead of an image: a point on a line that reaches the right end."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Reach:
    """A behaviour: go right."""

    done = False

    def __init__(self, env: "StateLine", rng: np.random.Generator, speed: float = 0.5) -> None:
        self.speed = speed

    def act(self) -> np.ndarray:
        """The next action (2,)."""
        return np.full(2, self.speed, np.float32)


class StateLine(gymnasium.Env):
    """The point starts at the left or in the middle; its place and its last move are the state."""

    starts = ("left", "middle")
    signal_names = ("place",)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    behaviours = {"reach": Reach}  # noqa: RUF012

    def __init__(
        self,
        start: str = "left",
        observation: str = "state",
        image_size: int = 8,
        terminate_on_success: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self.start = start
        self.terminate_on_success = terminate_on_success
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = spaces.Dict(state=spaces.Box(-1, 1, (2,), np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        start = (options or {}).get("start", self.start)
        self.place = (0.1 if start == "left" else 0.5) + 0.1 * self.np_random.random()
        self.move = 0.0
        return self._see()

    def step(self, action: np.ndarray) -> Any:
        self.move = float(0.2 * action[0])
        self.place = float(np.clip(self.place + self.move, 0, 1))
        observation, info = self._see()
        success = info["success"]
        return observation, float(success), success and self.terminate_on_success, False, info

    def render(self) -> np.ndarray:
        return np.full((8, 8, 3), int(255 * self.place), np.uint8)

    def _see(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        info = {"signals": {"place": self.place}, "success": self.place > 0.9}
        return {"state": np.array([self.place, self.move], np.float32)}, info


if "toy/StateLine-v0" not in gymnasium.registry:
    gymnasium.register("toy/StateLine-v0", entry_point=StateLine, max_episode_steps=12)
