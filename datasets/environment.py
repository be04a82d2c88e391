"""The environment that data came from, in which a policy acts by default."""

from collections.abc import Mapping
from typing import Any

from cog.errors import UsageError

FACTS = ("id", "max_episode_steps", "options")


def scene_facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that identify an environment: those of `FACTS` that a dataset records."""
    return {name: environment[name] for name in FACTS if environment.get(name)}


def act_in(
    recorded: Mapping[str, Any],
    where: str,
    env: str | None = None,
    options: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
) -> tuple[str, dict[str, Any], int]:
    """Id, options and steps of the environment to act in: as given, otherwise as `recorded` by the data.

    The data's options apply where no environment is given; a given option replaces that of its name.

    Raises:
        UsageError: id or steps are neither given nor recorded by the data, which `where` names.
    """
    chosen = env or (None if recorded.get("id") == "unknown" else recorded.get("id"))
    steps = max_episode_steps or recorded.get("max_episode_steps")
    required = {"--env": chosen, "--max-episode-steps": steps}
    if missing := [option for option, value in required.items() if value is None]:
        raise UsageError(
            "does not record its environment", where=where, remedy=f"pass {' and '.join(missing)}"
        )
    own = recorded.get("options", {}) if env is None else {}
    return str(chosen), {**own, **(options or {})}, int(str(steps))
