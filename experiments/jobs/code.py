"""Which code made a folder of experiments: a hash of what the package's files do, part by part.

Jobs are named by their settings, not by the code, so that a change of wording repeats no night of training. A
folder remembers its code instead: what other code has finished is used again only when that is asked for.
"""

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path

import cog
import cog.datasets
import cog.envs

PARTS: Mapping[str, tuple[str, str]] = {
    "cog": (cog.__path__[0], "**/*.py"),
    "cog.datasets": (cog.datasets.__path__[0], "**/*.py"),
    "cog.envs": (cog.envs.__path__[0], "**/*.py"),
    "cog.envs.assets": (f"{cog.envs.__path__[0]}/assets", "**/*"),
}
"""The parts of the package that decide results: a folder and its files."""


def code() -> dict[str, str]:
    """A hash of each part's files; sources count without comments, docstrings and layout."""
    return {name: code_hash(Path(folder), pattern) for name, (folder, pattern) in PARTS.items()}


def code_hash(folder: Path, pattern: str) -> str:
    """Hash of the files of a folder, their names included: of Python what it means, of others every byte."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.glob(pattern) if path.is_file()):
        data = path.read_bytes()
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(meaning(data.decode()).encode() if path.suffix == ".py" else data)
    return digest.hexdigest()


def meaning(source: str) -> str:
    """The syntax tree of a source as text, without what no program can see."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_words(part)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_words(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, of a module, class, function or field."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
