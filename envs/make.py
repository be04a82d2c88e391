"""Scenes for data and policies: build environments, look them up, and keep several of them."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
from gymnasium.wrappers import TimeLimit

from cog.envs.contract import check_names
from cog.envs.held import Held
from cog.envs.plain import Plain, entries, is_plain
from cog.envs.reading import UNKNOWN, Reading, Turned
from cog.errors import CogError, UsageError
from cog.users import load_module, modules_of, users_code


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
    reading: Reading = UNKNOWN
    """How the data of a policy that acts there were read, as which the environment is shown to it."""

    @property
    def pose(self) -> str:
        """Name of the observation that comes with the images, or of the only one."""
        return "state" if self.image is None else "proprio"


def make_environment(scene: Scene, render_mode: str | None = None) -> Any:
    """Build the environment of a scene, with `render()` for people if `render_mode` says so.

    It is held to the contract of a scene (`cog.envs.held`) instead of Gymnasium's own checks, which name no
    remedy. A plain environment is built as one (`cog.envs.plain`).

    Raises:
        UsageError: the id does not exist, the environment does not accept the arguments, or it is no scene.
    """
    creator = scene_class(scene.env)
    env = None
    if not _asks_to_be_a_scene(creator):
        drawn = render_mode if scene.image is None else "rgb_array"
        env = _built(scene, {} if drawn is None or not _draws(creator) else {"render_mode": drawn})
        if is_plain(env.unwrapped):
            size = None if scene.image is None else scene.image[0]
            with _building(scene.env, "reading its spaces"):
                env = Plain(env, scene.env, size, scene.terminate_on_success, scene.reading)
        else:  # a function had built one, or its constructor had set its attributes
            with _building(scene.env, "close()"):
                env.close()
            env = None
    if env is None:
        arguments: dict[str, Any] = {"observation": "state"}
        if scene.image is not None:
            arguments = {"observation": "image", "image_size": scene.image[0]}
        env = _built(
            scene,
            {**arguments, "terminate_on_success": scene.terminate_on_success, "render_mode": render_mode},
        )
    with _building(scene.env, "reading its attributes"):
        held: Any = Held(env, scene.env, "state" if scene.image is None else "image")
    if scene.reading.axes and not isinstance(env, Plain):  # which turns its pictures over itself
        held = Turned(held, scene.reading)
    return TimeLimit(held, scene.max_episode_steps)


def shown_by_default(env: str, options: Mapping[str, Any]) -> Literal["image", "state"]:
    """What is recorded of an environment unless told otherwise: of a plain one its picture, if it has one.

    Raises:
        UsageError: it cannot be built, or its observations do not fit.
    """
    if _asks_to_be_a_scene(scene_class(env)):
        return "image"
    built = _built(Scene(env, None, 1, tuple(options.items())), {})
    try:
        if not is_plain(built.unwrapped):
            return "image"
        return "image" if entries(built.observation_space, env)[0] else "state"
    finally:
        with _building(env, "close()"):
            built.close()


def starts_of(env: str) -> tuple[str, ...]:
    """Names of an environment's starts, the default first; nothing is built.

    Raises:
        UsageError: the id does not exist, or its starts are no tuple of names.
    """
    starts = getattr(scene_class(env), "starts", Plain.starts)
    check_names("starts", starts, env)
    return tuple(starts)


def check_wrist(env: str) -> None:
    """Refuse an environment that takes no argument `wrist`; nothing is built.

    Raises:
        UsageError: it has no camera at the wrist, or the id does not exist.
    """
    parameters = inspect.signature(scene_class(env)).parameters.values()
    if not any(one.name == "wrist" or one.kind is one.VAR_KEYWORD for one in parameters):
        raise UsageError(
            f"{env} has no camera at the wrist: its constructor takes no wrist", remedy="leave --wrist out"
        )


def _asks_to_be_a_scene(creator: Any) -> bool:
    """Whether a class or function has a scene's attributes or takes its arguments, before it is called."""
    return not is_plain(creator) or "observation" in inspect.signature(creator).parameters


def _draws(creator: Any) -> bool:
    """Whether a plain environment says that it can be built to draw pictures."""
    if isinstance(creator, type):
        return "rgb_array" in getattr(creator, "metadata", {}).get("render_modes", ())
    parameters = inspect.signature(creator).parameters.values()
    return any(one.name == "render_mode" or one.kind is one.VAR_KEYWORD for one in parameters)


def _built(scene: Scene, arguments: Mapping[str, Any]) -> Any:
    """Gymnasium's environment of these arguments and the scene's options, without a limit of steps.

    Raises:
        UsageError: it does not accept them, or raises something else.
    """
    with _building(scene.env, "its constructor"), any_version():
        return gymnasium.make(
            scene.env,
            max_episode_steps=-1,
            disable_env_checker=True,
            **arguments,
            **dict(scene.options),
        )


@contextmanager
def any_version() -> Iterator[None]:
    """Build a scene of an older version without Gymnasium's advice to take the newest: data belong to one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*environment cog/\S+ is out of date", DeprecationWarning)
        yield


@contextmanager
def _building(env: str, what: str) -> Iterator[None]:
    """Say of which environment an error is that its code raises in this block, before anything has begun.

    Raises:
        UsageError: it raises anything; `what` says what it was asked for.
    """
    try:
        with users_code(what):
            yield
    except UsageError:
        raise
    except CogError as error:
        raise UsageError(f"environment {env!r} cannot be built: {error.what}", remedy=error.remedy) from error


def registered(env: str) -> Any:
    """Gymnasium's `EnvSpec` of an environment, given as `id` or `module:id`.

    Raises:
        UsageError: the id does not exist.
    """
    import cog.envs  # noqa: F401  (registers the ids)

    for module in modules_of(env):
        load_module(module, f"environment {env!r} cannot be built")
    try:
        return gymnasium.spec(env.rpartition(":")[2])
    except gymnasium.error.Error as error:
        what = f"environment {env!r} cannot be built: {error}"
        remedy = "check its spelling, and that importing the module registers it"
        if not modules_of(env):
            remedy = f"check its spelling; one that a module of yours registers is module:{env}"
        raise UsageError(what, remedy=remedy) from error


def is_registered(env: str) -> bool:
    """Whether an id, such as one that data record, is that of an environment; imports its module, if named.

    Raises:
        UsageError: the id names a module that cannot be imported.
    """
    import cog.envs  # noqa: F401  (registers the ids)

    for module in modules_of(env):
        load_module(module, f"environment {env!r} cannot be built")
    try:
        gymnasium.spec(env.rpartition(":")[2])
    except gymnasium.error.Error:
        return False
    return True


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
        UsageError: the id does not exist, or its class cannot be imported.
    """
    from gymnasium.envs.registration import load_env_creator

    entry_point = registered(env).entry_point
    if not isinstance(entry_point, str):
        return entry_point
    with _building(env, f"importing {entry_point!r}"):
        return load_env_creator(entry_point)


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
