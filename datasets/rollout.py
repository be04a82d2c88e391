"""Roll out behaviours: the bytes of one shard as a pure function of (spec, shard number)."""

from pathlib import Path
from typing import Any

import numpy as np

from cog.datasets.episode import Episode
from cog.datasets.shard import encode_shard
from cog.datasets.spec import CollectionSpec, Plan
from cog.datasets.store import shard_name
from cog.errors import CogError, UsageError

ATTEMPTS = 50  # at an episode of the kind that `keep` asks for
_ACTING_STREAM = 1  # keeps the behaviour's draws apart from the environment's, which uses the bare seed


def make_environment(spec: CollectionSpec) -> Any:
    """Build the environment of a spec.

    Raises:
        UsageError: there is none of that id, or it refuses the arguments.
    """
    import gymnasium

    import cog.envs  # noqa: F401  (registers the ids)

    try:
        return gymnasium.make(
            spec.env,
            start=spec.starts[0],
            observation=spec.observation,
            image_size=spec.image_size,
            terminate_on_success=spec.terminate_on_success,
            max_episode_steps=spec.max_episode_steps,
            **spec.env_options,
        )
    except (gymnasium.error.Error, ModuleNotFoundError, TypeError) as error:
        raise UsageError(f"environment {spec.env!r} cannot be built: {error}") from error


def environment_facts(spec: CollectionSpec) -> dict[str, Any]:
    """Build the environment once, check the spec against it, and describe it for the manifest.

    Raises:
        UsageError: the environment, a start, a behaviour or an option of it does not exist.
    """
    from cog.envs.behaviours import make_behaviour

    env = make_environment(spec)
    try:
        for start in spec.starts:
            if start not in env.unwrapped.starts:
                known = ", ".join(env.unwrapped.starts)
                raise UsageError(f"start {start!r} is unknown; {spec.env} has: {known}")
        env.reset(seed=0)
        for choice in spec.behaviours:
            try:
                make_behaviour(choice.name, env.unwrapped, np.random.default_rng(0), dict(choice.options))
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"behaviour {choice.name!r} refuses {dict(choice.options)}: {error}"
                ) from error
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
    finally:
        env.close()


def collect_shard(spec: CollectionSpec, shard: int) -> tuple[bytes, int, int, int]:
    """The bytes of a shard, and its numbers of episodes, steps and successes.

    Raises:
        CogError: no attempt at an episode gave what `spec.keep` asks for.
    """
    env = make_environment(spec)
    try:
        episodes = [_collect_episode(env, spec, number) for number in spec.shard_episodes(shard)]
    finally:
        env.close()
    data = encode_shard(episodes, spec.hash(), shard, Path(shard_name(shard)))
    return data, len(episodes), sum(map(len, episodes)), sum(episode.success for episode in episodes)


def _collect_episode(env: Any, spec: CollectionSpec, number: int) -> Episode:
    """Attempt an episode until it is of the kind that is kept."""
    plan = spec.plan(number)
    for attempt in range(ATTEMPTS if spec.keep != "all" else 1):
        episode, succeeded = roll_out(env, spec, plan, spec.episode_seed(number, attempt))
        if spec.keep == "all" or (episode.success if spec.keep == "success" else not succeeded):
            return episode
    raise CogError(
        f"episode {number}: {ATTEMPTS} attempts of behaviour '{plan.behaviour.name}' from start "
        f"'{plan.start}' gave no {spec.keep}; choose another behaviour or start, or keep all episodes"
    )


def roll_out(env: Any, spec: CollectionSpec, plan: Plan, seed: int) -> tuple[Episode, bool]:
    """One episode, and whether any of its frames was a success; `seed` fixes it entirely."""
    from cog.envs.behaviours import make_behaviour

    rng = np.random.default_rng([seed, _ACTING_STREAM])
    observation, info = env.reset(seed=seed, options={"start": plan.start})
    behaviour = make_behaviour(plan.behaviour.name, env.unwrapped, rng, dict(plan.behaviour.options))
    observations, signals = [observation], [info["signals"]]
    actions: list[np.ndarray] = []
    succeeded, terminated, truncated = bool(info["success"]), False, False
    while not (terminated or truncated or (actions and behaviour.done)):
        intended = np.asarray(behaviour.act(), np.float64)
        noisy = intended + spec.noise * rng.standard_normal(intended.shape)
        action = np.clip(noisy, -1.0, 1.0).astype(np.float32)
        observation, _, terminated, truncated, info = env.step(action)
        actions.append(action)
        observations.append(observation)
        signals.append(info["signals"])
        succeeded |= bool(info["success"])
    episode = Episode(
        actions=np.stack(actions),
        signals={name: np.array([entry[name] for entry in signals], np.float32) for name in signals[0]},
        images=_stacked(observations, "image"),
        proprio=_stacked(observations, "proprio"),
        state=_stacked(observations, "state"),
        seed=seed,
        start=plan.start,
        behaviour=plan.behaviour.name,
        noise=spec.noise,
        options=dict(plan.behaviour.options),
        success=bool(info["success"]),
        terminated=bool(terminated),
        truncated=bool(truncated),
    )
    return episode, succeeded


def _stacked(observations: list[dict[str, np.ndarray]], name: str) -> np.ndarray | None:
    return np.stack([entry[name] for entry in observations]) if name in observations[0] else None
