"""Checkpoints of hardly trained policies that fit the drawer environment, for tests of what runs them."""

from pathlib import Path

import numpy as np

from cog.training.train import train
from tests.helpers.learner_data import config, noise

SIZE = 16  # pixels, as the synthetic transitions have


def tiny_run(out: Path, proprio: int = 8, actions: int = 8, seed: int = 0, algorithm: str = "bc") -> Path:
    """The folder of a run of one update on noise."""
    transitions = noise(actions=actions)
    transitions.proprio = np.random.default_rng(1).normal(size=(60, proprio)).astype(np.float32)
    train(config(out, updates=1, algorithm=algorithm, seed=seed), transitions)
    return out
