"""A scene as policies need it: how its environments are built, checked and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cog.datasets.contract import check_attributes, check_first_frame, draws_pictures, load_scene
from cog.errors import CogError, UsageError
from cog.networks import ObservationShape


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


def check_scene(
    scene: Scene, shape: ObservationShape, actions: int, starts: Sequence[str], films: bool = False
) -> None:
    """Build the environment once and hold the policy's shapes and the starts against it.

    Raises:
        UsageError: no such environment or start, something is missing that every scene needs, or `films`
            are wanted and it draws no pictures.
        CogError: the policy was trained on other observations or actions.
    """
    env = make_environment(scene)
    try:
        check_attributes(env, scene.env)
        known = tuple(env.unwrapped.starts)
        for start in starts:
            if start not in known:
                raise UsageError(f"start {start!r} is unknown; {scene.env} has: {', '.join(known)}")
        spaces = {name: space.shape for name, space in env.observation_space.spaces.items()}
        wanted: dict[str, tuple[int, ...]] = {scene.pose: (shape.proprio,), "action": (actions,)}
        if shape.image is not None:
            wanted["image"] = tuple(shape.image)
        found = {**spaces, "action": env.action_space.shape}
        for name, expected in wanted.items():
            if found.get(name) != expected:
                raise CogError(
                    f"the policy was trained with {name} {expected}, but {scene.env} gives "
                    f"{found.get(name, 'none')}; use the environment and options that the data came from"
                )
        check_first_frame(env, scene.env, "state" if scene.image is None else "image")
        if films and not draws_pictures(env):
            raise UsageError(f"{scene.env} draws no picture in render(); evaluate it with --videos 0")
    finally:
        env.close()


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
