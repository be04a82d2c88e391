"""Inputs: what something on disk was made from, each with its path and the hash of its content."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Input:
    """One thing that another was made from."""

    kind: str
    """What it is: `dataset`, `view`, `merge`, `checkpoint`, `evaluation`, `classifier` or `file`."""
    path: str
    """Where it was, relative to the folder of what was made from it."""
    hash: str
    """Hash of its content at that time."""

    @staticmethod
    def of(kind: str, path: Path, content: str, folder: Path) -> "Input":
        """The input with content hash `content` at `path`, its path relative to `folder`."""
        return Input(kind, os.path.relpath(path.resolve(), folder.resolve()), content)


def inputs_to_json(inputs: Sequence[Input]) -> list[dict[str, str]]:
    """Inputs as JSON values."""
    return [asdict(entry) for entry in inputs]


def inputs_from_json(values: Sequence[Mapping[str, Any]]) -> tuple[Input, ...]:
    """Inputs from JSON values.

    Raises:
        KeyError, TypeError: they are malformed.
    """
    return tuple(
        Input(kind=str(value["kind"]), path=str(value["path"]), hash=str(value["hash"])) for value in values
    )
