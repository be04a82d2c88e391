"""A dataset: a folder of immutable shards and a manifest, published last, that names and hashes them."""

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cog.datasets.episode import Episode
from cog.datasets.problem import DataError, Problem
from cog.datasets.shard import FORMAT, read_shard, write_shard
from cog.errors import CogError
from cog.files import code_version, hash_json, read_json, write_json
from cog.inputs import Input, inputs_from_json, inputs_to_json

MANIFEST = "manifest.json"
COLLECTION = "collection.json"
SHARDS = "shards"
RELABELS = "relabels"


@dataclass(frozen=True)
class ShardEntry:
    """A shard as the manifest names it."""

    file: str
    """Path within the dataset's folder."""
    hash: str
    """Hash of the file."""
    episodes: int
    """Number of episodes."""
    steps: int
    """Number of steps."""
    successes: int
    """Number of episodes that end in success."""


@dataclass(frozen=True)
class Dataset:
    """An opened dataset; shards are read one at a time and checked against the manifest."""

    path: Path
    """Folder of the dataset."""
    shards: tuple[ShardEntry, ...]
    """Its shards in order."""
    spec: Mapping[str, Any]
    """How it came to be, as JSON."""
    spec_hash: str
    """Hash of the spec, which every shard carries."""
    environment: Mapping[str, Any]
    """Facts of the environment: id, arguments, shapes of observations and actions, signal names."""
    code_version: str
    """Version of the code that wrote it."""
    hash: str
    """Identity of the content: hash over the spec and all shards."""
    inputs: tuple[Input, ...] = ()
    """What it was made from, if it was made from something on disk; no part of its identity."""

    @property
    def signal_names(self) -> tuple[str, ...]:
        """Names of the recorded signals."""
        return tuple(self.environment["signal_names"])

    @property
    def materialised(self) -> bool:
        """Whether the shards themselves hold rewards."""
        return bool(self.environment.get("rewards", False))

    @property
    def episode_count(self) -> int:
        """Number of episodes."""
        return sum(shard.episodes for shard in self.shards)

    @property
    def step_count(self) -> int:
        """Number of steps."""
        return sum(shard.steps for shard in self.shards)

    @property
    def success_count(self) -> int:
        """Number of episodes that end in success."""
        return sum(shard.successes for shard in self.shards)

    def earlier_hashes(self) -> list[str]:
        """What `hash` was after each shard, for a dataset that grew shard by shard."""
        return [dataset_hash(self.spec_hash, self.shards[: count + 1]) for count in range(len(self.shards))]

    def read(self, shard: int) -> list[Episode]:
        """The episodes of one shard.

        Raises:
            DataError: the shard is missing or is not the one that the manifest names.
        """
        entry = self.shards[shard]
        path = self.path / entry.file
        episodes = read_shard(path, file_hash=entry.hash, spec_hash=self.spec_hash, index=shard)
        if shard_entry(entry.file, entry.hash, episodes) != entry:
            rule = f"shard {shard} has other counts than the manifest"
            raise DataError(Problem(self.path / MANIFEST, "shards", rule))
        facts = episode_facts(episodes[0])
        for field, value in facts.items():
            if self.environment.get(field) != value:
                rule = f"the manifest says {self.environment.get(field)}, the shard holds {value}"
                raise DataError(Problem(path, field, rule))
        return episodes

    def episodes(self) -> Iterator[Episode]:
        """All episodes in order, one shard in memory at a time."""
        for shard in range(len(self.shards)):
            yield from self.read(shard)


def open_dataset(path: Path) -> Dataset:
    """Open the dataset in a folder by its manifest; shards are not read yet.

    Raises:
        CogError: there is no dataset, its collection is unfinished, or the manifest breaks a rule.
    """
    manifest = path / MANIFEST
    if not manifest.exists():
        if (path / COLLECTION).exists():
            raise CogError(f"{path}: this collection is unfinished; run the same collect command again")
        raise CogError(f"{path}: there is no dataset here ({MANIFEST} is missing); check the path")
    value = read_json(manifest, "the manifest of a dataset")
    remedy = "restore the manifest, or delete it and run the same collection again"
    if value.get("format") != FORMAT or value.get("kind") != "dataset":
        rule = f"must be of kind 'dataset' and format {FORMAT}; this file is not, or a newer cog wrote it"
        raise DataError(Problem(manifest, "format", rule, remedy))
    try:
        dataset = Dataset(
            path=path,
            shards=tuple(ShardEntry(**entry) for entry in value["shards"]),
            spec=dict(value["spec"]),
            spec_hash=str(value["spec_hash"]),
            environment=dict(value["environment"]),
            code_version=str(value["code_version"]),
            hash=str(value["hash"]),
            inputs=inputs_from_json(value.get("inputs", [])),
        )
        totals = {"episodes": dataset.episode_count, "steps": dataset.step_count}
        totals["successes"] = dataset.success_count
        wrong = [name for name, total in totals.items() if value[name] != total]
        missing = [
            name for name in ("signal_names", "observations", "action") if name not in dataset.environment
        ]
        inside = path.resolve()
        safe = [(inside / entry.file).resolve().is_relative_to(inside) for entry in dataset.shards]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            Problem(manifest, "manifest", f"is incomplete or malformed ({error!r})", remedy)
        ) from error
    for broken, field, rule in (
        (not dataset.shards, "shards", "must name at least one shard"),
        (wrong, ", ".join(wrong), "must be the sum over the shards"),
        (missing, "environment", f"must hold {', '.join(missing)}"),
        (not all(safe), "shards", "must lie in the dataset's own folder"),
        (dataset.spec_hash != hash_json(dict(dataset.spec)), "spec_hash", "must be the hash of the spec"),
        (
            dataset.hash != dataset_hash(dataset.spec_hash, dataset.shards),
            "hash",
            "must follow from the shards",
        ),
    ):
        if broken:
            raise DataError(Problem(manifest, field, rule, remedy))
    return dataset


