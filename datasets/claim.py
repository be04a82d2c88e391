"""A folder that one process fills: claimed by a header, locked against others, swept of what a kill left."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cog.datasets.shard import FORMAT
from cog.datasets.store import COLLECTION, SHARDS
from cog.errors import CogError
from cog.files import TEMPORARY_SUFFIX, code_version, hash_json, read_json, write_json


@contextlib.contextmanager
def claimed(out: Path, spec: Mapping[str, Any], environment: Mapping[str, Any]) -> Iterator[None]:
    """Make the folder of a dataset, or take up the one that was begun with this very spec, and hold it.

    Raises:
        CogError: the folder holds anything else, or another process fills it; nothing was written.
    """
    _claim(out, _header(spec, environment))
    with locked(out):
        sweep(out)
        if not (out / COLLECTION).exists():
            write_json(out / COLLECTION, _header(spec, environment))
        yield


def _header(spec: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """What is written before the first shard, to recognise the collection by."""
    header = {
        "format": FORMAT,
        "kind": "collection",
        "spec": dict(spec),
        "spec_hash": hash_json(dict(spec)),
        "environment": dict(environment),
        "code_version": code_version(),
    }
    read_again: dict[str, Any] = json.loads(json.dumps(header))  # tuples become the lists that are held
    return read_again


def _claim(out: Path, wanted: dict[str, Any]) -> None:
    """Make the folder, unless it holds anything but (part of) this very collection."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        content = [path for path in out.iterdir() if not path.name.endswith(TEMPORARY_SUFFIX)]
    except OSError as error:
        raise CogError(f"{out}: cannot be used as a folder ({error.strerror})") from error
    header = out / COLLECTION
    if header.exists():
        held = read_json(header, "the header of a collection")
        different = [name for name in wanted if held.get(name) != wanted[name]]
        if different:
            old, new = held.get("spec"), wanted["spec"]
            if isinstance(old, dict) and old != new:
                different = [f"{key} {old.get(key)!r}" for key in new if old.get(key) != new[key]]
            raise CogError(
                f"{out} holds another collection, with {', '.join(different)}; nothing was written. "
                "Choose another folder, or give the options with which it was begun."
            )
    elif content:
        raise CogError(
            f"{out} is not empty and holds no collection; nothing was written, choose another folder"
        )


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep a second process out of the folder of a dataset; the lock goes with the process.

    Raises:
        CogError: another process holds it.
    """
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CogError(f"{out}: another process is writing to this folder") from error
        yield
    finally:
        os.close(descriptor)


def sweep(out: Path) -> None:
    """Remove what a killed process left half-written in the folder of a dataset."""
    for folder in (out, out / SHARDS):
        for stray in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            stray.unlink()
