"""Tally: running totals of what a rule gave the episodes of a dataset, which a view records."""

import hashlib
from typing import Any

import numpy as np

from cog.datasets.episode import Episode


class Tally:
    """Totals over episodes that were given rewards."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=32)
        self._sum = 0.0
        self._steps = self._rewarded = self._episodes = self._kept = self._ended = 0
        self._successes = self._successes_rewarded = 0

    def add(self, rewarded: Episode, hits: np.ndarray, ended: bool) -> None:
        """Count an episode with its rewards and terminals.

        Args:
            rewarded: the T steps that remain of it.
            hits: (T,) bool, the steps on which the rule is positive.
            ended: whether its last step is terminal because the environment ended it, and not by the rule.
        """
        rewards, terminals, count = rewarded.rewards, rewarded.terminals, int(hits.sum())
        assert rewards is not None and terminals is not None
        self._digest.update(len(rewards).to_bytes(8, "little") + rewards.tobytes() + terminals.tobytes())
        self._sum += float(rewards.sum(dtype=np.float64))
        self._steps += len(rewards)
        self._rewarded += count
        self._episodes += count > 0
        self._kept += 1
        self._ended += ended
        self._successes += rewarded.success
        self._successes_rewarded += rewarded.success and count > 0

    def totals(self, selects: bool) -> dict[str, Any]:
        """Fields of a view that say what its rule gave; `selects`: whether it keeps only some episodes."""
        return {
            "reward_hash": self._digest.hexdigest(),
            "reward_sum": self._sum,
            "steps": self._steps,
            "rewarded_steps": self._rewarded,
            "episodes_rewarded": self._episodes,
            "episodes": self._kept if selects else None,
            "ended": self._ended or None,
            "successes": self._successes,
            "successes_rewarded": self._successes_rewarded,
        }