def write_manifest(
    folder: Path,
    spec: Mapping[str, Any],
    environment: Mapping[str, Any],
    shards: Sequence[ShardEntry],
    inputs: Sequence[Input] = (),
) -> Dataset:
    """Publish the manifest of a folder whose shards are complete, and open it."""
    spec_hash = hash_json(dict(spec))
    value = {
        "format": FORMAT,
        "kind": "dataset",
        "spec": dict(spec),
        "spec_hash": spec_hash,
        "environment": dict(environment),
        "code_version": code_version(),
        "shards": [vars(entry) for entry in shards],
        "episodes": sum(entry.episodes for entry in shards),
        "steps": sum(entry.steps for entry in shards),
        "successes": sum(entry.successes for entry in shards),
        "hash": dataset_hash(spec_hash, shards),
        "inputs": inputs_to_json(inputs),
    }
    write_json(folder / MANIFEST, value)
    return open_dataset(folder)


def write_dataset(
    folder: Path,
    episodes: Iterable[Episode],
    spec: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
    episodes_per_shard: int = 50,
    inputs: Sequence[Input] = (),
) -> Dataset:
    """Write episodes of any origin as a new dataset.

    `spec` tells in JSON how they came to be, `inputs` from what on disk, if anything.

    Raises:
        CogError: the folder is not empty, or the episodes break a rule.
    """
    origin = json.loads(json.dumps(dict(spec)))
    spec_hash = hash_json(origin)
    entries: list[ShardEntry] = []
    facts: dict[str, Any] = {}
    batch: list[Episode] = []

    def flush() -> None:
        if entries and facts != episode_facts(batch[0]):
            rule = f"shapes and signals must be the same in all episodes; found {facts} and another"
            raise DataError(Problem(folder, "episodes", rule, "write two datasets instead"))
        facts.update(episode_facts(batch[0]))
        name = shard_name(len(entries))
        digest = write_shard(folder / name, batch, spec_hash, len(entries))
        entries.append(shard_entry(name, digest, batch))
        batch.clear()

    with new_folder(folder):
        for episode in episodes:
            batch.append(episode)
            if len(batch) == episodes_per_shard:
                flush()
        if batch:
            flush()
        if not entries:
            raise CogError(f"{folder}: a dataset needs at least one episode")
        return write_manifest(folder, origin, {**(environment or {}), **facts}, entries, inputs)


def episode_facts(episode: Episode) -> dict[str, Any]:
    """What all episodes of a dataset have in common: shapes and signals."""
    observations = {"image": episode.images, "proprio": episode.proprio, "state": episode.state}
    return {
        "observations": {
            name: list(array.shape[1:]) for name, array in observations.items() if array is not None
        },
        "action": list(episode.actions.shape[1:]),
        "signal_names": list(episode.signals),
        "rewards": episode.rewards is not None,
    }


def shard_name(shard: int) -> str:
    """Path of a shard within its dataset."""
    return f"{SHARDS}/{shard:05d}.h5"


def shard_entry(file: str, digest: str, episodes: Sequence[Episode]) -> ShardEntry:
    """The manifest's entry of a shard that holds `episodes`."""
    successes = sum(episode.success for episode in episodes)
    return ShardEntry(file, digest, len(episodes), sum(map(len, episodes)), successes)


def dataset_hash(spec_hash: str, shards: Sequence[ShardEntry]) -> str:
    """Identity of a dataset's content."""
    return hash_json({"spec_hash": spec_hash, "shards": [entry.hash for entry in shards]})


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Fill a folder that is new or empty; if that fails, nothing stays in it.

    Raises:
        CogError: it holds something already, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CogError(
            f"{folder} exists already and is not empty; nothing was written, choose another folder"
        )
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
