"""Run behaviours: the bytes of one shard as a pure function of (spec, shard number)."""

from pathlib import Path
from typing import Any

import numpy as np

from cog.datasets.collection.recorder import Recorder
from cog.datasets.collection.spec import CollectionSpec, Plan
from cog.datasets.episode import Episode
from cog.datasets.storage.dataset import shard_name
from cog.datasets.storage.shard import encode_shard
from cog.envs.contract import check_attributes, check_first_frame
from cog.envs.make import make_environment
from cog.errors import CogError, UsageError

ATTEMPTS = 50  # at one episode of the kind to keep
_ACTING_STREAM = 1  # separates the behaviour's draws from the environment's, which uses the seed alone


def environment_facts(spec: CollectionSpec) -> dict[str, Any]:
    """Build the environment once, check the spec against it, and describe it for the manifest.

    Raises:
        UsageError: the environment, a start, a behaviour or one of its options does not exist, or the
            environment does not match its own description.
    """
    from cog.envs.behaviours import make_behaviour

    env = make_environment(spec.scene())
    try:
        facts = describe_environment(env, spec)
        check_first_frame(env, spec.env, spec.observation)
        for choice in spec.behaviours:
            try:
                behaviour = make_behaviour(
                    choice.name, env.unwrapped, np.random.default_rng(0), dict(choice.options)
                )
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"behaviour {choice.name!r} does not accept {dict(choice.options)}: {error}"
                ) from error
            if missing := [name for name in ("act", "done") if not hasattr(behaviour, name)]:
                raise UsageError(f"behaviour {choice.name!r} of {spec.env} lacks {' and '.join(missing)}")
        return facts
    finally:
        env.close()


def describe_environment(env: Any, spec: CollectionSpec) -> dict[str, Any]:
    """Describe the environment of a spec for the manifest.

    Raises:
        UsageError: it lacks a start of the spec, or something that every scene needs.
    """
    check_attributes(env, spec.env)
    for start in spec.starts:
        if start not in env.unwrapped.starts:
            known = ", ".join(env.unwrapped.starts)
            raise UsageError(f"{spec.env} has no start {start!r}", remedy=f"choose one of: {known}")
    spaces = env.observation_space.spaces
    return {
        "id": spec.env,
        "observation": spec.observation,
        "image_size": spec.image_size,
        "terminate_on_success": spec.terminate_on_success,
        "max_episode_steps": spec.max_episode_steps,
        "observations": {name: list(space.shape) for name, space in sorted(spaces.items())},
        "action": list(env.action_space.shape),
        "signal_names": list(env.unwrapped.signal_names),
        "rewards": False,
        **({"options": dict(spec.env_options)} if spec.env_options else {}),
    }


def collect_shard(spec: CollectionSpec, shard: int) -> tuple[bytes, int, int, int]:
    """The bytes of a shard, and its number of episodes, steps and successes.

    Raises:
        CogError: no attempt at an episode gave one of the kind `spec.keep`.
    """
    env = make_environment(spec.scene())
    try:
        episodes = [_collect_episode(env, spec, number) for number in spec.shard_episodes(shard)]
    finally:
        env.close()
    data = encode_shard(episodes, spec.hash(), shard, Path(shard_name(shard)))
    return data, len(episodes), sum(map(len, episodes)), sum(episode.success for episode in episodes)


def _collect_episode(env: Any, spec: CollectionSpec, number: int) -> Episode:
    """Attempt an episode until it is of the kind to keep."""
    plan = spec.plan(number)
    for attempt in range(ATTEMPTS if spec.keep != "all" else 1):
        episode, succeeded = roll_out(env, spec, plan, spec.episode_seed(number, attempt))
        if spec.keep == "all" or (episode.success if spec.keep == "success" else not succeeded):
            return episode
    raise CogError(
        f"{ATTEMPTS} attempts of behaviour '{plan.behaviour.name}' from start '{plan.start}' gave no "
        f"{spec.keep}",
        where=f"episode {number}",
        remedy="choose another behaviour or start, or keep all episodes",
    )


def roll_out(env: Any, spec: CollectionSpec, plan: Plan, seed: int) -> tuple[Episode, bool]:
    """One episode, and whether any of its frames was a success; `seed` determines it completely."""
    from cog.envs.behaviours import make_behaviour

    rng = np.random.default_rng([seed, _ACTING_STREAM])
    recorder = Recorder(env, seed, plan.start)
    behaviour = make_behaviour(plan.behaviour.name, env.unwrapped, rng, dict(plan.behaviour.options))
    while not (recorder.over or (len(recorder) and behaviour.done)):
        intended = np.asarray(behaviour.act(), np.float64)
        noisy = intended + spec.noise * rng.standard_normal(intended.shape)
        recorder.step(np.clip(noisy, -1.0, 1.0).astype(np.float32))
    episode = recorder.episode(plan.behaviour.name, plan.behaviour.options, spec.noise)
    return episode, recorder.succeeded
