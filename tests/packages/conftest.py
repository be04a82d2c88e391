"""The sources that every package is given: images, states and a merge."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cog.datasets.episode import Episode
from cog.datasets.merge import Merge, open_merge, write_merge
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.storage.dataset import write_dataset
from tests.conftest import make_episode

SIZE = 40  # pixels: from 32 on Minari takes an array for an image, from 36 on d3rlpy can build its network


@dataclass(frozen=True)
class Source:
    """What is exported, and the episodes that must come back."""

    merge: Merge
    """The data."""
    episodes: list[Episode]
    """Its episodes with rewards, read by the toolkit itself."""


MakeSource = Callable[[str], Source]


@pytest.fixture
def make_source(tmp_path: Path) -> MakeSource:
    """Write and label synthetic data: `image`, `state`, or a `merge` of two sources with images."""

    def dataset(name: str, rule: str, seed: int, state: bool = False) -> str:
        rng = np.random.default_rng(seed)
        made = [
            make_episode(rng, 4 + number % 3, rewarded=2 if number % 2 == 0 else None, state=state)
            for number in range(5)
        ]
        made = [  # those without a reward are cut off, not ended by the environment
            Episode(**{**vars(one), "terminated": number % 2 == 0, "truncated": number % 2 == 1})
            for number, one in enumerate(made)
        ]
        if not state:
            shape = (SIZE, SIZE, 3)
            made = [
                Episode(**{**vars(one), "images": rng.integers(0, 256, (len(one) + 1, *shape), np.uint8)})
                for one in made
            ]
        write_dataset(tmp_path / name, made, {"kind": "made"}, episodes_per_shard=2)
        relabel(tmp_path / name, rule, "view", scale=10.0)
        return f"{tmp_path / name}@view"

    def make(kind: str) -> Source:
        task = dataset("task", "grasp_success", 0, state=kind == "state")
        path = Path(task)
        if kind == "merge":
            path = tmp_path / "merge.json"
            write_merge(path, [task], [dataset("prior", "zero", 1)])
        merge = open_merge(path)
        episodes = [episode for one in merge.sources for episode in labelled(one.dataset, one.view)]
        assert any(episode.terminals.any() for episode in episodes)
        assert not all(episode.terminals.any() for episode in episodes)
        return Source(merge, episodes)

    return make


def same(found: object, wanted: np.ndarray) -> None:
    """Both arrays are equal to the bit, in shape and type."""
    array = np.asarray(found)
    np.testing.assert_array_equal(array, wanted, strict=True)
