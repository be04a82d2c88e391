"""A scene of one's own, complete: a point on a line that has to reach the right end."""

import gymnasium
import numpy as np
from gymnasium import spaces

from cog.signals.stages import always


class Reach:
    """A behaviour: go right until the episode ends."""

    done = False

    def __init__(self, env, rng, speed=0.5):
        self.speed = speed

    def act(self):
        """The next action (8,)."""
        return np.full(8, self.speed, np.float32)


def past_the_middle(signals):
    """The point is in the right half, (T,) bool."""
    return signals["place"] > 0.5


class Line(gymnasium.Env):
    """The point starts at the left or in the middle; the image shows it as a bright column."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    starts = ("left", "middle")
    signal_names = ("place",)
    behaviours = {"reach": Reach}  # noqa: RUF012
    stages = (
        ("never passed the middle", always),
        ("passed the middle, never reached the end", past_the_middle),
    )

    def __init__(self, observation="image", image_size=16, terminate_on_success=True, render_mode=None):
        self.render_mode = render_mode
        self.size = image_size
        self.terminate_on_success = terminate_on_success
        self.action_space = spaces.Box(-1, 1, (8,), np.float32)
        image = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = spaces.Dict(image=image, proprio=spaces.Box(-1, 1, (1,), np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        start = (options or {}).get("start", self.starts[0])
        self.place = (0.1 if start == "left" else 0.5) + 0.1 * self.np_random.random()
        return self._see()

    def step(self, action):
        self.place = float(np.clip(self.place + 0.2 * action[0], 0, 1))
        observation, info = self._see()
        success = info["success"]
        return observation, float(success), success and self.terminate_on_success, False, info

    def render(self):
        return self._see()[0]["image"]

    def _see(self):
        image = np.zeros((self.size, self.size, 3), np.uint8)
        image[:, int(self.place * (self.size - 1))] = 255
        info = {"signals": {"place": self.place}, "success": self.place > 0.9}
        return {"image": image, "proprio": np.array([self.place], np.float32)}, info


if "toy/Line-v0" not in gymnasium.registry:
    gymnasium.register("toy/Line-v0", entry_point=Line, max_episode_steps=20)
