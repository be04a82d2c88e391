"""A folder that one process fills: claimed by a header, locked against others."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cog.core.files import code_version, hash_json, make_folder, sweep
from cog.core.lock import content, locked
from cog.core.sealed import read_sealed, write_sealed
from cog.datasets.robot_interface import KEY
from cog.datasets.storage.container import COLLECTION
from cog.datasets.storage.dataset import SHARDS
from cog.errors import CogError

KIND = "collection"
DAMAGED = "restore it from a copy, or collect into another folder"


@contextlib.contextmanager
def claimed(out: Path, spec: Mapping[str, Any], environment: Mapping[str, Any]) -> Iterator[None]:
    """Make the folder of a dataset, or resume the one that was begun with this very spec, and lock it.

    Raises:
        CogError: the folder holds anything else, or another process fills it; nothing was written.
    """
    _claim(out, _header(spec, environment))
    with locked(out):
        _claim(out, _header(spec, environment))  # another may have begun and ended between the two
        sweep(out / SHARDS)
        if not (out / COLLECTION).exists():
            write_sealed(out / COLLECTION, KIND, _header(spec, environment))
        yield


def _header(spec: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """What is written before the first shard, to recognise the collection by."""
    header = {
        "spec": dict(spec),
        "spec_hash": hash_json(dict(spec)),
        "environment": dict(environment),
        "code_version": code_version(),
    }
    read_again: dict[str, Any] = json.loads(json.dumps(header))  # tuples become lists, as in a file
    return read_again


def _claim(out: Path, wanted: dict[str, Any]) -> None:
    """Make the folder, unless it holds anything but (part of) this very collection."""
    make_folder(out)
    header = out / COLLECTION
    if header.exists():
        held = read_sealed(header, KIND, "the header of a collection", DAMAGED)
        begun = held.get("environment")
        if isinstance(begun, dict) and KEY not in begun:  # an earlier version did not record it
            known = {name: value for name, value in wanted["environment"].items() if name != KEY}
            wanted = {**wanted, "environment": known}
        different = [name for name in wanted if held.get(name) != wanted[name]]
        if different:
            old, new = held.get("spec"), wanted["spec"]
            if isinstance(old, dict) and old != new:
                different = [f"{key} {old.get(key)!r}" for key in new if old.get(key) != new[key]]
            raise CogError(
                f"{out} holds another collection, with {', '.join(different)}; nothing was written",
                remedy="choose another folder, or pass the options with which it was begun",
            )
    elif content(out):
        raise CogError(
            f"{out} is not empty and does not hold a collection; nothing was written",
            remedy="choose another folder",
        )
