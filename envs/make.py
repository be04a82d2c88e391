"""A scene as data and policies need it: how its environments are built, found and kept."""

from dataclasses import dataclass
from typing import Any

from cog.envs.contract import load_scene
from cog.errors import UsageError


@dataclass(frozen=True)
class Scene:
    """An environment with all its arguments, but for the start of each episode."""

    env: str
    """Gymnasium id, as `id` or `module:id`."""
    image: tuple[int, int, int] | None
    """Shape of the images, or none for the simulator's state."""
    max_episode_steps: int
    """Steps after which an episode is cut off."""
    options: tuple[tuple[str, Any], ...] = ()
    """Further arguments of the environment."""
    terminate_on_success: bool = True
    """Whether success ends an episode."""

    @property
    def pose(self) -> str:
        """The name of the observation that comes with the images, or of the only one."""
        return "state" if self.image is None else "proprio"


def make_environment(scene: Scene, render_mode: str | None = None) -> Any:
    """Build the environment of a scene, with `render()` for people where `render_mode` asks for it.

    `cog.envs.contract` checks what it shows; Gymnasium's own checks would name no remedy.

    Raises:
        UsageError: there is none of that id, or it refuses the arguments.
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
    """What Gymnasium knows of an environment, `id` or `module:id`: its `EnvSpec`.

    Raises:
        UsageError: there is none of that id.
    """
    import gymnasium

    import cog.envs  # noqa: F401  (registers the ids)

    load_scene(env)
    try:
        return gymnasium.spec(env.rpartition(":")[2])
    except gymnasium.error.Error as error:
        raise UsageError(f"environment {env!r} cannot be built: {error}") from error


def registered_steps(env: str) -> int:
    """The steps of an episode that an environment was registered with.

    Raises:
        UsageError: there is no such environment, or it was registered without a number of steps.
    """
    steps = registered(env).max_episode_steps
    if steps is None:
        raise UsageError(f"environment {env!r} is registered without max_episode_steps; give --max-steps")
    return int(steps)


def scene_class(env: str) -> Any:
    """The class of an environment, with its `starts`, `behaviours` and `stages`; nothing is built.

    Raises:
        UsageError: there is none of that id.
    """
    from gymnasium.envs.registration import load_env_creator

    entry_point = registered(env).entry_point
    return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


class Environments:
    """B environments of a scene, one for each row of a batch; to be closed."""

    def __init__(self, scene: Scene, rows: int) -> None:
        self.scene = scene
        self.rows = rows
        self._built: dict[int, Any] = {}

    def env(self, row: int) -> Any:
        """The environment of a row; building one takes as long as a hundred steps, so each is kept."""
        if row not in self._built:
            self._built[row] = make_environment(self.scene, "rgb_array")  # as its episodes are filmed
        return self._built[row]

    def close(self) -> None:
        """Close them all."""
        for env in self._built.values():
            env.close()
