"""A dataset that grows shard by shard: after every shard it is a whole dataset, and stays one if killed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cog.core.files import hash_json
from cog.core.inputs import Input
from cog.datasets.episode import Episode
from cog.datasets.storage.container import MANIFEST
from cog.datasets.storage.dataset import (
    Dataset,
    episode_facts,
    open_dataset,
    shard_entry,
    shard_name,
    write_manifest,
)
from cog.datasets.storage.shard import write_shard
from cog.errors import CogError


class GrowingDataset:
    """The shards that are in a folder already, and one more at a time.

    Its hash, which merges and relabels refer to, changes with every shard: refer to it when it is complete.
    """

    def __init__(
        self,
        folder: Path,
        spec: Mapping[str, Any],
        environment: Mapping[str, Any],
        inputs: Sequence[Input] = (),
    ) -> None:
        """Open the dataset in `folder`, or prepare to begin it; nothing is written yet.

        `spec` says in JSON how the episodes come to be, `environment` where they come from,
        `inputs` what on disk they were made from, if anything.

        Raises:
            CogError: the folder holds a damaged dataset or one with another spec.
        """
        self.folder = folder
        self.spec: dict[str, Any] = json.loads(json.dumps(dict(spec)))
        self.environment = dict(environment)
        self.inputs = tuple(inputs)
        self.dataset: Dataset | None = None
        if (folder / MANIFEST).exists():
            self.dataset = open_dataset(folder)
            if self.dataset.spec != self.spec:
                raise CogError(
                    f"{folder} holds a dataset that was begun with other options",
                    remedy="choose another folder, or pass the options with which it was begun",
                )

    def __len__(self) -> int:
        """Number of shards."""
        return 0 if self.dataset is None else len(self.dataset.shards)

    def read(self, shard: int) -> list[Episode]:
        """The episodes of one shard, checked.

        Raises:
            DataError: the shard is missing or damaged.
        """
        if self.dataset is None:
            raise CogError(f"{self.folder}: there is no dataset here yet")
        return self.dataset.read(shard)

    def append(self, episodes: Sequence[Episode]) -> None:
        """Write the next shard, then the manifest that names it.

        Raises:
            CogError: the episodes break a rule or the disk is full; the dataset is as it was before.
        """
        number = len(self)
        file = shard_name(number)
        digest = write_shard(self.folder / file, episodes, hash_json(self.spec), number)
        before = () if self.dataset is None else self.dataset.shards
        facts = {**self.environment, **episode_facts(episodes[0])}
        entries = [*before, shard_entry(file, digest, episodes)]
        self.dataset = write_manifest(self.folder, self.spec, facts, entries, self.inputs)
