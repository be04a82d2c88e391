"""Preview: the first batch that training would draw from a merge, described for each source."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from cog.core.videos import SHEET_COLUMNS, side_by_side
from cog.errors import UsageError
from cog.networks.encoder import by_camera
from cog.replay.buffer import Buffer


@dataclass(frozen=True, eq=False)
class Preview:
    """What one batch holds of each source."""

    facts: dict[str, dict[str, Any]]
    """Name `role:source` -> counts and statistics of its transitions, as JSON values."""
    pictures: list[tuple[str, np.ndarray]]
    """A caption and some observations (N, H, W, 3) uint8 of each source, cameras side by side, if any."""


def preview(
    data: Path,
    batch_size: int,
    seed: int,
    returns: tuple[float, int],
    sampling: Literal["balanced", "uniform"] = "balanced",
) -> Preview:
    """Load a merge as training does and draw the batch that a run with this size and seed draws first.

    `returns` are the discount and number of steps of the transitions.

    Raises:
        UsageError: the batch would be empty.
        CogError: the data cannot be used, as for `cog.training.train.train`.
    """
    if batch_size < 1:
        raise UsageError(f"a batch holds at least one transition, got {batch_size}")
    from cog.datasets.load import load
    from cog.datasets.merge import open_merge

    transitions = load(open_merge(data))
    buffer = Buffer(transitions, torch.device("cpu"), batch_size, sampling, *returns)
    index = buffer.draw(torch.Generator().manual_seed(seed))
    batch, indices = buffer.gather(index), index.numpy()
    cameras = () if batch.images is None else by_camera(batch.images)
    images = side_by_side([camera.permute(0, 2, 3, 1).numpy() for camera in cameras]) if cameras else None
    rewards, ends = batch.rewards.numpy(), batch.bootstrap.numpy() == 0
    facts: dict[str, dict[str, Any]] = {}
    pictures = []
    for number, name in enumerate(buffer.names):
        rows = np.flatnonzero(transitions.source[indices] == number)
        episodes = transitions.episode[indices[rows]]
        origins = [transitions.origins[episode] for episode in episodes]
        facts[name] = {
            "transitions": len(rows),
            "share": round(len(rows) / len(indices), 4),
            "of_steps": int(transitions.sources[number]["steps"]),
            "episodes": len(set(episodes.tolist())),
            "rewarded": int((rewards[rows] > 0).sum()),
            "reward_mean": round(float(rewards[rows].mean()), 6) if len(rows) else 0.0,
            "terminals": int(ends[rows].sum()),
            "starts": dict(sorted(Counter(start for start, _ in origins).items())),
            "behaviours": dict(sorted(Counter(behaviour for _, behaviour in origins).items())),
        }
        if images is not None and len(rows):
            shown = images[rows[:SHEET_COLUMNS]]
            pictures.append((f"{name}: {len(shown)} of {len(rows)} observations", shown))
    return Preview(facts, pictures)
