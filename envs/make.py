"""A scene as policies need it: how its environments are built and kept."""

from dataclasses import dataclass
from typing import Any

from cog.envs.contract import load_scene
from cog.errors import UsageError


@dataclass(frozen=True)
class Scene:
    """The environment as a policy needs it."""

    env: str
    """Gymnasium id."""
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
        """The name of the observation beside the images, or of the only one."""
        return "state" if self.image is None else "proprio"


def make_environment(scene: Scene, start: str | None = None) -> Any:
    """Build the environment; without a `start` it has the environment's default one.

    Raises:
        UsageError: there is none of that id, or it refuses the arguments.
    """
    import gymnasium

    import cog.envs  # noqa: F401  (registers the ids)

    load_scene(scene.env)
    arguments: dict[str, Any] = {"observation": "state"}
    if scene.image is not None:
        arguments = {"observation": "image", "image_size": scene.image[0]}
    if start is not None:
        arguments["start"] = start
    try:
        return gymnasium.make(
            scene.env,
            max_episode_steps=scene.max_episode_steps,
            disable_env_checker=True,
            terminate_on_success=scene.terminate_on_success,
            render_mode="rgb_array",
            **arguments,
            **dict(scene.options),
        )
    except (gymnasium.error.Error, TypeError) as error:
        raise UsageError(f"environment {scene.env!r} cannot be built: {error}") from error


class Environments:
    """B environments of a scene, one for each row of a batch; to be closed."""

    def __init__(self, scene: Scene, rows: int) -> None:
        self.scene = scene
        self.rows = rows
        self._built: dict[int, Any] = {}

    def env(self, row: int) -> Any:
        """The environment of a row; building one takes as long as a hundred steps, so each is kept."""
        if row not in self._built:
            self._built[row] = make_environment(self.scene)
        return self._built[row]

    def close(self) -> None:
        """Close them all."""
        for env in self._built.values():
            env.close()
