"""The scene that data came from: what a policy acts in where no other is asked for."""

from collections.abc import Mapping
from typing import Any

from cog.errors import UsageError

FACTS = ("id", "max_episode_steps", "options")


def scene_facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the scene, of all that a dataset says of its environment: those of `FACTS` that it has."""
    return {name: environment[name] for name in FACTS if environment.get(name)}


def act_in(
    told: Mapping[str, Any],
    where: str,
    env: str | None = None,
    options: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
) -> tuple[str, dict[str, Any], int]:
    """Id, options and steps of the environment to act in: as asked for, otherwise as `told` by the data.

    Options of the data go with their own environment, and give way as a whole to others.

    Raises:
        UsageError: `where`, which names the data, tells as little as is asked for.
    """
    chosen = env or told.get("id")
    steps = max_episode_steps or told.get("max_episode_steps")
    wanted = {"--env": chosen, "--max-episode-steps": steps}
    if missing := [option for option, value in wanted.items() if value is None]:
        raise UsageError(f"{where} does not tell the scene of its data; give {' and '.join(missing)}")
    kept = told.get("options", {}) if env is None else {}
    return str(chosen), dict(options or kept), int(str(steps))
