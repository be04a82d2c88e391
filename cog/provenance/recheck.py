"""Recheck: recompute a whole chain from its first episode on, and name the first link that does not hold.

Every shard is checked against its hashes, every view is applied again, and the data of every checkpoint are
loaded again. Reward functions of the user are run, as in training.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cog.classifier.network import FACTS, open_classifier
from cog.core.files import json_text, read_json
from cog.datasets.load import load
from cog.datasets.merge import open_merge
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.view import labelled, open_view
from cog.datasets.storage.container import (
    COLLECTION,
    MANIFEST,
    check_container,
    exists,
    is_container,
    read_bytes,
)
from cog.datasets.storage.dataset import RELABELS, open_dataset
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, sentences
from cog.evaluation.result import RESULT, open_evaluation
from cog.provenance.lineage import READ, SUMMARY_KINDS, Link, Thing, split_view
from cog.training import checkpoint as checkpoints

DIGITS = 12  # shown of a hash, if two differ in them
RESTORE = "restore it from a copy, or make again what was made from it"

OnProgress = Callable[[int, str], None]
"""Called with the number of things checked and the one being checked."""


@dataclass(frozen=True)
class Report:
    """The result of a recheck."""

    checked: int
    """Number of things that hold, with all their links."""
    unrecorded: int
    """Number of links without a recorded hash to check."""
    problem: Problem | None
    """The first thing or link that does not hold, upstream first."""


def recheck(things: Sequence[Thing], on_progress: OnProgress | None = None) -> Report:
    """Recompute things in the order of `upstream_first`, and stop at the first that does not hold."""
    prints: dict[Path, str] = {}
    named_by = {link.thing.path: thing for thing in reversed(things) for link in thing.links}
    unrecorded = 0
    for number, thing in enumerate(things):
        if on_progress is not None:
            on_progress(number, f"{thing.kind} {thing.path}")
        unrecorded += sum(link.recorded is None for link in thing.links)
        unrecorded += not thing.recorded and not thing.links
        try:
            _check_there(thing, named_by)
            for link in thing.links:
                _check_link(thing, link)
            if thing.kind in CHECKS:
                CHECKS[thing.kind](thing, prints)
            _check_read(thing)
        except DataError as error:
            return Report(number, unrecorded, error.problem)
        except CogError as error:
            rule, remedy = sentences(error.what, error.where), error.remedy or RESTORE
            return Report(number, unrecorded, Problem(thing.path, thing.kind, rule, remedy))
        except READ as error:
            rule = f"malformed ({error!r})"
            return Report(number, unrecorded, Problem(thing.path, thing.kind, rule, RESTORE))
    if on_progress is not None:
        on_progress(len(things), "")
    return Report(len(things), unrecorded, None)


def upstream_first(thing: Thing) -> list[Thing]:
    """A chain in the order in which it was made, each thing once."""
    order: dict[tuple[str, Path], Thing] = {}

    def add(part: Thing) -> None:
        for link in part.links:
            if (link.thing.kind, link.thing.path) not in order:
                add(link.thing)
        order[part.kind, part.path] = part

    add(thing)
    return list(order.values())


def _check_there(thing: Thing, named_by: Mapping[Path, Thing]) -> None:
    """Refuse a missing thing; the file that names it may be the damaged one, so name both."""
    namer = thing
    while namer.path in named_by and not _there(namer):
        namer = named_by[namer.path]
    if namer is not thing:
        rule = f"it is missing, but {namer.path} was made from it"
        raise DataError(Problem(thing.path, thing.kind, rule, RESTORE))


def _there(thing: Thing) -> bool:
    if thing.kind != "view":
        return thing.path.exists()
    folder, name = split_view(thing.path)
    return exists(folder if name == STORED else folder / RELABELS / f"{name}.json")


def _check_link(thing: Thing, link: Link) -> None:
    """Refuse a thing whose inputs have changed since."""
    if not link.holds:
        then, now = str(link.recorded), str(link.thing.hash)
        digits = DIGITS if then[:DIGITS] != now[:DIGITS] else None
        rule = f"it was made from {link.thing.kind} {link.thing.path} with hash {then[:digits]}, "
        rule += f"which has {now[:digits]} now"
        raise DataError(Problem(thing.path, "inputs", rule, RESTORE))


def _check_dataset(thing: Thing, _: dict[Path, str]) -> None:
    """Manifest and every shard."""
    dataset = open_dataset(thing.path)
    if is_container(thing.path):
        check_container(thing.path, content=True)
    _check_written(thing.path / MANIFEST)
    header = thing.path / COLLECTION
    if exists(header):
        _check_written(header)
        record = read_json(header, "the header of a collection", read_bytes)
        if record["spec_hash"] != dataset.spec_hash:
            raise DataError(Problem(header, "spec_hash", "differs from the manifest", RESTORE))
    for shard in range(len(dataset.shards)):
        dataset.read(shard)


def _check_view(thing: Thing, _: dict[Path, str]) -> None:
    """The rewards, computed again."""
    folder, name = split_view(thing.path)
    dataset = open_dataset(folder)
    if name != STORED:
        view = open_view(dataset, name)
        _check_written(folder / RELABELS / f"{name}.json")
        for _episode in labelled(dataset, view, pictures=False):
            pass


def _check_merge(thing: Thing, _: dict[Path, str]) -> None:
    """Every entry, as it is opened for training."""
    open_merge(thing.path)
    _check_written(thing.path)


def _check_checkpoint(thing: Thing, prints: dict[Path, str]) -> None:
    """Its files, and the data that it was trained on."""
    found = checkpoints.load(thing.path)
    _check_written(thing.path / "state.json")
    for link in thing.links:
        if link.thing.kind in ("merge", "view"):
            data = link.thing.path
            if data not in prints:
                prints[data] = load(open_merge(data)).fingerprint
            if prints[data] != found.fingerprint:
                rule = f"it was trained on data with fingerprint {found.fingerprint[:DIGITS]}, but "
                rule += f"{data} loads with {prints[data][:DIGITS]}"
                raise DataError(Problem(thing.path / "state.json", "fingerprint", rule, RESTORE))


def _check_classifier(thing: Thing, _: dict[Path, str]) -> None:
    """Its weights and facts."""
    open_classifier(thing.path)
    _check_written(thing.path / FACTS)


def _check_evaluation(thing: Thing, _: dict[Path, str]) -> None:
    """The weights that acted."""
    acted = open_evaluation(thing.path).checkpoint_hash
    _check_written(thing.path / RESULT)
    for link in thing.links:
        weights = checkpoints.load(link.thing.path).hashes[checkpoints.TENSOR_FILES[0]]
        if weights != acted:
            rule = f"weights with hash {acted[:DIGITS]} acted, but {link.thing.path} holds {weights[:DIGITS]}"
            raise DataError(Problem(thing.path / RESULT, "checkpoint_hash", rule, RESTORE))


def _check_read(thing: Thing) -> None:
    """It could be read completely; summaries are as they were written."""
    if thing.problem:
        raise CogError(thing.problem)
    if thing.kind in SUMMARY_KINDS:
        _check_written(thing.path)


def _check_written(path: Path) -> None:
    """Refuse a JSON file whose text is not, byte for byte, what cog writes for its values."""
    data = read_bytes(path)
    try:
        same = data == json_text(json.loads(data)).encode()
    except ValueError:
        same = False
    if not same:
        raise DataError(Problem(path, "file", "the text is not as cog wrote it", RESTORE))


Check = Callable[[Thing, dict[Path, str]], None]

CHECKS: Mapping[str, Check] = {
    "dataset": _check_dataset,
    "view": _check_view,
    "merge": _check_merge,
    "checkpoint": _check_checkpoint,
    "classifier": _check_classifier,
    "evaluation": _check_evaluation,
}
