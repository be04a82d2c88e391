"""Check, before anything runs, that a policy fits an environment: shapes, starts and videos."""

from collections.abc import Sequence

from cog.envs.contract import draws_pictures, try_out
from cog.envs.make import Scene, make_environment
from cog.errors import CogError, UsageError
from cog.networks.encoder import ObservationShape


def check_scene(
    scene: Scene, shape: ObservationShape, actions: int, starts: Sequence[str], films: bool = False
) -> tuple[str, ...]:
    """Build the environment once and compare it with the policy's shapes and the starts.

    Returns:
        The names of the scene's failure stages, from least to most.

    Raises:
        UsageError: the environment or a start does not exist, it lacks something that every scene needs, or
            `films` are requested and it does not render.
        CogError: the policy was trained on other observations or actions.
    """
    env = make_environment(scene, "rgb_array")
    try:
        known = tuple(env.unwrapped.starts)
        for start in starts:
            if start not in known:
                raise UsageError(
                    f"{scene.env} has no start {start!r}", remedy=f"choose one of: {', '.join(known)}"
                )
        spaces = {name: space.shape for name, space in env.observation_space.spaces.items()}
        required: dict[str, tuple[int, ...]] = {scene.pose: (shape.proprio,), "action": (actions,)}
        if shape.image is not None:
            required["image"] = tuple(shape.image)
        found = {**spaces, "action": env.action_space.shape}
        for name, expected in required.items():
            if found.get(name) != expected:
                raise CogError(
                    f"the policy was trained with {name} {expected}, but {scene.env} gives "
                    f"{found.get(name, 'none')}",
                    remedy="use the environment and options that the data came from",
                )
        try_out(env, scene.env)
        if films and not draws_pictures(env):
            raise UsageError(f"render() of {scene.env} draws no image", remedy="evaluate with --videos 0")
        return tuple(name for name, _ in getattr(env.unwrapped, "stages", ()))
    finally:
        env.close()
