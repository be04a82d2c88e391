"""A dataset: a folder of immutable shards and a manifest, published last, that names and hashes them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cog.core.files import code_version, hash_json
from cog.core.inputs import Input, inputs_from_json, inputs_to_json
from cog.core.options import usable_path
from cog.core.sealed import read_sealed, write_sealed
from cog.datasets.episode import Episode
from cog.datasets.storage.absent import no_dataset
from cog.datasets.storage.container import MANIFEST, check_container, exists, is_container, read_bytes
from cog.datasets.storage.elsewhere import AGAIN, REFERENCE, read_reference
from cog.datasets.storage.folder import new_folder
from cog.datasets.storage.problem import DataError, Problem, mendable
from cog.datasets.storage.shard import read_shard, write_shard
from cog.errors import CogError

SHARDS = "shards"
RELABELS = "relabels"
MANIFEST_AGAIN = (
    "restore the manifest from a copy; for a collection, delete it and run the same collection again"
)


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
    """Folder of the dataset, or the file that it is packed into."""
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
    """What it was made from, if it was made from something on disk; not part of its identity."""
    views: Path | None = None
    """Folder that holds its views, where that is another one (`cog.datasets.storage.elsewhere`)."""

    @property
    def place(self) -> Path:
        """What FOLDER is in FOLDER@VIEW: where its views are."""
        return self.path if self.views is None else self.views

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

    def read(self, shard: int, pictures: bool = True) -> list[Episode]:
        """The episodes of one shard; without `pictures` their images are None, and a tenth of the work.

        Raises:
            DataError: the shard is missing or is not the one that the manifest names.
        """
        entry = self.shards[shard]
        path = self.path / entry.file
        try:
            episodes = read_shard(
                path, file_hash=entry.hash, spec_hash=self.spec_hash, index=shard, pictures=pictures
            )
        except DataError as error:
            raise DataError(mendable(error.problem, self.spec)) from error
        if (held := shard_entry(entry.file, entry.hash, episodes)) != entry:
            rule = f"shard {shard} holds {_counts(held)}; the manifest says {_counts(entry)}"
            raise DataError(Problem(self.path / MANIFEST, "shards", rule, MANIFEST_AGAIN))
        facts = episode_facts(episodes[0])
        for field, value in facts.items():
            if self.environment.get(field) != value:
                rule = f"the manifest says {self.environment.get(field)}, the shard holds {value}"
                raise DataError(Problem(path, field, rule, MANIFEST_AGAIN))
        return episodes if pictures else [episode.without_pictures() for episode in episodes]

    def episodes(self, pictures: bool = True) -> Iterator[Episode]:
        """All episodes in order, one shard in memory at a time; `pictures` as for `read`."""
        for shard in range(len(self.shards)):
            yield from self.read(shard, pictures)


def open_dataset(path: Path | str) -> Dataset:
    """Open the dataset in a folder or packed file by its manifest; shards are not read yet.

    Raises:
        CogError: there is no dataset, its collection is unfinished, or the manifest breaks a rule.
    """
    path = usable_path(path)
    manifest = path / MANIFEST
    if is_container(path):
        check_container(path)
    if not exists(manifest):
        if (path / REFERENCE).exists():
            return _of_views(path)
        raise no_dataset(path)
    remedy = MANIFEST_AGAIN
    value = read_sealed(manifest, "dataset", "the manifest of a dataset", remedy, read_bytes)
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


def _of_views(folder: Path) -> Dataset:
    """The dataset of a folder that holds nothing but views of it."""
    path, digest = read_reference(folder)
    dataset = open_dataset(path)
    if dataset.hash != digest:
        rule = f"the dataset at {path} is not the one that these views are of, or has changed"
        raise DataError(Problem(folder / REFERENCE, "hash", rule, AGAIN))
    return replace(dataset, views=folder)


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
    write_sealed(folder / MANIFEST, "dataset", value)
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

    `spec` says in JSON how they came to be, `inputs` from what on disk, if anything.

    Raises:
        CogError: the folder is not empty, or the episodes break a rule.
    """
    with new_folder(folder):
        return fill_folder(folder, episodes, spec, environment, episodes_per_shard, inputs)


def fill_folder(
    folder: Path,
    episodes: Iterable[Episode],
    spec: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
    episodes_per_shard: int = 50,
    inputs: Sequence[Input] = (),
) -> Dataset:
    """The same in a folder that `new_folder` has locked already.

    Raises:
        CogError: the episodes break a rule.
    """
    new = NewDataset(folder, spec, episodes_per_shard)
    for episode in episodes:
        new.add(episode)
    return new.finish(environment or {}, inputs)


class NewDataset:
    """A dataset in the making: shards are written as they fill, the manifest when all are there."""

    def __init__(self, folder: Path, spec: Mapping[str, Any], episodes_per_shard: int) -> None:
        """Begin in a folder that `new_folder` has locked; `spec` says in JSON how the episodes came to be."""
        self.folder = folder
        self.spec: dict[str, Any] = json.loads(json.dumps(dict(spec)))
        self._spec_hash = hash_json(self.spec)
        self._per_shard = episodes_per_shard
        self._entries: list[ShardEntry] = []
        self._facts: dict[str, Any] = {}
        self._batch: list[Episode] = []

    def add(self, episode: Episode) -> None:
        """Add one more episode; writes a shard when it is full.

        Raises:
            CogError: the episodes break a rule, or the disk is full.
        """
        self._batch.append(episode)
        if len(self._batch) == self._per_shard:
            self._flush()

    def finish(self, environment: Mapping[str, Any], inputs: Sequence[Input] = ()) -> Dataset:
        """Write the last shard and the manifest, with facts of the environment.

        Raises:
            CogError: as for `add`, or there are no episodes.
        """
        if self._batch:
            self._flush()
        if not self._entries:
            raise CogError(
                f"{self.folder}: a dataset needs at least one episode", remedy="write one, then end the block"
            )
        return write_manifest(self.folder, self.spec, {**environment, **self._facts}, self._entries, inputs)

    def _flush(self) -> None:
        name = shard_name(len(self._entries))
        digest = write_shard(self.folder / name, self._batch, self._spec_hash, len(self._entries))
        facts = episode_facts(self._batch[0])
        if self._entries and facts != self._facts:
            rule = f"shapes and signals must be the same in all episodes; found {self._facts} and {facts}"
            raise DataError(Problem(self.folder, "episodes", rule, "write two datasets instead"))
        self._facts = facts
        self._entries.append(shard_entry(name, digest, self._batch))
        self._batch.clear()


def episode_facts(episode: Episode) -> dict[str, Any]:
    """What all episodes of a dataset have in common: shapes and signals."""
    observations = {"image": episode.images, "proprio": episode.proprio, "state": episode.state}
    observations |= {name: episode.cameras[name] for name in sorted(episode.cameras)}
    return {
        "observations": {
            name: list(array.shape[1:]) for name, array in observations.items() if array is not None
        },
        "action": list(episode.actions.shape[1:]),
        "signal_names": list(episode.signals),
        "rewards": episode.rewards is not None,
    }


def _counts(entry: ShardEntry) -> str:
    return f"{entry.episodes} episodes, {entry.steps} steps and {entry.successes} successes"


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
