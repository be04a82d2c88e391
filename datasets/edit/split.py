"""Split: a dataset's episodes, each whole and in one part only, drawn into new datasets by shares."""

import contextlib
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cog.core.bounds import refuse_seed
from cog.core.options import usable_path
from cog.datasets.edit.subset import OnProgress, fill_subset
from cog.datasets.storage.dataset import Dataset, open_dataset
from cog.datasets.storage.folder import new_folder, refuse_inside
from cog.errors import CogError, UsageError

SEED_BITS = 64  # of a draw


def split_dataset(
    path: Path,
    outs: Sequence[Path],
    shares: Sequence[float],
    seed: int,
    on_progress: OnProgress | None = None,
) -> list[Dataset]:
    """Copy every episode into one of the new folders `outs`; within each they keep their order.

    Raises:
        UsageError: the number of shares differs from that of folders, shares are not positive or do not
            add up to 1, a folder is named twice or lies in another, or the seed is invalid.
        CogError: a part would be empty, a folder is not empty, or the data are damaged; nothing is written.
    """
    outs = [usable_path(out) for out in outs]
    if len(shares) != len(outs):
        raise UsageError(
            f"{len(outs)} folders cannot have the shares {list(shares)}", remedy="give one share per folder"
        )
    if any(one.resolve().is_relative_to(other.resolve()) for one, other in itertools.permutations(outs, 2)):
        raise UsageError("each part needs a folder of its own, not inside another")
    dataset = open_dataset(path)
    for out in outs:
        refuse_inside(dataset.path, out)
    parts = draw_parts(dataset.episode_count, shares, seed)
    done = 0

    def on_episode() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, dataset.episode_count)

    written = []
    with contextlib.ExitStack() as all_or_none:
        for out in outs:
            all_or_none.enter_context(new_folder(out))
        for part, (out, numbers) in enumerate(zip(outs, parts, strict=True)):
            origin = {"kind": "split", "shares": list(shares), "seed": seed, "part": part}
            written.append(fill_subset(dataset, numbers, out, origin, on_episode))
    return written


def draw_parts(episodes: int, shares: Sequence[float], seed: int) -> list[list[int]]:
    """Numbers of the episodes of each part, ascending; the same arguments give the same parts.

    Raises:
        UsageError: shares are not positive or do not add up to 1, or the seed is invalid.
        CogError: a part would be empty.
    """
    if not (all(share > 0 for share in shares) and math.isclose(sum(shares), 1.0, abs_tol=1e-6)):
        raise UsageError(f"shares must be positive and add up to 1, got {list(shares)}")
    refuse_seed(seed, SEED_BITS)
    ends = np.round(np.cumsum(shares) * episodes).astype(int)
    parts = np.split(np.random.default_rng(seed).permutation(episodes), ends[:-1])
    if not all(len(part) for part in parts):
        raise CogError(f"{episodes} episodes are too few for shares {list(shares)}: a part would be empty")
    return [sorted(part.tolist()) for part in parts]
