"""Lineage: what something on disk was made from, and what that was made from, back to the first episode.

Only descriptions and checkpoints are read here, no shards; `cog.provenance.recheck` recomputes their claims.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cog.classifier.network import FACTS, WEIGHTS, open_classifier
from cog.core.files import hash_file, home, nowhere, read_json
from cog.core.inputs import Input, inputs_from_json
from cog.datasets.merge import open_merge
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.view import open_view
from cog.datasets.storage.absent import MERGE
from cog.datasets.storage.claim import KIND as COLLECTION_KIND
from cog.datasets.storage.container import COLLECTION, MANIFEST, read_bytes
from cog.datasets.storage.dataset import RELABELS, SHARDS, open_dataset
from cog.datasets.storage.elsewhere import KIND as REFERENCE_KIND
from cog.datasets.storage.elsewhere import REFERENCE
from cog.errors import CogError
from cog.evaluation.exported import CARD
from cog.evaluation.result import RESULT, open_evaluation
from cog.provenance import summaries
from cog.training import checkpoint as checkpoints
from cog.training.setup import CONFIG, RUN

SUMMARIES = ("summary.json", "results.json")
SUMMARY_KINDS = ("demo summary", "reproduction")
# The kind of thing that a file belongs to, by the file's own word for its kind
KIND_BY_WORD = {
    COLLECTION_KIND: "dataset",
    REFERENCE_KIND: "dataset",
    "relabel": "view",
    "latest": "checkpoint",
    RUN: "checkpoint",
    **{kind: kind for kind in ("dataset", "merge", "checkpoint", "evaluation", "classifier", *SUMMARY_KINDS)},
}
# and by its name, where it does not say: tensors, damaged files, and some of format 1.
KIND_BY_NAME = {
    **dict.fromkeys((MANIFEST, COLLECTION), "dataset"),
    **dict.fromkeys((checkpoints.STATE, checkpoints.LATEST, CONFIG, *checkpoints.TENSOR_FILES), "checkpoint"),
    **dict.fromkeys((FACTS, WEIGHTS), "classifier"),
}
READ = (CogError, KeyError, TypeError, ValueError, AttributeError, OSError)  # what a damaged file may raise


@dataclass(frozen=True, eq=False)
class Thing:
    """Something on disk, and what it was made from."""

    kind: str
    """Kind as in `Input`, or `demo summary` or `reproduction`."""
    path: Path
    """Its path; a view as FOLDER@VIEW."""
    hash: str | None = None
    """Identity of its present content; None if it cannot be read."""
    configuration: str = ""
    """The settings that determined it, in one line."""
    code_version: str | None = None
    """Version of the code that wrote it; None if not recorded."""
    links: tuple["Link", ...] = ()
    """What it was made from."""
    recorded: bool = True
    """Whether it records what it was made from; files of older versions may not."""
    problem: str = ""
    """Why it cannot be read; empty if it can be."""


@dataclass(frozen=True, eq=False)
class Link:
    """Link from a thing to one that it was made from."""

    thing: Thing
    """What it was made from, in its present state."""
    recorded: str | None
    """Identity of its content at that time; None if not recorded."""

    @property
    def holds(self) -> bool:
        """Whether the content is still the recorded one; also true if nothing was recorded."""
        return self.recorded in (None, self.thing.hash) or self._grown()

    def _grown(self) -> bool:
        """Whether a dataset has only gained shards since, as in fine-tuning."""
        if self.thing.kind != "dataset" or self.thing.hash is None:
            return False
        return self.recorded in open_dataset(self.thing.path).earlier_hashes()


def trace(path: Path) -> Thing:
    """What is at `path` and the whole chain upstream of it; what is missing or damaged there is marked.

    Raises:
        CogError: there is nothing at `path` that cog wrote.
    """
    return _Tracer().thing(*identify(path))


def identify(path: Path) -> tuple[str, Path]:
    """Kind and canonical path of what `path` means: a folder, or any file that cog wrote into it.

    Raises:
        CogError: nothing is there, or nothing that cog wrote.
    """
    if not path.exists():
        if "@" in path.name:
            return "view", path
        raise CogError(f"there is nothing here{nowhere(path)}", where=path, remedy="check the path")
    if path.is_dir():
        for kind, names in (
            ("dataset", (MANIFEST, COLLECTION, REFERENCE)),
            ("merge", (MERGE,)),
            ("evaluation", (RESULT,)),
            ("checkpoint", ("checkpoints", checkpoints.LATEST, checkpoints.STATE)),
            ("classifier", (FACTS,)),
            ("summary", SUMMARIES),
        ):
            for name in names:
                if (path / name).exists():
                    inside = kind in ("merge", "summary")
                    return identify(path / name) if inside else (kind, path)
        if (path / CARD).is_file():
            rule = "is an exported policy, which does not record what it was made from"
            raise CogError(rule, where=path, remedy="name the run that it was exported from")
        raise CogError(
            "contains nothing that cog wrote",
            where=path,
            remedy="name a dataset, merge, run, evaluation or classifier",
        )
    folder = path.parent
    if folder.name == SHARDS and (folder.parent / MANIFEST).exists():
        return "dataset", folder.parent
    owner = _kind_of_file(path)
    if owner == "view":
        dataset = folder.parent if folder.parent.name else path.resolve().parents[1]
        return "view", dataset.with_name(f"{dataset.name}@{path.stem}")
    if owner == "merge" or owner in SUMMARY_KINDS:
        return owner, path
    if owner is not None:
        return owner, folder
    if path.suffix == ".json":
        raise CogError("not a file whose origin cog records", where=path)
    open_dataset(path)  # a dataset in one file, or an error that says what is wrong
    return "dataset", path


def _kind_of_file(path: Path) -> str | None:
    """Kind of the thing that a file belongs to: as the file says, else by its name; none if neither does.

    Raises:
        CogError: it is called .json, cannot be read as such, and its name says nothing either.
    """
    by_name = KIND_BY_NAME.get(path.name)
    said = None
    if path.suffix == ".json":
        try:
            said = read_json(path, "something that cog wrote").get("kind")
        except CogError:  # damaged: its reader says how
            if by_name is None:
                raise
    return KIND_BY_WORD.get(said, by_name) if isinstance(said, str) else by_name


class _Tracer:
    """Reads each thing once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Path], Thing] = {}
        self._begun: set[tuple[str, Path]] = set()

    def thing(self, kind: str, path: Path) -> Thing:
        """The thing of that kind at `path`; if it cannot be read, its `problem` says why."""
        key = (kind, path.absolute())
        if key in self._begun:
            return Thing(kind, path, problem="it names itself among what it was made from")
        if key not in self._known:
            self._begun.add(key)
            try:
                self._known[key] = READERS.get(kind, _file)(self, kind, path)
            except READ as error:
                text = str(error) if isinstance(error, CogError) else f"malformed ({error!r})"
                self._known[key] = Thing(kind, path, links=self._salvaged(kind, path), problem=text)
            self._begun.remove(key)
        return self._known[key]

    def links(self, inputs: Sequence[Input], folder: Path) -> tuple[Link, ...]:
        """Links to recorded inputs."""
        return tuple(Link(self.thing(entry.kind, _at(folder, entry.path)), entry.hash) for entry in inputs)

    def _salvaged(self, kind: str, path: Path) -> tuple[Link, ...]:
        """What a damaged thing still says about its origin."""
        try:
            if kind == "view":
                dataset, name = split_view(path)
                recorded = None
                with contextlib.suppress(*READ):
                    file = dataset / RELABELS / f"{name}.json"
                    recorded = str(read_json(file, "a view", read_bytes)["dataset_hash"])
                return (Link(self.thing("dataset", dataset), recorded),)
            if kind == "merge":
                return self.links(merge_inputs(path), home(path))
            if kind == "checkpoint":
                folder = checkpoints.find(path)
                state = read_json(folder / "state.json", "a checkpoint's state")
                return self.links(inputs_from_json(state["inputs"]), folder)
        except READ:
            pass
        return ()


