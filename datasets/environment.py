"""The environment that data came from, in which a policy acts by default."""

from collections.abc import Callable, Mapping
from typing import Any

from cog.errors import UsageError

OTHER = (
    " of an environment that observes and acts as these data do; on a robot, let it act with "
    "cog.Policy.act_robot"
)
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
    exists: Callable[[str], bool] | None = None,
) -> tuple[str, dict[str, Any], int]:
    """Id, options and steps of the environment to act in: as given, otherwise as `recorded` by the data.

    The data's options apply where no environment is given; a given option replaces that of its name.
    An id recorded by the data counts only if it `exists`.

    Raises:
        UsageError: id or steps are neither given nor recorded by the data, which `where` names, or the
            recorded id does not exist.
    """
    own_id = None if recorded.get("id") == "unknown" else recorded.get("id")
    known = env is not None or own_id is None or exists is None or exists(str(own_id))
    chosen = env or (own_id if known else None)
    steps = max_episode_steps or recorded.get("max_episode_steps")
    required = {"--env": chosen, "--max-episode-steps": steps}
    if missing := [option for option, value in required.items() if value is None]:
        what = "does not record its environment"
        if not known:
            what = f"was learnt from data of {own_id!r}, which is no environment registered with Gymnasium"
        elif chosen is not None:
            what = "does not record how many steps an episode of its environment has"
        raise UsageError(what, where=where, remedy=f"pass {' and '.join(missing)}{'' if known else OTHER}")
    own = recorded.get("options", {}) if env is None else {}
    return str(chosen), {**own, **(options or {})}, int(str(steps))
