"""Runs a page as a reader would, top to bottom in one folder, with numbers that take seconds, not hours."""

import os
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cog import cli
from tests.docs.pages import Block, blocks, command_lines, predecessor

SMALLER: Mapping[str, Mapping[str, str]] = {
    "collect": {"--episodes": "3", "--workers": "1"},
    "train": {"--updates": "2", "--batch-size": "8"},
    "evaluate": {"--episodes": "1", "--max-episode-steps": "3", "--workers": "1", "--only": ""},
    "finetune": {
        "--episodes": "10",
        "--updates-per-episode": "1",
        "--evaluate-episodes": "1",
        "--max-episode-steps": "3",
    },
    "classify": {"--updates": "2", "--batch-size": "8", "--validation": "0.34", "--held-out": "0.33"},
    "sample": {"--batch": "8"},
}
"""What takes the place of a command's numbers; an empty text takes an option away."""
IF_GIVEN: Mapping[str, Mapping[str, str]] = {"info": {"--episodes": "0 1"}, "train": {"--seeds": "0 1"}}
"""The same, but only for options that the command has."""

IN_PYTHON: Mapping[str, str] = {
    r"\bepisodes=100\b": "episodes=1, max_episode_steps=3, workers=1",
    r"\bepisodes=\d{3,}\b": "episodes=3",
    r"\bupdates=\d{3,}\b": "updates=2, batch_size=8",
}
"""What takes the place of patterns in a block of Python."""


def smaller(words: list[str]) -> list[str]:
    """The words of a `cog` command with small numbers."""
    command, *rest = words
    given = {option: value for option, value in IF_GIVEN.get(command, {}).items() if option in rest}
    for option, value in {**SMALLER.get(command, {}), **given}.items():
        if option in rest:
            start = rest.index(option)
            end = next((n for n in range(start + 1, len(rest)) if rest[n].startswith("--")), len(rest))
            rest = rest[:start] + rest[end:]
        if value:
            rest += [option, *value.split()]
    return [command, *rest]


def run_page(page: Path, folder: Path) -> None:
    """Run every block of a page that is to be run.

    Raises:
        AssertionError: naming the block and the command that failed.
    """
    names: dict[str, Any] = {"__name__": page.stem}
    with _in_folder(folder):
        for block in blocks(page):
            if block.reason is None and block.language == "bash":
                for line in command_lines(block.text):
                    _run_command(block, line)
            elif block.reason is None and block.file is not None:
                Path(block.file).write_text(block.text)
            elif block.reason is None and block.language == "python":
                _run_python(block, names)


def folder_before(page: Path, made: dict[Path, Path], new: pytest.TempPathFactory) -> Path:
    """A fresh folder in which the pages that come before this one have run; `made` keeps those."""
    folder = new.mktemp(page.stem.replace("-", "_"))
    before = predecessor(page)
    if before is not None:
        if before not in made:
            made[before] = folder_before(before, made, new)
            run_page(before, made[before])
        shutil.copytree(made[before], folder, dirs_exist_ok=True)
    return folder


def _run_command(block: Block, line: str) -> None:
    words = shlex.split(line, comments=True)
    assert words[0] == "cog", f"{block.where}: mark what cannot be run with a comment: {line}"
    words = smaller(words[1:])
    try:
        code = cli.run(words)
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 0, f"{block.where}: exit code {code}: cog {shlex.join(words)}"


def _run_python(block: Block, names: dict[str, Any]) -> None:
    text = block.text
    for pattern, small in IN_PYTHON.items():
        text = re.sub(pattern, small, text)
    try:
        exec(compile(text, block.where, "exec"), names)
    except Exception:
        pytest.fail(f"{block.where}:\n{text}\n{traceback.format_exc()}")


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Work in the folder; modules that come from it are forgotten afterwards."""
    before, paths, modules = Path.cwd(), [*sys.path], set(sys.modules)
    try:
        os.chdir(folder)
        sys.path.append(str(folder))
        yield
    finally:
        os.chdir(before)
        sys.path[:] = paths
        for module in set(sys.modules) - modules:
            if str(getattr(sys.modules[module], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[module]
