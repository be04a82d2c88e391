"""A rollout's digest, here or in a new interpreter."""

import hashlib
import subprocess
import sys

import gymnasium
import numpy as np

import cog.envs


def random_rollout_digest(
    seed: int, steps: int = 40, env_id: str = cog.envs.DRAWER_GRASP, start: str = "closed"
) -> str:
    """Hash of every observation, reward and signal of a random rollout."""
    env = gymnasium.make(env_id, start=start)
    rng = np.random.default_rng(seed)
    digest = hashlib.blake2b()
    observation, info = env.reset(seed=seed)
    for _ in range(steps):
        for array in observation.values():
            digest.update(array.tobytes())
        digest.update(repr(info["signals"]).encode())
        observation, reward, _, _, info = env.step(rng.uniform(-1, 1, 8).astype(np.float32))
        digest.update(repr(reward).encode())
    env.close()
    return digest.hexdigest()


def digest_in_new_process(seed: int, env_id: str = cog.envs.DRAWER_GRASP, start: str = "closed") -> str:
    """The same digest, computed by another process."""
    call = f"random_rollout_digest({seed}, env_id={env_id!r}, start={start!r})"
    code = f"from tests.helpers.rollouts import random_rollout_digest; print({call})"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.strip().splitlines()[-1]
