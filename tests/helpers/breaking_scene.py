"""A scene that keeps its contract until a moment, and breaks one rule of it from then on."""

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

Returned = list[Any]
"""What `reset` or `step` is about to return: (observation, info) or (observation, reward, flags, info)."""


class Go:
    """A behaviour: go right."""

    done = False

    def __init__(self, env: "Breaking", rng: np.random.Generator) -> None:
        pass

    def act(self) -> np.ndarray:
        """The next action (2,)."""
        return np.full(2, 0.05, np.float32)


class Breaking(gymnasium.Env):
    """A point on a line; `change` alters what it returns, once it was reset and stepped so many times."""

    starts = ("left",)
    signal_names = ("place", "speed")
    behaviours = {"go": Go}  # noqa: RUF012
    metadata = {"render_modes": []}  # noqa: RUF012
    change: ClassVar[Callable[[Returned], Any]] = staticmethod(lambda returned: tuple(returned))
    moment: ClassVar[tuple[int, int]] = (0, 0)
    """Resets and steps after which it is altered."""
    counted: ClassVar[list[int]] = [0, 0]
    """Resets and steps so far, of all its objects."""

    def __init__(
        self,
        observation: str = "image",
        image_size: int = 8,
        terminate_on_success: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.size = image_size
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        image = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = spaces.Dict(image=image, proprio=spaces.Box(-9, 9, (3,), np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place = 0.1 * float(self.np_random.random())
        self.counted[0] += 1
        return self._returned([*self._frame()])

    def step(self, action: np.ndarray) -> Any:
        self.place += float(action[0])
        self.counted[1] += 1
        observation, info = self._frame()
        return self._returned([observation, 0.5, False, False, info])

    def _frame(self) -> tuple[dict[str, Any], dict[str, Any]]:
        image = np.full((self.size, self.size, 3), 40, np.uint8)
        seen = {"image": image, "proprio": np.full(3, self.place, np.float32)}
        return seen, {"signals": {"place": self.place, "speed": 0.0}, "success": False}

    def _returned(self, returned: Returned) -> Any:
        reached = all(count >= least for count, least in zip(self.counted, self.moment, strict=True))
        return type(self).change(returned) if reached else tuple(returned)


if "toy/Breaking-v0" not in gymnasium.registry:
    gymnasium.register("toy/Breaking-v0", entry_point=Breaking, max_episode_steps=4)