def split_view(path: Path) -> tuple[Path, str]:
    """The dataset and the name of the view that FOLDER@VIEW means."""
    folder, _, name = path.name.rpartition("@")
    return path.with_name(folder), name


def merge_inputs(path: Path) -> list[Input]:
    """The views that a merge file names."""
    return [
        Input("view", f"{entry['path']}@{entry['relabel']}", str(entry["relabel_hash"]))
        for entry in read_json(path, "a merge")["sources"]
    ]


def _dataset(tracer: _Tracer, kind: str, path: Path) -> Thing:
    dataset = open_dataset(path)
    return Thing(
        kind,
        dataset.path,
        dataset.hash,
        summaries.dataset(dataset),
        dataset.code_version,
        tracer.links(
            dataset.inputs, dataset.path
        ),  # for a packed one, too: `..` leads to the folder of the file
        recorded=bool(dataset.inputs) or "of" not in dataset.spec,
    )


def _view(tracer: _Tracer, kind: str, path: Path) -> Thing:
    folder, name = split_view(path)
    dataset = open_dataset(folder)
    view = open_view(dataset, name)
    version: str | None = dataset.code_version
    if name != STORED:
        version = read_json(folder / RELABELS / f"{name}.json", "a view", read_bytes).get("code_version")
    link = Link(tracer.thing("dataset", dataset.path), view.dataset_hash)
    links = (link, *tracer.links(view.inputs, folder))
    return Thing(kind, path, view.hash(), summaries.view(view), version, links)


