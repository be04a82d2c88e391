"""Scenes for data and policies: build environments, look them up, and keep several of them."""

from dataclasses import dataclass
from typing import Any

from cog.envs.contract import load_scene
from cog.errors import UsageError


@dataclass(frozen=True)
class Scene:
    """An environment with all its arguments, except the start of each episode."""

    env: str
    """Gymnasium id, as `id` or `module:id`."""
    image: tuple[int, int, int] | None
    """Shape of the images, or None for the simulator's state."""
    max_episode_steps: int
    """Steps after which an episode is cut off."""
    options: tuple[tuple[str, Any], ...] = ()
    """Further arguments of the environment."""
    terminate_on_success: bool = True
    """Whether success ends an episode."""

    @property
    def pose(self) -> str:
        """Name of the observation that comes with the images, or of the only one."""
        return "state" if self.image is None else "proprio"


def make_environment(scene: Scene, render_mode: str | None = None) -> Any:
    """Build the environment of a scene, with `render()` for people if `render_mode` says so.

    `cog.envs.contract` checks it instead of Gymnasium's own checks, which name no remedy.

    Raises:
        UsageError: the id does not exist, or the environment does not accept the arguments.
    """
    import gymnasium

    import cog.envs  # noqa: F401  (registers the ids)

    load_scene(scene.env)
    arguments: dict[str, Any] = {"observation": "state"}
    if scene.image is not None:
        arguments = {"observation": "image", "image_size": scene.image[0]}
    try:
        return gymnasium.make(
            scene.env,
            max_episode_steps=scene.max_episode_steps,
            disable_env_checker=True,
            terminate_on_success=scene.terminate_on_success,
            render_mode=render_mode,
            **arguments,
            **dict(scene.options),
        )
    except (gymnasium.error.Error, TypeError) as error:
        raise UsageError(f"environment {scene.env!r} cannot be built: {error}") from error


def registered(env: str) -> Any:
    """Gymnasium's `EnvSpec` of an environment, given as `id` or `module:id`.

    Raises:
        UsageError: the id does not exist.
    """
    import gymnasium

    import cog.envs  # noqa: F401  (registers the ids)

    load_scene(env)
    try:
        return gymnasium.spec(env.rpartition(":")[2])
    except gymnasium.error.Error as error:
        raise UsageError(f"environment {env!r} cannot be built: {error}") from error


def registered_steps(env: str) -> int:
    """The number of steps per episode that an environment was registered with.

    Raises:
        UsageError: the environment does not exist, or was registered without a number of steps.
    """
    steps = registered(env).max_episode_steps
    if steps is None:
        raise UsageError(
            f"environment {env!r} is registered without max_episode_steps", remedy="pass --max-steps"
        )
    return int(steps)


def scene_class(env: str) -> Any:
    """The class of an environment, with its `starts`, `behaviours` and `stages`; nothing is built.

    Raises:
        UsageError: the id does not exist.
    """
    from gymnasium.envs.registration import load_env_creator

    entry_point = registered(env).entry_point
    return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


class Environments:
    """B environments of a scene, one for each row of a batch; call `close` at the end."""

    def __init__(self, scene: Scene, rows: int) -> None:
        self.scene = scene
        self.rows = rows
        self._built: dict[int, Any] = {}

    def env(self, row: int) -> Any:
        """The environment of a row, which is built once: building takes as long as a hundred steps."""
        if row not in self._built:
            self._built[row] = make_environment(self.scene, "rgb_array")  # as when its episodes are filmed
        return self._built[row]

    def close(self) -> None:
        """Close them all."""
        for env in self._built.values():
            env.close()
