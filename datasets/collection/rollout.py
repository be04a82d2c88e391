"""Run behaviours: the bytes of one shard as a pure function of (spec, shard number)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cog.datasets.action_scale import FACT, ActionScale
from cog.datasets.collection.actor import make_actor
from cog.datasets.collection.home import Home
from cog.datasets.collection.recorder import Recorder
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec, Plan
from cog.datasets.episode import Episode
from cog.datasets.robot_interface import KEY, scene_fact
from cog.datasets.storage.dataset import shard_name
from cog.datasets.storage.shard import encode_shard
from cog.datasets.success import MARKS
from cog.envs.contract import try_out
from cog.envs.make import make_environment
from cog.envs.plain import Plain
from cog.errors import CogError, UsageError
from cog.signals.success import FACT as SUCCESS_BY
from cog.users import modules_of

Computed = tuple[bytes, int, int, int]
"""The bytes of a shard, and its number of episodes, steps and successes."""
ATTEMPTS = 50  # at one episode of the kind to keep
_ACTING_STREAM = 1  # separates the behaviour's draws from the environment's, which uses the seed alone


def environment_facts(spec: CollectionSpec) -> dict[str, Any]:
    """Build the environment once, try the spec on it, and describe it for the manifest.

    Raises:
        UsageError: the environment, a start, a behaviour or one of its options does not exist, or the
            environment or a behaviour breaks its contract at the first frames.
    """
    env = make_environment(spec.scene())
    try:
        facts = describe_environment(env, spec)
        try_out(env, spec.env)
        for choice in spec.behaviours:
            _try_behaviour(env, spec, choice)
        return facts
    finally:
        env.close()


def describe_environment(env: Any, spec: CollectionSpec) -> dict[str, Any]:
    """Describe the environment of a spec for the manifest.

    Raises:
        UsageError: it lacks a start of the spec.
    """
    scene = env.unwrapped
    for start in spec.starts:
        if start not in scene.starts:
            known = ", ".join(scene.starts)
            raise UsageError(f"{spec.env} has no start {start!r}", remedy=f"choose one of: {known}")
    spaces = env.observation_space.spaces
    facts = {
        "id": spec.env,
        "observation": spec.observation,
        "image_size": spec.image_size,
        "terminate_on_success": spec.terminate_on_success,
        "max_episode_steps": spec.max_episode_steps,
        "observations": {name: list(space.shape) for name, space in sorted(spaces.items())},
        "action": list(env.action_space.shape),
        "signal_names": list(scene.signal_names),
        "rewards": False,
        **({"options": dict(spec.env_options)} if spec.env_options else {}),
    }
    if MARKS in scene.signal_names and not spec.terminate_on_success:
        facts[SUCCESS_BY] = "last"  # what an episode's success says, so that rewards for it say the same
    if isinstance(scene, Plain):
        if scene.scaled:
            facts[FACT] = ActionScale(tuple(scene.low), tuple(scene.high)).to_json()
        if not scene.has_pose:
            facts["proprio_absent"] = True
    rate = env.metadata.get("render_fps")
    if interface := scene_fact(spec.observation == "image", rate, "proprio_absent" in facts):
        facts[KEY] = interface
    return facts


def _try_behaviour(env: Any, spec: CollectionSpec, choice: BehaviourChoice) -> None:
    """Build a behaviour and take its first step.

    Raises:
        UsageError: it does not exist, does not take its options, or its action is not one of the scene.
    """
    recorder = Recorder(env, 0, spec.starts[0], keep_observations=False)
    try:
        actor = make_actor(env, spec.env, choice, np.random.default_rng(0), recorder)
        recorder.step(np.clip(actor.act(), -1.0, 1.0).astype(np.float32))
    except UsageError:
        raise
    except CogError as error:  # nothing has begun yet
        raise UsageError(error.what, where=error.where, remedy=error.remedy) from error


def collect_shard(spec: CollectionSpec, shard: int, facts: Mapping[str, Any] | None = None) -> Computed:
    """Compute a shard.

    `facts` are those of the manifest, as `environment_facts` gave them where the collection began.

    Raises:
        CogError: no attempt at an episode gave one of the kind `spec.keep`, or the scene is another one here.
    """
    env = make_environment(spec.scene())
    try:
        here = describe_environment(env, spec)
        if different := [name for name in here if facts is not None and facts.get(name) != here[name]]:
            name = different[0]
            raise CogError(
                f"{spec.env} is another scene here than where the collection began: {name} is {here[name]}, "
                f"and was {(facts or {}).get(name)}",
                remedy="let every process load the same module",
            )
        episodes = [_collect_episode(env, spec, number) for number in spec.shard_episodes(shard)]
    finally:
        env.close()
    data = encode_shard(episodes, spec.hash(), shard, Path(shard_name(shard)))
    return data, len(episodes), sum(map(len, episodes)), sum(episode.success for episode in episodes)


def collect_elsewhere(home: Home, spec: CollectionSpec, shard: int, facts: Mapping[str, Any]) -> Computed:
    """The same in a process that was not begun by the command, but that of a worker somewhere.

    Raises:
        CogError: as `collect_shard`, or the user's modules are not found here, or are other ones.
    """
    home.load(modules_of(spec.env, *(choice.name for choice in spec.behaviours)))
    return collect_shard(spec, shard, facts)


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
    rng = np.random.default_rng([seed, _ACTING_STREAM])
    recorder = Recorder(env, seed, plan.start)
    actor = make_actor(env, spec.env, plan.behaviour, rng, recorder)
    while not (recorder.over or (len(recorder) and actor.done)):
        intended = actor.act()
        noisy = intended + spec.noise * rng.standard_normal(intended.shape)
        recorder.step(np.clip(noisy, -1.0, 1.0).astype(np.float32))
    episode = recorder.episode(plan.behaviour.name, plan.behaviour.options, spec.noise)
    return episode, recorder.succeeded