def _merge(tracer: _Tracer, kind: str, path: Path) -> Thing:
    merge = open_merge(path)
    version = read_json(path, "a merge").get("code_version")
    links = tracer.links(merge_inputs(path), home(path))
    return Thing(kind, path, merge.hash, summaries.merge(merge), version, links)


def _checkpoint(tracer: _Tracer, kind: str, path: Path) -> Thing:
    found = checkpoints.load(path)
    links = tracer.links(found.inputs, found.folder)
    if not links and found.config.data.exists():
        links = (Link(tracer.thing(*identify(found.config.data)), None),)
    return Thing(
        kind,
        found.folder,
        found.hash,
        summaries.checkpoint(found),
        found.code_version,
        links,
        recorded=bool(found.inputs),
    )


def _evaluation(tracer: _Tracer, kind: str, path: Path) -> Thing:
    evaluation = open_evaluation(path)
    record = read_json(path / RESULT, "an evaluation")
    inputs = inputs_from_json(record.get("inputs", []))
    links = tracer.links(inputs, path)
    if not links:
        links = (Link(tracer.thing("checkpoint", Path(record["checkpoint"])), None),)
    return Thing(
        kind,
        path,
        hash_file(path / RESULT),
        summaries.evaluation(record["config"], evaluation),
        record.get("code_version"),
        links,
        recorded=bool(inputs),
    )


def _classifier(tracer: _Tracer, kind: str, path: Path) -> Thing:
    found = open_classifier(path)
    record = read_json(path / FACTS, "a classifier")
    inputs = inputs_from_json(record.get("inputs", []))
    return Thing(
        kind,
        path,
        found.hash,
        summaries.summary(record),
        record["code_version"],
        tracer.links(inputs, path),
        recorded=bool(inputs),
    )


def _summary(tracer: _Tracer, kind: str, path: Path) -> Thing:
    record = read_json(path, "a summary")
    inputs = inputs_from_json(record.get("inputs", []))
    return Thing(
        kind,
        path,
        hash_file(path),
        summaries.summary(record),
        record["versions"]["cog"],
        tracer.links(inputs, home(path)),
        recorded=bool(inputs),
    )


def _file(tracer: _Tracer, kind: str, path: Path) -> Thing:
    if not path.is_file():
        raise CogError("there is no such file", where=path)
    return Thing(kind, path, hash_file(path))


Reader = Callable[[_Tracer, str, Path], Thing]

READERS: Mapping[str, Reader] = {
    "dataset": _dataset,
    "view": _view,
    "merge": _merge,
    "checkpoint": _checkpoint,
    "evaluation": _evaluation,
    "classifier": _classifier,
    **dict.fromkeys(SUMMARY_KINDS, _summary),
}


def to_json(thing: Thing) -> dict[str, Any]:
    """A chain as JSON values; a thing that occurs again is only named."""
    return _to_json(thing, set())


def _to_json(thing: Thing, seen: set[tuple[str, Path]]) -> dict[str, Any]:
    value: dict[str, Any] = {"kind": thing.kind, "path": str(thing.path), "hash": thing.hash}
    if (thing.kind, thing.path) in seen:
        return value | {"told": True}
    seen.add((thing.kind, thing.path))
    inputs = [
        _to_json(link.thing, seen) | {"recorded_hash": link.recorded, "holds": link.holds}
        for link in thing.links
    ]
    return value | {
        "configuration": thing.configuration,
        "code_version": thing.code_version,
        "inputs": inputs,
        "inputs_recorded": thing.recorded,
        "problem": thing.problem or None,
    }


def _at(folder: Path, path: str) -> Path:
    """A path in a file in `folder`; it is relative to the real folder, not to a symbolic link to it."""
    real = folder.resolve()
    linked = str(real) != os.path.normpath(folder.absolute())
    return Path(os.path.normpath((real if linked else folder) / path))
